"""The check of expressions: names, kinds, constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twinstack.core import limits
from twinstack.core.errors import InvalidTimestamp, QueryError
from twinstack.core.timestamps import parse_us
from twinstack.query import tree
from twinstack.query.streamsql import checked as c
from twinstack.query.streamsql.catalogue import Catalogue
from twinstack.query.streamsql.checked import ELAPSED_S, PREVIOUS, Term, Warning
from twinstack.query.streamsql.complaints import never_compare, quantity
from twinstack.query.streamsql.fold import constant, fold
from twinstack.query.streamsql.functions import AGGREGATES, CALLABLE, FUNCTIONS, LATER
from twinstack.query.streamsql.kinds import BOOLS, FLOAT, NUMBER, STRINGS, TIMES, Kinds, comparable, of, words
from twinstack.query.streamsql.names import closest
from twinstack.query.tokens import Source, Span
from twinstack.query.tree import Expr

_SYMBOLS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "%", "pow": "^", "negate": "-", "plus": "+"}


class Scope(Protocol):
    """Which names mean what where an expression stands."""

    def resolve(self, path: tree.Path) -> c.ColumnRef:
        """Errors: QueryError with a suggestion."""
        ...


class Terms:
    """Checks expressions in one scope. `no_previous` says why PREV, DELTA and RATE may not stand here, `no_aggregate`
    the same of aggregates; where the former is empty they may."""

    def __init__(
        self,
        source: Source,
        catalogue: Catalogue,
        scope: Scope,
        warnings: list[Warning],
        *,
        no_previous: str = "",
        no_aggregate: str = "An aggregate needs a window.",
    ) -> None:
        self.source = source
        self.catalogue = catalogue
        self.scope = scope
        self.warnings = warnings
        self.uses_previous = False
        self._no_previous = no_previous
        self._no_aggregate = no_aggregate

    def value(self, node: Expr) -> Term:
        """Errors: QueryError."""
        return self._term(node)

    def condition(self, node: Expr, where: str) -> Term:
        """Errors: QueryError."""
        return self._condition(node, where)

    # Expressions

    def _term(self, node: Expr) -> Term:
        build: Callable[[Any], Term] = getattr(self, f"_{type(node).__name__.lower()}")
        return build(node)

    def _fold(self, term: Term) -> Term:
        def count() -> None:
            self._warn(
                "arithmetic", "This has no value (overflow or division by zero): it is NULL for each record.", term.span
            )

        return fold(term, count)

    def _literal(self, node: tree.Literal) -> Term:
        if node.kind == "quantity":
            raise quantity(self.source, self.catalogue, node)
        return constant(node.value, node.span)

    def _path(self, node: tree.Path) -> Term:
        return self.scope.resolve(node)

    def _unary(self, node: tree.Unary) -> Term:
        if node.op == "not":
            return self._fold(c.Not(BOOLS, node.span, self._condition(node.operand, "NOT")))
        return self._apply(node.op, (node.operand,), node.span, f"'{_ARITHMETIC[node.op]}'")

    def _binary(self, node: tree.Binary) -> Term:
        if node.op in _SYMBOLS:
            left, right = self._pair(node.left, node.right, f"'{_SYMBOLS[node.op]}'")
            self._warn_of_null(node)
            return self._fold(c.Compare(BOOLS, node.span, node.op, left, right))
        args = (node.left, node.right)
        if node.op == "pow" and node.right == tree.Literal(2, "int"):
            return self._apply("square", args[:1], node.span, "'^'")
        return self._apply(node.op, args, node.span, f"'{_ARITHMETIC[node.op]}'")

    def _warn_of_null(self, node: tree.Binary) -> None:
        for operand, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(operand, tree.Literal) and operand.value is None and node.op in ("eq", "ne"):
                negated = " NOT" if node.op == "ne" else ""
                fix = f"Write {self.source.slice(other.span)[:60]} IS{negated} NULL."
                self._warn("constant", "A comparison with NULL is NULL, never TRUE.", node.span, fix)

    def _chain(self, node: tree.Chain) -> Term:
        operands = tuple(self._condition(operand, node.op.upper()) for operand in node.operands)
        for operand, written in zip(operands, node.operands, strict=True):
            if isinstance(operand, c.Const):
                value = "NULL" if operand.value is None else str(operand.value).upper()
                self._warn("constant", f"This part of the condition is {value} for every record.", written.span)
        return self._fold(c.Logic(BOOLS, node.span, node.op, operands))

    def _between(self, node: tree.Between) -> Term:
        operand, low = self._pair(node.operand, node.low, "BETWEEN")
        operand, high = self._pair(node.operand, node.high, "BETWEEN", operand)
        return self._negated(c.Between(BOOLS, node.span, operand, low, high), node.negated)

    def _in(self, node: tree.In) -> Term:
        operand = self._term(node.operand)
        items: list[Term] = []
        for item in node.items:
            operand, checked = self._pair(node.operand, item, "IN", operand)
            items.append(checked)
        return self._negated(c.In(BOOLS, node.span, operand, tuple(items)), node.negated)

    def _like(self, node: tree.Like) -> Term:
        if isinstance(node.pattern, tree.Literal) and len(str(node.pattern.value)) > limits.QUERY_LIKE_CHARS_MAX:
            raise self.source.error(
                f"The pattern has more than {limits.QUERY_LIKE_CHARS_MAX} characters.",
                node.pattern.span,
                fix="Shorten it, or use = or IN.",
            )
        escape = (tree.Literal(node.escape, "string", span=node.span),) if node.escape else ()
        return self._negated(
            self._apply("like", (node.operand, node.pattern, *escape), node.span, "LIKE"), node.negated
        )

    def _isnull(self, node: tree.IsNull) -> Term:
        return self._negated(c.IsNull(BOOLS, node.span, self._term(node.operand)), node.negated)

    def _negated(self, term: Term, negated: bool) -> Term:
        term = self._fold(term)
        return self._fold(c.Not(BOOLS, term.span, term)) if negated else term

    def _cast(self, node: tree.Cast) -> Term:
        operand = self._term(node.operand)
        if operand.kinds == TIMES:
            if node.type == "time":
                return operand
            if node.type != "string":
                raise self.source.error(
                    "A time becomes no number.", node.span, fix="Use YEAR(time), HOUR(time) or CAST(time AS STRING)."
                )
            return self._fold(c.Apply(STRINGS, node.span, "time_text", (operand,)))
        shown = f"CAST AS {node.type.upper()}"
        return self._apply(f"cast_{node.type}", (node.operand,), node.span, shown, known=(operand,))

    def _call(self, node: tree.Call) -> Term:
        if node.name in LATER:
            raise self._later(f"{node.name}()", node.span, "Compare the columns of one record.")
        if node.name in AGGREGATES:
            return self._aggregate(node)
        special = _SPECIAL.get(node.name)
        if special is not None:
            return special(self, node)
        name = CALLABLE.get(node.name)
        if name is None:
            near = closest(node.name, [*CALLABLE, *_SPECIAL])
            fix = f"Did you mean {near}?" if near else f"Functions are {', '.join(sorted([*CALLABLE, *_SPECIAL]))}."
            raise self.source.error(f"There is no function {node.name[:60]}().", node.span, fix=fix)
        function = FUNCTIONS[name]
        if not function.takes(len(node.args)):
            raise self.source.error(
                f"{node.name}() does not take {len(node.args)} arguments.", node.span, fix=f"Write {function.usage}."
            )
        return self._apply(name, node.args, node.span, f"{node.name}()")

    def _aggregate(self, node: tree.Call) -> Term:
        raise self.source.error(
            f"{node.name}() cannot stand here: {self._no_aggregate}",
            node.span,
            fix="Add GROUP BY full_name, TUMBLE(time, 1 MINUTE); a condition on it is HAVING.",
        )

    def _distance(self, node: tree.Call) -> Term:
        """`DISTANCE(a, b)` of two sides, or of two places in degrees."""
        args = node.args
        if len(args) == 2 and all(isinstance(arg, tree.Path) and len(arg.parts) == 1 for arg in args):
            sides = [arg.parts[0] for arg in args if isinstance(arg, tree.Path)]
            args = tuple(
                tree.Path((side, axis), span=arg.span)
                for side, arg in zip(sides, node.args, strict=True)
                for axis in ("latitude", "longitude")
            )
        if len(args) != 4:
            raise self.source.error(
                f"DISTANCE() does not take {len(args)} arguments.",
                node.span,
                fix=f"Write {FUNCTIONS['distance'].usage}.",
            )
        return self._apply("distance", args, node.span, "DISTANCE()")

    def _previous(self, node: tree.Call) -> Term:
        """PREV, DELTA and RATE of `result`: by columns that the engine makes."""
        if self._no_previous:
            raise self._later(f"{node.name}() {self._no_previous}", node.span, "Use it in an app of its own.")
        path = node.args[0] if len(node.args) == 1 else None
        column = self._path(path) if isinstance(path, tree.Path) else None
        if not isinstance(column, c.ColumnRef) or column.name != "result":
            raise self.source.error(
                f"{node.name}() is of the Datastream's result.", node.span, fix=f"Write {node.name}(result)."
            )
        self.uses_previous = True
        previous = c.ColumnRef(column.kinds, node.span, PREVIOUS)
        if node.name == "PREV":
            return previous
        if not column.kinds & NUMBER:
            raise self._wrong(column.span, f"{node.name}()", column.kinds, NUMBER, "PREV(result) is of any type.")
        function = FUNCTIONS["sub"]
        kinds = function.result([column.kinds, column.kinds])
        delta = c.Apply(kinds, node.span, "sub", (column, previous))
        if node.name == "DELTA":
            return delta
        elapsed = c.ColumnRef(of(FLOAT), node.span, ELAPSED_S)
        return c.Apply(of(FLOAT), node.span, "div", (delta, elapsed))

    def _coalesce(self, node: tree.Call) -> Term:
        if not node.args:
            raise self.source.error("COALESCE() needs a value.", node.span, fix="Write COALESCE(result, 0).")
        args = tuple(self._term(arg) for arg in node.args)
        return self._fold(c.Coalesce(self._one_of(args), node.span, args))

    def _case(self, node: tree.Case) -> Term:
        operand = self._term(node.operand) if node.operand is not None else None
        tests: list[Term] = []
        for test, _ in node.whens:
            if node.operand is not None and operand is not None:
                operand, checked = self._pair(node.operand, test, "CASE", operand)
                tests.append(checked)
            else:
                tests.append(self._condition(test, "WHEN"))
        values = [self._term(value) for _, value in node.whens]
        default = self._term(node.default) if node.default is not None else constant(None, node.span)
        kinds = self._one_of((*values, default))
        return self._fold(c.Case(kinds, node.span, operand, tuple(zip(tests, values, strict=True)), default))

    # Kinds

    def _one_of(self, terms: tuple[Term, ...]) -> Kinds:
        """All kinds that the terms can have; a time and another value do not mix."""
        kinds = frozenset[str]().union(*(term.kinds for term in terms))
        if kinds > TIMES:
            odd = next(term for term in terms if term.kinds and term.kinds != TIMES)
            raise self._wrong(odd.span, "This", odd.kinds, TIMES, "Give all branches one type.")
        return kinds

    def _condition(self, node: Expr, where: str) -> Term:
        term = self._term(node)
        if term.kinds and not term.kinds & BOOLS:
            text = self.source.slice(node.span)[:60]
            raise self.source.error(
                f"{where} takes conditions, {text} is {words(term.kinds)}.",
                node.span,
                expected="a condition",
                fix=f"Compare it: {text} = {'0' if term.kinds & NUMBER else repr('text')}.",
            )
        return term

    def _pair(self, left: Expr, right: Expr, operator: str, known: Term | None = None) -> tuple[Term, Term]:
        """Both sides of a comparison; `known` is the left one if it was checked already. A text beside a time becomes
        a time."""
        terms = [known if known is not None else self._term(left), self._term(right)]
        for index, node in ((0, left), (1, right)):
            term = terms[index]
            if terms[1 - index].kinds == TIMES and isinstance(term, c.Const) and term.kinds == STRINGS:
                terms[index] = self._time(term, node.span)
        first, second = terms
        if not comparable(first.kinds, second.kinds):
            raise never_compare(self.source, operator, (left, first), (right, second))
        return first, second

    def _time(self, term: c.Const, span: Span) -> Term:
        try:
            return constant(parse_us(str(term.value)), span, TIMES)
        except InvalidTimestamp as error:
            raise self.source.error(error.message, span, expected="a time", fix=error.fix) from None

    def _apply(
        self, name: str, args: tuple[Expr, ...], span: Span, shown: str, known: tuple[Term, ...] | None = None
    ) -> Term:
        """The function on arguments of kinds that it takes; `known` are the arguments if they were checked already."""
        function = FUNCTIONS[name]
        terms = known or tuple(self._term(arg) for arg in args)
        for index, (term, node) in enumerate(zip(terms, args, strict=True)):
            if term.kinds and not term.kinds & function.param(index):
                fix = f"Write {function.usage}."
                if name == "add" and term.kinds <= STRINGS:
                    fix = "Texts are joined by CONCAT(a, b)."
                elif TIMES in (term.kinds, function.param(index)):
                    fix = "Arithmetic with times is not in this version." if name in _ARITHMETIC else fix
                raise self._wrong(node.span, shown, term.kinds, function.param(index), fix)
        return self._fold(c.Apply(function.result([t.kinds for t in terms]), span, name, terms))

    # Errors

    def _wrong(self, span: Span, shown: str, kinds: Kinds, wanted: Kinds, fix: str) -> QueryError:
        text = self.source.slice(span)[:60]
        return self.source.error(
            f"{shown} does not take {text}, which is {words(kinds)}.", span, expected=words(wanted), fix=fix
        )

    def _later(self, what: str, span: Span, fix: str) -> QueryError:
        return self.source.error(f"{what} is not in this version.", span, fix=fix)

    def _warn(self, code: str, message: str, span: Span, fix: str = "") -> None:
        line, column = self.source.place(span.start)
        self.warnings.append(Warning(code, message, line, column, self.source.caret(span), fix))


_SPECIAL: dict[str, Callable[[Terms, tree.Call], Term]] = {
    "COALESCE": Terms._coalesce,
    "DISTANCE": Terms._distance,
    "PREV": Terms._previous,
    "DELTA": Terms._previous,
    "RATE": Terms._previous,
}
"""Calls that are no function of their arguments' values alone."""


