"""StreamSQL's expressions: the tables of binding powers and what the special forms read.

From weak to strong: XOR, OR, AND, NOT, comparisons (also IN, BETWEEN, LIKE, IS NULL), `+ -`, `* / %`, unary minus, `^`.
"""

from __future__ import annotations

import re

from twinstack.query import tree
from twinstack.query.pratt import Grammar, Infix, Parser, arguments, literal, parenthesised, unary
from twinstack.query.tokens import Span, Token
from twinstack.query.tree import Expr

XOR, OR, AND, NOT, COMPARE, SUM, PRODUCT, MINUS, POWER = range(10, 100, 10)

TYPES = {
    "INT": "int",
    "INTEGER": "int",
    "BIGINT": "int",
    "FLOAT": "float",
    "DOUBLE": "float",
    "REAL": "float",
    "STRING": "string",
    "VARCHAR": "string",
    "TEXT": "string",
    "BOOL": "bool",
    "BOOLEAN": "bool",
    "TIME": "time",
    "TIMESTAMP": "time",
}

# Words that may follow a number and are no unit of it.
_AFTER_NUMBER = frozenset(
    ["AS", "UNIT", "WITHIN", "ESCAPE", "EMIT", "ON", "ASOF", "NEIGHBOUR", "NEIGHBOR", "FILTER", "JOIN"]
)
_UNIT = re.compile(r"[°µ]?[^\W\d]\w*(?:[/^·][\w-]+)*")


def _number(parser: Parser, token: Token) -> Expr:
    follower = parser.token
    if follower.kind != "NAME" or follower.text.upper() in _AFTER_NUMBER:
        kind = "int" if isinstance(token.value, int) else "float"
        return tree.Literal(token.value, kind, span=token.span)
    match = _UNIT.match(parser.source.text, follower.span.start)
    assert match is not None, "a NAME begins with what a unit begins with"
    unit = Span(*match.span())
    while parser.token.span.start < unit.end and parser.token.kind != "END":
        parser.take()
    return tree.Literal(token.value, "quantity", unit=match.group(), span=token.span.to(unit))


def _name(parser: Parser, token: Token) -> Expr:
    if parser.token.symbol == "(" and token.kind == "NAME":
        return _call(parser, token)
    parts, last = [str(token.value)], token
    while parser.accept("."):
        if parser.token.kind not in ("NAME", "QUOTED", "WORD"):
            raise parser.unexpected("a name after '.'")
        last = parser.take()
        parts.append(str(last.value))
    return tree.Path(tuple(parts), quoted=token.kind == "QUOTED", span=token.span.to(last.span))


def _call(parser: Parser, token: Token) -> Expr:
    parser.take()
    if parser.token.symbol == "*" and parser.following.symbol == ")":  # COUNT(*)
        parser.take()
    args, closing = arguments(parser)
    return tree.Call(token.text.upper(), args, span=token.span.to(closing.span))


def _cast(parser: Parser, token: Token) -> Expr:
    parser.expect("(")
    operand = parser.expression()
    if parser.token.text.upper() != "AS":
        raise parser.unexpected("AS and a type", "CAST(result AS FLOAT)")
    parser.take()
    name = parser.take()
    if name.text.upper() not in TYPES:
        raise parser.source.error(
            f"'{name.text[:60]}' is not a type.", name.span, expected="INT, FLOAT, STRING, BOOL or TIME"
        )
    closing = parser.expect(")")
    return tree.Cast(operand, TYPES[name.text.upper()], span=token.span.to(closing.span))


def _case(parser: Parser, token: Token) -> Expr:
    operand = None if parser.token.symbol == "WHEN" else parser.expression()
    whens: list[tuple[Expr, Expr]] = []
    while parser.accept("WHEN"):
        test = parser.expression()
        parser.expect("THEN", "THEN or an operator")
        whens.append((test, parser.expression()))
    if not whens:
        raise parser.unexpected("WHEN", "CASE WHEN result > 4 THEN 1 ELSE 0 END")
    default = parser.expression() if parser.accept("ELSE") else None
    closing = parser.expect("END", "WHEN, ELSE, END or an operator")
    return tree.Case(operand, tuple(whens), default, span=token.span.to(closing.span))


