"""The functions of `$filter` by name: how many arguments they take, and which are known but not served here."""

from __future__ import annotations

from twinstack.core.errors import NotServed
from twinstack.query import geometry
from twinstack.query.tokens import Source
from twinstack.query.tree import Call

ARITY: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("substringof", "contains", "startswith", "endswith", "indexof", "concat"), (2, 2)),
    **dict.fromkeys(("length", "tolower", "toupper", "trim"), (1, 1)),
    "substring": (2, 3),
    **dict.fromkeys(("year", "month", "day", "hour", "minute", "second", "fractionalseconds"), (1, 1)),
    **dict.fromkeys(("date", "time", "totaloffsetminutes"), (1, 1)),
    **dict.fromkeys(("now", "mindatetime", "maxdatetime"), (0, 0)),
    **dict.fromkeys(("round", "floor", "ceiling"), (1, 1)),
    "totalseconds": (1, 1),
    **dict.fromkeys(("before", "after", "meets", "during", "overlaps", "starts", "finishes"), (2, 2)),
    **dict.fromkeys(geometry.NAMES, (2, 2)),
    "geo.length": (1, 1),
    "st_relate": (3, 3),
}
NOT_SERVED = frozenset(("cast", "isof"))


def check_call(source: Source, call: Call) -> None:
    """Errors: QueryError for an unknown name or number of arguments, NotServed for a function that is known."""
    if call.name in NOT_SERVED:
        raise NotServed(f"The function '{call.name}' is not served.", fix="Filter the answer in your program.")
    arity = ARITY.get(call.name)
    if arity is None:
        raise source.error(
            f"There is no function '{call.name[:40]}'.", call.span, fix=f"Functions: {', '.join(sorted(ARITY))}."
        )
    low, high = arity
    if not low <= len(call.args) <= high:
        wanted = str(low) if low == high else f"{low} to {high}"
        raise source.error(
            f"'{call.name}' takes {wanted} argument{'s' if wanted != '1' else ''}, here it has {len(call.args)}.",
            call.span,
        )
