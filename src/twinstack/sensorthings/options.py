"""Query options: `$filter $count $orderby $skip $top $expand $select`, for the request and within `$expand(...)`.

OGC 18-088, 9.3. `parse_query` reads the text; `bind` checks names against the entity type and the version. Options
without `$` are ignored; a `$name` that OData has and this server does not serve is 501, any other is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, NotServed
from twinstack.query import odata
from twinstack.query.tree import Expr
from twinstack.sensorthings.model import BY_NAME, EntityType, Link
from twinstack.sensorthings.paths import decode
from twinstack.sensorthings.versions import ApiVersion

CURSOR = "$skiptoken"
"""The option of a nextLink: the place behind the last row, signed."""
_NOT_SERVED = frozenset({"$search", "$format", "$compute", "$levels", "$index", "$schemaversion", "$deltatoken", "$id"})
_WITH_APPLY = frozenset({"$apply", "$count", "$orderby", "$skip", "$top", CURSOR})
RESULT_FORMATS = ("dataArray", "CSV", "GeoJSON")
_COUNT_MAX = 2**63 - 1
_ORDER = re.compile(r"(.*\S)\s+(asc|desc)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Order:
    expr: Expr
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Expand:
    link: Link
    options: Options


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options of one set. `select` None: all. `raw`: the options as text, for nextLinks."""

    filter: Expr | None = None
    orderby: tuple[Order, ...] = ()
    top: int | None = None
    skip: int = 0
    count: bool = False
    select: tuple[str, ...] | None = None
    expand: tuple[Expand, ...] = ()
    apply: odata.Apply | None = None
    result_format: str = field(default="", compare=False)
    """In lower case; "": JSON."""
    cursor: str | None = field(default=None, compare=False)
    raw: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def order_text(self) -> str:
        """What the sort values of a row depend on: the text of `$orderby`, and what the rows are."""
        return "\0".join(text for name, text in sorted(self.raw) if name in ("$orderby", "$apply"))

    @property
    def plain(self) -> bool:
        return not self.raw


NO_OPTIONS = Options()


def parse_query(query: bytes, entity: EntityType, version: ApiVersion) -> Options:
    """The options of a request for `entity`. Errors: InvalidInput, QueryError, NotServed."""
    if not query:
        return NO_OPTIONS
    pairs: list[tuple[str, str]] = []
    for part in query.split(b"&"):
        name, _, text = part.replace(b"+", b" ").partition(b"=")
        pairs.append((decode(name, "query"), decode(text, "query")))
    return _bind(pairs, entity, version, depth=0)


def _bind(pairs: list[tuple[str, str]], entity: EntityType, version: ApiVersion, depth: int) -> Options:
    given: dict[str, str] = {}
    for name, text in pairs:
        if not name.startswith("$"):
            continue
        if name in _NOT_SERVED:
            raise NotServed(f"The query option '{name}' is not served.", fix="Leave it out.")
        if name not in _READERS:
            raise InvalidInput(f"There is no query option '{name[:40]}'.", fix=f"Known: {', '.join(_READERS)}.")
        if name in given:
            raise InvalidInput(f"The query option '{name}' stands twice.", fix="Give it once.")
        given[name] = text.strip()
    if depth and CURSOR in given:
        raise InvalidInput(f"'{CURSOR}' cannot stand in $expand.", fix="Follow the nextLink as it is.")
    if "$apply" in given and (depth or not given.keys() <= _WITH_APPLY):
        raise NotServed("$apply is not served together with this.", fix=f"With it go {', '.join(sorted(_WITH_APPLY))}.")
    options = Options(raw=tuple(given.items()))
    for name, text in given.items():
        options = replace(options, **_READERS[name](text, entity, version, depth))
    return options


def _filter(text: str, _entity: EntityType, _version: ApiVersion, _depth: int) -> dict[str, Any]:
    return {"filter": odata.parse(text)}