class GroupTerms(Terms):
    """Expressions behind a window: keys of GROUP BY, aggregates, and what is made of them."""

    def __init__(self, rows: Terms, keys: Sequence[tuple[Expr, Term]]) -> None:
        super().__init__(rows.source, rows.catalogue, rows.scope, rows.warnings)
        self.aggregates: list[c.CheckedAggregate] = []
        self._rows = rows
        self._keys = keys

    def _term(self, node: Expr) -> Term:
        for index, (written, term) in enumerate(self._keys):
            if node == written:
                return c.ColumnRef(term.kinds, node.span, c.key_column(index))
        return super()._term(node)

    def _path(self, node: tree.Path) -> Term:
        column = self.scope.resolve(node)
        for index, (_, term) in enumerate(self._keys):
            if column == term:
                return c.ColumnRef(term.kinds, node.span, c.key_column(index))
        text = self.source.slice(node.span)[:60]
        raise self.source.error(
            f"{text} has many values in a window.", node.span, fix=f"Write LAST({text}), or add {text} to GROUP BY."
        )

    def _previous(self, node: tree.Call) -> Term:
        raise self._later(f"{node.name}() behind a window", node.span, "Use FIRST(result) and LAST(result).")

    def _aggregate(self, node: tree.Call) -> Term:
        aggregate = AGGREGATES[node.name]
        if not aggregate.takes(len(node.args)):
            raise self.source.error(
                f"{node.name}() does not take {len(node.args)} arguments.", node.span, fix=f"Write {aggregate.usage}."
            )
        terms = tuple(self._rows.value(arg) for arg in node.args)
        for index, (term, arg) in enumerate(zip(terms, node.args, strict=True)):
            if term.kinds and not term.kinds & aggregate.param(index):
                raise self._wrong(
                    arg.span, f"{node.name}()", term.kinds, aggregate.param(index), f"Write {aggregate.usage}."
                )
        if node.name == "PERCENTILE":
            self._check_percent(terms[1], node.args[1])
        known = next((a for a in self.aggregates if (a.function, a.args) == (node.name, terms)), None)
        if known is None:
            known = c.CheckedAggregate(f"#{len(self.aggregates)}", node.name, terms)
            self.aggregates.append(known)
        return c.ColumnRef(aggregate.result([t.kinds for t in terms]), node.span, known.column)

    def _check_percent(self, term: Term, node: Expr) -> None:
        value = term.value if isinstance(term, c.Const) else None
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 100:
            raise self.source.error(
                "The percentage is a number from 0 to 100.", node.span, fix="Write PERCENTILE(result, 95)."
            )
