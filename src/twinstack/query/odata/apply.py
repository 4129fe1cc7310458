"""`$apply` (OData Data Aggregation 4.0): `filter(...)/compute(timebucket(...) as name)/groupby((...),aggregate(...))`.

The first two transformations may be left out; everything else that the standard knows is 501. `timebucket(time,
duration)` is ours: the start of the period of that length, counted from 1970 in UTC, in which the time lies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from twinstack.core.errors import NotServed, QueryError
from twinstack.query import tree
from twinstack.query.odata.grammar import GRAMMAR
from twinstack.query.odata.lexicon import LEXICON
from twinstack.query.odata.shape import lift
from twinstack.query.pratt import Parser
from twinstack.query.tokens import END, Source, Token, scan
from twinstack.query.tree import Expr

METHODS = ("average", "min", "max", "sum")
COUNT = "$count"
_ALIAS = re.compile(r"[^\W\d]\w{0,127}")
_FIX = (
    "Served: filter(...)/compute(timebucket(phenomenonTime,duration'PT1H') as bucket)"
    "/groupby((Datastream/id,bucket),aggregate(result with average as avg,$count as n))."
)


@dataclass(frozen=True, slots=True)
class Bucket:
    time: Expr
    period: Expr
    alias: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`expr with method as alias`; of `$count` the expression is None."""

    method: str
    alias: str
    expr: Expr | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    groupby: tuple[tuple[str, ...], ...]
    aggregates: tuple[Aggregate, ...]
    filter: Expr | None = None
    bucket: Bucket | None = None


def lift_apply(given: Apply, values: dict[str, Any]) -> Apply:
    """The shape of it: values become slots. Errors: InvalidInput as of `lift`."""
    bucket = given.bucket
    return Apply(
        given.groupby,
        tuple(replace(a, expr=None if a.expr is None else lift(a.expr, values)) for a in given.aggregates),
        None if given.filter is None else lift(given.filter, values),
        None if bucket is None else Bucket(lift(bucket.time, values), lift(bucket.period, values), bucket.alias),
    )


@lru_cache(maxsize=256)
def parse_apply(text: str) -> Apply:
    """Errors: QueryError with the place of what cannot be read, NotServed for other transformations."""
    source = Source(text)
    return _Reader(Parser(GRAMMAR, source, scan(source, LEXICON))).whole()


class _Reader:
    def __init__(self, parser: Parser) -> None:
        self.parser = parser
        self.names: set[str] = set()

    def whole(self) -> Apply:
        condition, bucket = None, None
        name = self._transformation(("filter", "compute", "groupby"))
        if name == "filter":
            condition = self._expression()
            self._next()
            name = self._transformation(("compute", "groupby"))
        if name == "compute":
            bucket = self._bucket()
            self._next()
            name = self._transformation(("groupby",))
        groupby = self._groupby()
        self.parser.expect(",", "',' and aggregate(...)")
        self._word("aggregate")
        self.parser.expect("(")
        aggregates = [self._aggregate()]
        while self.parser.accept(","):
            aggregates.append(self._aggregate())
        self._close()
        self._close()
        if self.parser.token.symbol == "/":
            raise NotServed("$apply: nothing is served behind groupby.", fix=_FIX)
        if self.parser.token.kind != END:
            raise self.parser.unexpected("the end")
        return Apply(groupby, tuple(aggregates), condition, bucket)

    def _transformation(self, served: tuple[str, ...]) -> str:
        """Takes `name(`."""
        token = self.parser.token
        if token.kind != "NAME":
            raise self.parser.unexpected("a transformation", _FIX)
        if token.text not in served:
            raise NotServed(f"$apply: '{token.text[:40]}' is not served here.", fix=_FIX)
        self.parser.take()
        self.parser.expect("(")
        return token.text

    def _next(self) -> None:
        """From the end of a transformation to the next: `)/`."""
        self._close()
        if self.parser.token.kind == END:
            raise NotServed("$apply without groupby is not served.", fix=_FIX)
        self.parser.expect("/", "'/' and groupby(...)")

    def _close(self) -> None:
        self.parser.expect(")")

    def _expression(self) -> Expr:
        expr = self.parser.expression()
        self.parser.check_depth(expr)
        return expr

    def _word(self, wanted: str) -> None:
        if self.parser.token.text != wanted:
            raise self.parser.unexpected(f"'{wanted}'", _FIX)
        self.parser.take()

    def _bucket(self) -> Bucket:
        token = self.parser.token
        if token.text != "timebucket":
            raise NotServed("$apply: compute serves timebucket only.", fix=_FIX)
        self.parser.take()
        self.parser.expect("(")
        time = self._expression()
        self.parser.expect(",")
        place = self.parser.token.span
        period = self._expression()
        if not (isinstance(period, tree.Literal) and period.kind == "duration" and self._us(period) > 0):
            raise self.parser.source.error("The length of a bucket is a duration above zero.", place, fix=_FIX)
        self._close()
        return Bucket(time, period, self._alias())

    @staticmethod
    def _us(period: tree.Literal) -> int:
        assert isinstance(period.value, int)
        return period.value

    def _groupby(self) -> tuple[tuple[str, ...], ...]:
        self.parser.expect("(", "'(' and the properties to group by")
        paths = [self._path()]
        while self.parser.accept(","):
            paths.append(self._path())
        self._close()
        return tuple(paths)

    def _path(self) -> tuple[str, ...]:
        token = self.parser.token
        expr = self._expression()
        if not isinstance(expr, tree.Path):
            raise self.parser.source.error("groupby takes properties and the name of the bucket.", token.span, fix=_FIX)
        return expr.parts

    def _aggregate(self) -> Aggregate:
        if self.parser.token.text == COUNT:
            self.parser.take()
            return Aggregate(COUNT, self._alias())
        expr = self._expression()
        self._word("with")
        token = self.parser.token
        if token.kind != "NAME":
            raise self.parser.unexpected(", ".join(METHODS))
        if token.text not in METHODS:
            raise NotServed(f"$apply: 'with {token.text[:40]}' is not served.", fix=f"Methods: {', '.join(METHODS)}.")
        self.parser.take()
        return Aggregate(token.text, self._alias(), expr)

    def _alias(self) -> str:
        self._word("as")
        token = self.parser.token
        if token.kind != "NAME" or not _ALIAS.fullmatch(token.text):
            raise self.parser.unexpected("a name of letters, digits and _")
        if token.text in self.names:
            raise self._twice(token)
        self.names.add(token.text)
        self.parser.take()
        return token.text

    def _twice(self, token: Token) -> QueryError:
        return self.parser.source.error(f"The name '{token.text}' stands twice.", token.span, fix="Choose another.")
