"""The check of a join: names with aliases, ON as pairs of keys, and which series are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twinstack.query import tree
from twinstack.query.streamsql.catalogue import METADATA, Catalogue, CatalogueDatastream
from twinstack.query.streamsql.checked import (
    CheckedJoin,
    CheckedSide,
    ColumnRef,
    Compare,
    Logic,
    Term,
    Warning,
    columns_of,
)
from twinstack.query.streamsql.kinds import OBJECT
from twinstack.query.streamsql.names import Columns
from twinstack.query.streamsql.rename import renamed
from twinstack.query.streamsql.statement import Query, Side
from twinstack.query.streamsql.terms import Terms
from twinstack.query.tokens import Source

_NAMES_SHOWN = 5
Streams = Mapping[str, Sequence[CatalogueDatastream]]


class JoinScope:
    """Columns as `<alias>.<column>`. Errors of both calls: QueryError."""

    def __init__(self, source: Source, sides: Sequence[Side], catalogues: Sequence[Catalogue]) -> None:
        self._source = source
        for side in sides:
            if not side.alias:
                raise source.error(
                    "A side of a join needs a name.", side.span, expected="AS and an alias", fix="Write ... AS a."
                )
        self.aliases = tuple(side.alias for side in sides)
        if len(set(self.aliases)) == 1:
            raise source.error("Both sides have the same alias.", sides[1].span, fix="Write AS b behind the second.")
        self._columns = {
            side.alias: Columns(source, catalogue, side.alias)
            for side, catalogue in zip(sides, catalogues, strict=True)
        }

    def resolve(self, path: tree.Path) -> ColumnRef:
        alias = path.parts[0]
        if alias in self._columns and len(path.parts) > 1:
            column = self._columns[alias].resolve(path)
            return ColumnRef(column.kinds, path.span, f"{alias}.{column.name}")
        shown = " or ".join(f"{alias}.{'.'.join(path.parts)[:60]}" for alias in self.aliases)
        if len(path.parts) == 1 and alias in self._columns:
            shown = f"{alias}.result"
        raise self._source.error("In a join a column needs its alias.", path.span, fix=f"Write {shown}.")


def check_join(
    query: Query,
    scope: JoinScope,
    terms: Terms,
    filters: Sequence[Term | None],
    read: Sequence[Term],
    streams: Streams,
    warnings: list[Warning],
) -> CheckedJoin:
    """`read` are the terms that WHERE and SELECT read of pairs, `streams` the Datastreams of each alias."""
    join = query.join
    assert join is not None
    keys = _keys(query.source, scope, terms, join.on)
    sides: list[CheckedSide] = []
    for index, side in enumerate((query.side, join.side)):
        prefix = f"{side.alias}."
        own = tuple(pair[index] for pair in keys)
        columns = frozenset().union(*map(columns_of, read))
        needed = {name.removeprefix(prefix) for name in columns if name.startswith(prefix)}
        sides.append(CheckedSide(side.alias, side.sources, filters[index], own, frozenset(needed)))
        warnings.extend(_series(query.source, side, own, streams[side.alias]))
    return CheckedJoin(join.kind, sides[0], sides[1], join.within_us)


def _keys(source: Source, scope: JoinScope, terms: Terms, on: tree.Expr | None) -> list[tuple[Term, Term]]:
    """For each equality of ON its part of the left and of the right side."""
    if on is None:
        return []
    term = terms.condition(on, "ON")
    equalities = term.operands if isinstance(term, Logic) and term.op == "and" else (term,)
    keys: list[tuple[Term, Term]] = []
    for equality in equalities:
        if not isinstance(equality, Compare) or equality.op != "eq":
            raise source.error(
                "ON is one or more equalities joined by AND.",
                equality.span,
                fix=f"Write ON {scope.aliases[0]}.name = {scope.aliases[1]}.name; other conditions go to WHERE.",
            )
        by_alias = {_alias(source, scope, part): part for part in (equality.left, equality.right)}
        if len(by_alias) != 2:
            raise source.error("An equality of ON has one side of each alias.", equality.span, fix="Move it to WHERE.")
        for part in by_alias.values():
            if part.kinds == frozenset({OBJECT}):
                raise source.error("An object is no key.", part.span, fix="Use a text or a number.")
        left, right = (renamed(by_alias[alias], alias) for alias in scope.aliases)
        keys.append((left, right))
    return keys


def _alias(source: Source, scope: JoinScope, part: Term) -> str:
    aliases = {name.partition(".")[0] for name in columns_of(part)}
    if len(aliases) != 1:
        raise source.error(
            "Each part of an equality of ON reads one side.",
            part.span,
            fix=f"Write ON {scope.aliases[0]}.name = {scope.aliases[1]}.name.",
        )
    return next(iter(aliases))


def _series(source: Source, side: Side, keys: Sequence[Term], streams: Sequence[CatalogueDatastream]) -> list[Warning]:
    """Several Datastreams under one key are one series; without a key all of the side are."""
    line, column = source.place(side.span.start)
    caret = source.caret(side.span)
    groups: dict[tuple[str, ...], list[str]] = {}
    columns = [key.name for key in keys if isinstance(key, ColumnRef) and key.name in METADATA]
    if len(columns) < len(keys):
        return []  # only the records tell
    for stream in streams:
        metadata = stream.metadata()
        groups.setdefault(tuple(metadata[name] for name in columns), []).append(stream.full_name or stream.name)
    warnings: list[Warning] = []
    if not keys:
        message = f"Without ON the side {side.alias} is one series, read by one task."
        warnings.append(Warning("series", message, line, column, caret, "Write ON a.name = b.name, if that is meant."))
    for names in groups.values():
        if len(names) > 1:
            more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
            shown = ", ".join(names[:_NAMES_SHOWN])
            message = f"{len(names)} Datastreams of {side.alias} are one series: {shown}{more}."
            warnings.append(Warning("series", message, line, column, caret, "Narrow it by FILTER, or add a key to ON."))
    return warnings
