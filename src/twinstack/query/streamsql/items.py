"""SELECT's items: their terms, names and units, and which of them is the Observation's result."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twinstack.query.streamsql.catalogue import METADATA, CatalogueDatastream
from twinstack.query.streamsql.checked import (
    ELAPSED_S,
    PREVIOUS,
    CheckedAggregate,
    CheckedItem,
    CheckedOutput,
    ColumnRef,
    Term,
    columns_of,
)
from twinstack.query.streamsql.kinds import TIMES
from twinstack.query.streamsql.statement import Item
from twinstack.query.streamsql.terms import Terms
from twinstack.query.tokens import Source
from twinstack.query.tree import Path

Datastreams = Sequence[CatalogueDatastream]
StreamsOf = Callable[[str], Datastreams]
"""The Datastreams whose records a column can come from."""

RESULT = "result"
_PLACES = frozenset({"longitude", "latitude", "altitude"})
_KEEPS_UNIT = frozenset({"SUM", "AVG", "MIN", "MAX", "FIRST", "LAST", "STDDEV", "MEDIAN", "PERCENTILE"})


def check_items(
    source: Source,
    items: Sequence[Item],
    terms: Terms,
    streams_of: StreamsOf,
    aggregates: Sequence[CheckedAggregate] = (),
) -> list[CheckedItem]:
    """Errors: QueryError. `aggregates` grows while the items are checked."""
    checked: list[CheckedItem] = []
    names: set[str] = set()
    for item in items:
        term = terms.value(item.expr)
        name = item.name or _own_name(item)
        if not name and len(items) > 1:
            raise source.error(
                "This item has no name.",
                item.span,
                expected="AS and a name",
                fix="Write AS result, or AS another name.",
            )
        if name in names:
            raise source.error(
                f"Two items are named '{name[:60]}'.", item.span, fix="Give one of them another name behind AS."
            )
        names.add(name)
        checked.append(CheckedItem(name, term, _unit(source, item, term, streams_of, aggregates)))
    return checked


def _own_name(item: Item) -> str:
    return item.expr.parts[-1] if isinstance(item.expr, Path) else ""


def output_of(source: Source, items: Sequence[Item], checked: Sequence[CheckedItem]) -> CheckedOutput:
    """The item named `result`, else the only one that is neither key nor place nor time. Errors: QueryError that lists
    the candidates."""
    named = [item for item in checked if item.name == RESULT]
    candidates = named or [item for item in checked if not _describes(item.term)]
    if len(candidates) != 1:
        shown = [source.slice(item.expr.span)[:60] for item in items]
        chosen = [shown[checked.index(item)] for item in candidates] or shown
        raise source.error(
            f"Which item is the Observation's result? Candidates are {', '.join(chosen)}.",
            items[0].span,
            fix=f"Name one of them: {chosen[0]} AS result.",
        )
    result = candidates[0]
    return CheckedOutput(result, tuple(item for item in checked if item is not result))


def _describes(term: Term) -> bool:
    """Whether an item is a key, a place or a time."""
    if term.kinds == TIMES:
        return True
    return isinstance(term, ColumnRef) and (
        term.name.startswith("@") or term.name.rpartition(".")[2] in _PLACES | frozenset(METADATA)
    )


def _unit(
    source: Source, item: Item, term: Term, streams_of: StreamsOf, aggregates: Sequence[CheckedAggregate]
) -> str | None:
    inner, suffix = _measured(term, aggregates)
    known = {stream.unit for stream in streams_of(inner)} if inner else set()
    unit = f"{next(iter(known))}{suffix}" if len(known) == 1 and next(iter(known)) else None
    if not item.unit or item.unit == unit:
        return unit
    if unit is not None:
        raise source.error(
            f"This is in {unit}: a conversion to '{item.unit[:60]}' is not in this version.",
            item.span,
            fix=f"Leave UNIT out, or write UNIT '{unit}'.",
        )
    return item.unit


def _measured(term: Term, aggregates: Sequence[CheckedAggregate]) -> tuple[str, str]:
    """The column `result` whose unit the term has, and what stands behind the unit; '' for none."""
    if not isinstance(term, ColumnRef):
        read = columns_of(term)
        if read and read <= {RESULT, PREVIOUS}:
            return (RESULT, "") if PREVIOUS in read and _is_difference(term) else ("", "")
        if read == {RESULT, PREVIOUS, ELAPSED_S} and _is_rate(term):
            return RESULT, "/s"
        return "", ""
    if term.name == PREVIOUS:
        return RESULT, ""
    for aggregate in aggregates:
        if aggregate.column == term.name:
            keeps = aggregate.function in _KEEPS_UNIT
            return _measured(aggregate.args[0], ()) if keeps else ("", "")
    return (term.name, "") if term.name.rpartition(".")[2] == RESULT else ("", "")


def _is_difference(term: Term) -> bool:
    return getattr(term, "function", "") == "sub"


def _is_rate(term: Term) -> bool:
    return getattr(term, "function", "") == "div" and _is_difference(term.args[0])  # type: ignore[union-attr]
