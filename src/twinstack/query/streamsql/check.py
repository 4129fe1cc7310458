"""The check of a whole query against the sources' Datastreams, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

from twinstack.query.streamsql import checked as c
from twinstack.query.streamsql.catalogue import Catalogue
from twinstack.query.streamsql.checked import CheckedOutput, CheckedQuery, Term, Warning
from twinstack.query.streamsql.grammar import conjunction
from twinstack.query.streamsql.items import check_items, output_of
from twinstack.query.streamsql.joins import JoinScope, check_join
from twinstack.query.streamsql.match import matching, missed_datastreams
from twinstack.query.streamsql.names import Columns
from twinstack.query.streamsql.statement import STAR, Query
from twinstack.query.streamsql.terms import GroupTerms, Terms
from twinstack.query.tokens import Source, Span
from twinstack.query.tree import Expr


def check(query: Query, catalogue: Catalogue, other: Catalogue | None = None) -> CheckedQuery:
    """The query with names resolved and kinds known; `other` has the Datastreams of the side that is joined.

    Errors: QueryError with line, column, caret and fix. Warnings: `no_datastream` (a condition can be TRUE for no
    Datastream of the catalogue), `constant`, `arithmetic`, `series` (several Datastreams are joined as one).
    """
    checker = _Checker(query, catalogue)
    if query.join is not None:
        return checker.join(other if other is not None else catalogue)
    if query.window is not None:
        return checker.window()
    return checker.records()


class _Checker:
    def __init__(self, query: Query, catalogue: Catalogue) -> None:
        self.query = query
        self.source: Source = query.source
        self.catalogue = catalogue
        self.warnings: list[Warning] = []
        self.rows = self._rows(catalogue, query.side.alias)

    def _rows(self, catalogue: Catalogue, alias: str, *, no_previous: str = "") -> Terms:
        scope = Columns(self.source, catalogue, alias)
        return Terms(self.source, catalogue, scope, self.warnings, no_previous=no_previous)

    # The three forms of a query

    def records(self) -> CheckedQuery:
        """Each record becomes one Observation or none."""
        query = self.query
        if query.having is not None:
            raise self.source.error(
                "HAVING is about windows.", query.having.span, fix="Use WHERE, or add GROUP BY TUMBLE(time, 1 MINUTE)."
            )
        where = self._where(self.rows, [query.side.filter, query.where])
        output = None
        if query.items is not STAR:
            units = matching(where, self.catalogue)
            items = check_items(self.source, query.items, self.rows, lambda _column: units)
            output = output_of(self.source, query.items, items)
        return self._checked(where, output, uses_previous=self.rows.uses_previous)

    def window(self) -> CheckedQuery:
        query = self.query
        assert query.window is not None
        if query.items is STAR:
            raise self.source.error(
                "What comes out of a window is no record.",
                query.window.span,
                fix="Write what is wanted of it, for example AVG(result) AS result.",
            )
        rows = self._rows(self.catalogue, query.side.alias, no_previous="before a window")
        where = self._where(rows, [query.side.filter, query.where])
        keys = [(key, rows.value(key)) for key in query.keys]
        terms = GroupTerms(rows, keys)
        units = matching(where, self.catalogue)
        items = check_items(self.source, query.items, terms, lambda _column: units, terms.aggregates)
        output = output_of(self.source, query.items, items)
        having = self._condition(terms, query.having, "HAVING") if query.having is not None else None
        group = c.CheckedGroup(tuple(term for _, term in keys), query.window, tuple(terms.aggregates), having)
        return self._checked(where, output, group=group)

    def join(self, other: Catalogue) -> CheckedQuery:
        query = self.query
        assert query.join is not None
        self._refuse_behind_join()
        sides = (query.side, query.join.side)
        catalogues = (self.catalogue, other)
        scope = JoinScope(self.source, sides, catalogues)
        terms = Terms(self.source, catalogues[0], scope, self.warnings, no_previous="in a join")
        filters = tuple(
            self._where(self._rows(catalogue, side.alias, no_previous="in a join"), [side.filter], catalogue, "FILTER")
            for side, catalogue in zip(sides, catalogues, strict=True)
        )
        if query.items is STAR:
            raise self.source.error(
                "A pair is no record.",
                query.join.span,
                fix=f"Write what is wanted of it, for example {sides[0].alias}.result AS result.",
            )
        where = self._condition(terms, query.where, "WHERE") if query.where is not None else None
        streams = {
            side.alias: matching(filters[i], catalogue)
            for i, (side, catalogue) in enumerate(zip(sides, catalogues, strict=True))
        }
        items = check_items(self.source, query.items, terms, lambda column: streams[column.partition(".")[0]])
        output = output_of(self.source, query.items, items)
        read = [where, *(item.term for item in items)]
        join = check_join(query, scope, terms, filters, [t for t in read if t is not None], streams, self.warnings)
        return self._checked(where, output, join=join)

    def _refuse_behind_join(self) -> None:
        query = self.query
        behind = query.window.span if query.window is not None else None
        if behind is not None or query.having is not None:
            span = behind or (query.having.span if query.having is not None else Span(0, 0))
            raise self.source.error(
                "A window behind a join is not in this version.",
                span,
                fix="Let one app join, and a second one, which reads its output (.ext), make the windows.",
            )

    # Conditions

    def _where(
        self,
        terms: Terms,
        conditions: Sequence[Expr | None],
        catalogue: Catalogue | None = None,
        word: str = "WHERE",
    ) -> Term | None:
        written = conjunction([part for part in conditions if part is not None])
        if written is None:
            return None
        term = self._condition(terms, written, word)
        if not isinstance(term, c.Const):
            self.warnings.extend(missed_datastreams(term, catalogue or self.catalogue, self.source))
        return term

    def _condition(self, terms: Terms, written: Expr, word: str) -> Term:
        term = terms.condition(written, word)
        if isinstance(term, c.Const):
            outcome = "every record" if term.value is True else "no record"
            self.warnings[:] = [w for w in self.warnings if w.code != "constant" or w.fix]
            line, column = self.source.place(written.span.start)
            message = f"The condition is constant: it passes {outcome}."
            self.warnings.append(Warning("constant", message, line, column, self.source.caret(written.span), ""))
        return term

    def _checked(
        self,
        where: Term | None,
        output: CheckedOutput | None,
        *,
        join: c.CheckedJoin | None = None,
        group: c.CheckedGroup | None = None,
        uses_previous: bool = False,
    ) -> CheckedQuery:
        known = where.value is True if isinstance(where, c.Const) else None
        return CheckedQuery(
            query=self.query,
            sources=self.query.side.sources,
            where=where,
            columns=c.columns_of(where) if where is not None else frozenset(),
            constant=True if where is None else known,
            warnings=tuple(self.warnings),
            output=output,
            join=join,
            group=group,
            uses_previous=uses_previous,
        )