def _in(parser: Parser, left: Expr, _token: Token, *, negated: bool = False) -> Expr:
    parser.expect("(", "'(' and a list", "Write IN ('a', 'b').")
    items, closing = arguments(parser)
    if not items:
        raise parser.source.error("The list of IN is empty.", closing.span, expected="a value")
    return tree.In(left, items, negated, span=left.span.to(closing.span))


def _between(parser: Parser, left: Expr, _token: Token, *, negated: bool = False) -> Expr:
    low = parser.expression(COMPARE)
    parser.expect("AND", "AND and the upper bound", "Write BETWEEN 1 AND 3.")
    high = parser.expression(COMPARE)
    return tree.Between(left, low, high, negated, span=left.span.to(high.span))


def _like(parser: Parser, left: Expr, _token: Token, *, negated: bool = False) -> Expr:
    pattern = parser.expression(COMPARE)
    span, escape = left.span.to(pattern.span), ""
    if parser.token.kind == "NAME" and parser.token.text.upper() == "ESCAPE":
        parser.take()
        token = parser.take()
        if token.kind != "STRING" or len(str(token.value)) != 1:
            raise parser.source.error("ESCAPE needs one character.", token.span, fix=r"Write ESCAPE '\'.")
        escape, span = str(token.value), span.to(token.span)
    return tree.Like(left, pattern, escape, negated, span=span)


def _is(parser: Parser, left: Expr, _token: Token) -> Expr:
    negated = parser.accept("NOT") is not None
    last = parser.expect("NULL", "NULL or NOT NULL", "Write = to compare with another value.")
    return tree.IsNull(left, negated, span=left.span.to(last.span))


def _not(parser: Parser, left: Expr, _token: Token) -> Expr:
    forms = {"IN": _in, "BETWEEN": _between, "LIKE": _like}
    form = forms.get(parser.token.symbol)
    if form is None:
        raise parser.unexpected("IN, BETWEEN or LIKE after NOT", "NOT stands before a condition: NOT result = 4.")
    return form(parser, left, parser.take(), negated=True)


def _word_literal(parser: Parser, token: Token) -> Expr:
    value = {"TRUE": True, "FALSE": False, "NULL": None}[token.symbol]
    return tree.Literal(value, "null" if value is None else "bool", span=token.span)


GRAMMAR = Grammar(
    prefix={
        "NUMBER": _number,
        "STRING": literal("string"),
        "NAME": _name,
        "QUOTED": _name,
        "TRUE": _word_literal,
        "FALSE": _word_literal,
        "NULL": _word_literal,
        "(": parenthesised,
        "NOT": unary("not", NOT),
        "-": unary("negate", MINUS),
        "+": unary("plus", MINUS),
        "CASE": _case,
        "CAST": _cast,
    },
    infix={
        "XOR": Infix(XOR, "xor", flat=True),
        "OR": Infix(OR, "or", flat=True),
        "AND": Infix(AND, "and", flat=True),
        "=": Infix(COMPARE, "eq", chains=False),
        "<>": Infix(COMPARE, "ne", chains=False),
        "<": Infix(COMPARE, "lt", chains=False),
        "<=": Infix(COMPARE, "le", chains=False),
        ">": Infix(COMPARE, "gt", chains=False),
        ">=": Infix(COMPARE, "ge", chains=False),
        "IN": Infix(COMPARE, chains=False, parse=_in),
        "BETWEEN": Infix(COMPARE, chains=False, parse=_between),
        "LIKE": Infix(COMPARE, chains=False, parse=_like),
        "IS": Infix(COMPARE, chains=False, parse=_is),
        "NOT": Infix(COMPARE, chains=False, parse=_not),
        "+": Infix(SUM, "add"),
        "-": Infix(SUM, "sub"),
        "*": Infix(PRODUCT, "mul"),
        "/": Infix(PRODUCT, "div"),
        "%": Infix(PRODUCT, "mod"),
        "^": Infix(POWER, "pow", right=True),
    },
    operand="a column, a number, a text in single quotes, NOT or '('",
)
