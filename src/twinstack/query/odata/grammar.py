"""The grammar of `$filter` and `$orderby` expressions: tables for the Pratt engine."""

from __future__ import annotations

from functools import lru_cache

from twinstack.query import tree
from twinstack.query.odata.functions import check_call
from twinstack.query.odata.lexicon import ARITHMETIC, LEXICON
from twinstack.query.pratt import Grammar, Infix, Parser, Prefix, arguments, literal, parenthesised, unary
from twinstack.query.tokens import Source, Token, scan
from twinstack.query.tree import Expr

_OR, _AND, _NOT, _EQUALITY, _RELATION, _SUM, _PRODUCT, _MINUS = 10, 20, 30, 40, 50, 60, 70, 80


def _number(_parser: Parser, token: Token) -> Expr:
    return tree.Literal(token.value, "int" if isinstance(token.value, int) else "float", span=token.span)


def _constant(value: bool | None) -> Prefix:
    kind = "null" if value is None else "bool"

    def parse(_parser: Parser, token: Token) -> Expr:
        return tree.Literal(value, kind, span=token.span)

    return parse


def _name(parser: Parser, token: Token) -> Expr:
    if parser.token.symbol != "(":
        return tree.Path(tuple(token.text.replace("[", "/").replace("]", "").split("/")), span=token.span)
    parser.take()
    args, closing = arguments(parser)
    call = tree.Call(token.text, args, span=token.span.to(closing.span))
    check_call(parser.source, call)
    return call


def _minus(parser: Parser, token: Token) -> Expr:
    operand = parser.expression(_MINUS)
    span = token.span.to(operand.span)
    if isinstance(operand, tree.Literal) and operand.kind in ("int", "float"):
        value = operand.value
        assert isinstance(value, int | float)
        return tree.Literal(-value, operand.kind, span=span)
    return tree.Unary("-", operand, span=span)


def _in(parser: Parser, left: Expr, _token: Token) -> Expr:
    parser.expect("(", "'(' and a list")
    items, closing = arguments(parser)
    if not items:
        raise parser.source.error("The list behind 'in' is empty.", closing.span, expected="at least one value")
    return tree.In(left, items, span=left.span.to(closing.span))


GRAMMAR = Grammar(
    prefix={
        **{kind: literal(kind) for kind in ("interval", "time", "clock", "duration", "geography", "string")},
        "number": _number,
        "null": _constant(None),
        "true": _constant(True),
        "false": _constant(False),
        "NAME": _name,
        "(": parenthesised,
        "not": unary("not", _NOT),
        "-": _minus,
    },
    infix={
        "or": Infix(_OR, flat=True),
        "and": Infix(_AND, flat=True),
        **{op: Infix(_EQUALITY) for op in ("eq", "ne")},
        **{op: Infix(_RELATION) for op in ("gt", "ge", "lt", "le")},
        "in": Infix(_RELATION, parse=_in),
        **{op: Infix(_SUM if op in ("add", "sub") else _PRODUCT) for op in ARITHMETIC},
    },
    operand="a property, a literal, a function, 'not' or '('",
)


@lru_cache(maxsize=1024)
def parse(text: str) -> Expr:
    """The tree of one expression. Operators keep their OData names. Errors: QueryError with the place in `text`."""
    source = Source(text)
    return Parser(GRAMMAR, source, scan(source, LEXICON)).whole()