def _orderby(text: str, _entity: EntityType, _version: ApiVersion, _depth: int) -> dict[str, Any]:
    orders = []
    for item in _split(text, ",", "$orderby"):
        match = _ORDER.fullmatch(item)
        expr, direction = match.groups() if match else (item, "asc")
        orders.append(Order(odata.parse(expr), direction.lower() == "desc"))
    if len(orders) > limits.ORDER_KEYS_MAX:
        raise InvalidInput(f"$orderby has more than {limits.ORDER_KEYS_MAX} keys.", fix="Order by fewer.")
    return {"orderby": tuple(orders)}


def _top(text: str, _entity: EntityType, _version: ApiVersion, _depth: int) -> dict[str, Any]:
    return {"top": _count_of("$top", text)}


def _skip(text: str, _entity: EntityType, _version: ApiVersion, _depth: int) -> dict[str, Any]:
    return {"skip": _count_of("$skip", text)}


def _count_of(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InvalidInput(f"{name}={text[:40]} is not a whole number from 0.", fix=f"Example: {name}=10.")
    return int(text) if len(text) <= 18 else _COUNT_MAX


def _count(text: str, _entity: EntityType, _version: ApiVersion, _depth: int) -> dict[str, Any]:
    if text not in ("true", "false"):
        raise InvalidInput(f"$count={text[:40]} is neither true nor false.", fix="Write $count=true.")
    return {"count": text == "true"}


def _select(text: str, entity: EntityType, version: ApiVersion, _depth: int) -> dict[str, Any]:
    names: list[str] = []
    for item in _split(text, ",", "$select"):
        name = version.id if item == "id" else item
        known = entity.property(name)
        exists = known is not None and known.since <= version.version
        if not exists and name not in (version.id, version.self_link) and entity.link(name, version.version) is None:
            raise _unknown(entity, item, "$select", version)
        if name not in names:
            names.append(name)
    return {"select": tuple(names)}


def _unknown(entity: EntityType, name: str, where: str, version: ApiVersion) -> InvalidInput:
    known = entity.names_of(version.version)
    return InvalidInput(f"{where}: a {entity.name} has no '{name[:80]}'.", fix=f"It has id, {known}.")


def _expand(text: str, entity: EntityType, version: ApiVersion, depth: int) -> dict[str, Any]:
    expanded: dict[str, Expand] = {}
    for item in _split(text, ",", "$expand"):
        one = _expand_item(item, entity, version, depth)
        before = expanded.get(one.link.name)
        expanded[one.link.name] = one if before is None else _merge(before, one)
    return {"expand": tuple(expanded.values())}


def _expand_item(item: str, entity: EntityType, version: ApiVersion, depth: int) -> Expand:
    """`A`, `A/B` (the same as `A($expand=B)`) or `A($select=...;$filter=...)`."""
    if depth >= limits.EXPAND_DEPTH_MAX:
        raise InvalidInput(f"$expand is nested deeper than {limits.EXPAND_DEPTH_MAX}.", fix="Ask in several requests.")
    opening = item.find("(")
    path, inner = (item, "") if opening < 0 else (item[:opening], item[opening:])
    name, slash, rest = path.partition("/")
    link = find_link(entity, name.strip(), version)
    if link is None:
        raise _unknown(entity, name.strip(), "$expand", version)
    target = BY_NAME[link.target]
    if slash:
        options = Options(
            expand=(_expand_item(rest + inner, target, version, depth + 1),), raw=(("$expand", rest + inner),)
        )
    elif inner:
        if not inner.endswith(")"):
            raise InvalidInput(f"$expand: '{inner[-20:]}' stands behind ')'.", fix="Write A($top=1),B.")
        pairs = [option.partition("=") for option in _split(inner[1:-1], ";", "$expand")]
        options = _bind([(name.strip(), text) for name, _, text in pairs], target, version, depth + 1)
    else:
        options = NO_OPTIONS
    return Expand(link, options)


def find_link(entity: EntityType, name: str, version: ApiVersion) -> Link | None:
    link = entity.link(name, version.version)
    if link is not None or not version.lenient:
        return link
    wanted = name.lower()
    for candidate in entity.links_of(version.version):
        target = BY_NAME[candidate.target]
        if wanted in (target.name.lower(), target.set_name.lower()):
            return candidate
    return None


def _merge(first: Expand, second: Expand) -> Expand:
    """`A/B,A/C` is `A($expand=B,C)`; of two sets of other options for one link no one knows which is meant."""
    a, b = first.options, second.options
    if replace(a, expand=()) != replace(b, expand=()) and replace(b, expand=()) != NO_OPTIONS:
        if replace(a, expand=()) != NO_OPTIONS:
            raise InvalidInput(f"$expand has '{first.link.name}' twice with different options.", fix="Write it once.")
        a, b = b, a
    inner: dict[str, Expand] = {one.link.name: one for one in a.expand}
    for one in b.expand:
        before = inner.get(one.link.name)
        inner[one.link.name] = one if before is None else _merge(before, one)
    expand = tuple(inner.values())
    texts = [text for name, text in (*a.raw, *b.raw) if name == "$expand"]
    raw = tuple(pair for pair in a.raw if pair[0] != "$expand")
    raw = (*raw, ("$expand", ",".join(texts))) if texts else raw
    return Expand(first.link, replace(a, expand=expand, raw=raw))


def _cursor(text: str, _entity: EntityType, _version: ApiVersion, _depth: int) -> dict[str, Any]:
    return {"cursor": text}


def _apply(text: str, _entity: EntityType, version: ApiVersion, _depth: int) -> dict[str, Any]:
    if version.version == "1.0":
        raise NotServed("$apply is not served on /v1.0.", fix="Use /v1.1.")
    return {"apply": odata.parse_apply(text)}


def _result_format(text: str, _entity: EntityType, _version: ApiVersion, depth: int) -> dict[str, Any]:
    if depth:
        raise InvalidInput("'$resultFormat' cannot stand in $expand.", fix="It is an option of the whole answer.")
    if text.lower() not in (name.lower() for name in RESULT_FORMATS):
        raise InvalidInput(f"There is no result format '{text[:40]}'.", fix=f"Known: {', '.join(RESULT_FORMATS)}.")
    return {"result_format": text.lower()}


_READERS = {
    "$filter": _filter,
    "$count": _count,
    "$orderby": _orderby,
    "$skip": _skip,
    "$top": _top,
    "$expand": _expand,
    "$select": _select,
    "$apply": _apply,
    "$resultFormat": _result_format,
    CURSOR: _cursor,
}


def _split(text: str, separator: str, where: str) -> list[str]:
    """The parts of a list; separators within ' ' and ( ) do not count. Errors: InvalidInput."""
    parts = [part.strip() for part in _parts(text, separator, where)]
    if not all(parts):
        raise InvalidInput(f"{where} has an empty item.", fix="Remove the superfluous separator.")
    return parts


def _parts(text: str, separator: str, where: str) -> Iterator[str]:
    depth = start = 0
    quoted = False
    for index, char in enumerate(text):
        if char == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth < 0:
                break
        elif char == separator and depth == 0:
            yield text[start:index]
            start = index + 1
    if quoted or depth:
        raise InvalidInput(f"{where} has a quote or parenthesis without its partner.", fix="Close it.")
    yield text[start:]


def lift(options: Options, values: dict[str, Any]) -> Options:
    """The shape of the options: literals become slots (their values go to `values`), numbers what they stand for."""
    return Options(
        filter=None if options.filter is None else odata.lift(options.filter, values),
        orderby=tuple(Order(odata.lift(order.expr, values), order.descending) for order in options.orderby),
        top=None if options.top is None else min(options.top, 2),
        skip=min(options.skip, 1),
        count=options.count,
        select=options.select,
        expand=tuple(Expand(one.link, lift(one.options, values)) for one in options.expand),
        apply=None if options.apply is None else odata.lift_apply(options.apply, values),
    )
