"""HTML: templates of the package with the few filters that every page needs."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse

from twinstack import __version__

if TYPE_CHECKING:
    import jinja2

_SIGNIFICANT = 6
_PLAIN_MAX = 1e15
_DIGITS_MAX = 12
_SYMBOLS = {"degC": "°C", "degF": "°F", "deg": "°", "1": ""}  # a count needs no unit beside it


def page(template: str, **values: Any) -> HTMLResponse:
    html = _environment().get_template(template).render(version=__version__, **values)
    return HTMLResponse(html, headers={"Cache-Control": "no-store"})


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # not before the first page: the server shall be ready soon

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(age=age, result=result, unit=unit, rate=rate)
    return environment


def age(seconds: float) -> str:
    """How long ago, in the largest whole unit."""
    s = max(0, round(seconds))
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if s >= size:
            return f"{s // size} {word} ago"
    return f"{s} s ago"


def result(value: Any) -> str:
    """A result as the page's script writes it too: numbers with six significant digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < _PLAIN_MAX:
            return str(int(value))
        digits = _SIGNIFICANT - 1 - math.floor(math.log10(abs(value)))
        if not 0 < digits < _DIGITS_MAX:
            return f"{value:g}"
        return f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "null" if value is None else str(value)


def unit(symbol: str) -> str:
    return _SYMBOLS.get(symbol, symbol)


def rate(per_s: float) -> str:
    return f"{per_s:.2f}" if per_s < 10 else f"{per_s:.0f}"
