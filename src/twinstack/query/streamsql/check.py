"""The check of a query against the sources' Datastreams: names, kinds, constants, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twinstack.core import limits
from twinstack.core.errors import InvalidTimestamp, QueryError
from twinstack.core.timestamps import parse_us
from twinstack.query import tree
from twinstack.query.streamsql import checked as c
from twinstack.query.streamsql.catalogue import Catalogue
from twinstack.query.streamsql.checked import CheckedQuery, Term, Warning
from twinstack.query.streamsql.complaints import never_compare, quantity
from twinstack.query.streamsql.fold import constant, fold
from twinstack.query.streamsql.functions import CALLABLE, FUNCTIONS, LATER
from twinstack.query.streamsql.grammar import conjunction
from twinstack.query.streamsql.kinds import BOOLS, NUMBER, STRINGS, TIMES, Kinds, comparable, words
from twinstack.query.streamsql.match import missed_datastreams
from twinstack.query.streamsql.names import Columns, closest
from twinstack.query.streamsql.statement import STAR, Query
from twinstack.query.tokens import Span
from twinstack.query.tree import Expr

_SYMBOLS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "%", "pow": "^", "negate": "-", "plus": "+"}


def check(query: Query, catalogue: Catalogue) -> CheckedQuery:
    """The query with names resolved and kinds known. Errors: QueryError with line, column, caret and fix.

    Warnings: `no_datastream` (WHERE can be TRUE for no Datastream of the catalogue), `constant`, `arithmetic`.
    """
    checker = _Checker(query, catalogue)
    checker.refuse_later_parts()
    where = checker.where()
    known = where.value is True if isinstance(where, c.Const) else None
    return CheckedQuery(
        query=query,
        sources=query.side.sources,
        where=where,
        columns=c.columns_of(where) if where is not None else frozenset(),
        constant=True if where is None else known,
        warnings=tuple(checker.warnings),
    )


class _Checker:
    def __init__(self, query: Query, catalogue: Catalogue) -> None:
        self.query = query
        self.source = query.source
        self.catalogue = catalogue
        self.columns = Columns(query.source, catalogue, query.side.alias)
        self.warnings: list[Warning] = []

    def refuse_later_parts(self) -> None:
        query = self.query
        if query.items is not STAR:
            raise self._later("A projection", query.items[0].span, "Write SELECT *: the record is forwarded as it is.")
        if query.join is not None:
            raise self._later("A join", query.join.span, "Read one or more systems: FROM a, b.")
        if query.keys or query.window is not None:
            span = query.keys[0].span if query.keys or query.window is None else query.window.span
            raise self._later("GROUP BY", span, "Use WHERE alone.")
        if query.having is not None:
            raise self._later("HAVING", query.having.span, "Use WHERE.")

    def where(self) -> Term | None:
        conditions = [part for part in (self.query.side.filter, self.query.where) if part is not None]
        written = conjunction(conditions)
        if written is None:
            return None
        term = self._condition(written, "WHERE")
        if isinstance(term, c.Const):
            outcome = "every record" if term.value is True else "no record"
            self.warnings = [w for w in self.warnings if w.code != "constant" or w.fix]
            self._warn("constant", f"The condition is constant: it passes {outcome}.", written.span)
        else:
            self.warnings.extend(missed_datastreams(term, self.catalogue, self.source))
        return term

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
        return self.columns.resolve(node)

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
        if node.name == "COALESCE":
            return self._coalesce(node)
        name = CALLABLE.get(node.name)
        if name is None:
            near = closest(node.name, [*CALLABLE, "COALESCE"])
            fix = f"Did you mean {near}?" if near else f"Functions are COALESCE, {', '.join(sorted(CALLABLE))}."
            raise self.source.error(f"There is no function {node.name[:60]}().", node.span, fix=fix)
        function = FUNCTIONS[name]
        if not function.takes(len(node.args)):
            raise self.source.error(
                f"{node.name}() does not take {len(node.args)} arguments.", node.span, fix=f"Write {function.usage}."
            )
        return self._apply(name, node.args, node.span, f"{node.name}()")

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
