"""A small Pratt engine: tokens to a tree, driven by a grammar's table of binding powers.

A grammar has two tables, both keyed by a token's symbol. `prefix` says how an expression begins (a literal, a name, a
parenthesis, NOT, minus); `infix` how it goes on, with the binding power: of two operators beside one operand the
greater power takes it. The engine keeps the limits: depth 64, 2,000 nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twinstack.core import limits
from twinstack.core.errors import QueryError
from twinstack.query import tree
from twinstack.query.tokens import END, Source, Span, Token
from twinstack.query.tree import Expr

Prefix = Callable[["Parser", Token], Expr]
"""Reads what begins with the token, which is taken already."""


@dataclass(frozen=True, slots=True)
class Infix:
    """An operator after an operand.

    `right`: associates to the right. `flat`: associative, its operands become one `Chain`. `chains`: False for
    comparisons, where `a < b < c` is an error. `parse`: reads what follows itself (BETWEEN, IN, a postfix).
    """

    power: int
    op: str = ""
    right: bool = False
    flat: bool = False
    chains: bool = True
    parse: Callable[[Parser, Expr, Token], Expr] | None = None


@dataclass(frozen=True, slots=True)
class Grammar:
    prefix: Mapping[str, Prefix]
    infix: Mapping[str, Infix]
    operand: str
    """What can begin an expression, for messages: 'a column, a number, a text or ('."""


class Parser:
    """One pass over the tokens of one text. All methods raise QueryError only."""

    def __init__(self, grammar: Grammar, source: Source, tokens: Sequence[Token]) -> None:
        self.grammar = grammar
        self.source = source
        self.tokens = tokens
        self.index = 0
        self._depth = 0
        self._nodes = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    @property
    def following(self) -> Token:
        return self.tokens[min(self.index + 1, len(self.tokens) - 1)]

    def take(self) -> Token:
        """The token, and one step on; END is never passed."""
        token = self.tokens[self.index]
        if token.kind != END:
            self.index += 1
        return token

    def accept(self, symbol: str) -> Token | None:
        return self.take() if self.token.symbol == symbol else None

    def expect(self, symbol: str, expected: str = "", fix: str = "") -> Token:
        if self.token.symbol != symbol:
            raise self.unexpected(expected or f"'{symbol}'", fix)
        return self.take()

    def unexpected(self, expected: str, fix: str = "") -> QueryError:
        token = self.token
        message = "The text ends too early." if token.kind == END else f"'{token.text[:60]}' cannot stand here."
        return self.source.error(message, token.span, expected=expected, fix=fix)

    def expression(self, power: int = 0) -> Expr:
        """The longest expression whose operators bind tighter than `power`."""
        self._depth += 1
        if self._depth > limits.QUERY_DEPTH_MAX:
            raise self._too_deep(self.token.span)
        left = self._operand()
        before: Infix | None = None
        while (infix := self.grammar.infix.get(self.token.symbol)) is not None and infix.power > power:
            if before is not None and infix.power == before.power and not infix.chains:
                raise self.source.error(
                    f"'{self.token.text}' cannot follow another comparison.",
                    self.token.span,
                    fix="Join two comparisons by AND (a < b AND b < c), or put one of them in parentheses.",
                )
            self._count(self.token.span)
            left = self._extend(left, infix, flat=before is not None and before.flat and before.op == infix.op)
            before = infix
        self._depth -= 1
        return left

    def whole(self) -> Expr:
        """The expression that fills the rest of the text."""
        root = self.expression()
        if self.token.kind != END:
            raise self.unexpected("an operator or the end")
        self.check_depth(root)
        return root

    def check_depth(self, root: Expr) -> None:
        # `1 + 1 + 1 ...` deepens the tree and not the parser: recursive back ends rely on this bound.
        for node, depth in tree.walk(root):
            if depth > limits.QUERY_DEPTH_MAX:
                raise self._too_deep(node.span)

    def _operand(self) -> Expr:
        token = self.token
        prefix = self.grammar.prefix.get(token.symbol)
        if prefix is None:
            raise self.unexpected(self.grammar.operand)
        self._count(token.span)
        self.take()
        return prefix(self, token)

    def _extend(self, left: Expr, infix: Infix, *, flat: bool) -> Expr:
        token = self.take()
        if infix.parse is not None:
            return infix.parse(self, left, token)
        right = self.expression(infix.power - 1 if infix.right else infix.power)
        span = left.span.to(right.span)
        op = infix.op or token.symbol
        if flat and isinstance(left, tree.Chain):
            return tree.Chain(op, (*left.operands, right), span=span)
        if infix.flat:
            return tree.Chain(op, (left, right), span=span)
        return tree.Binary(op, left, right, span=span)

    def _count(self, span: Span) -> None:
        self._nodes += 1
        if self._nodes > limits.QUERY_NODES_MAX:
            raise self.source.error(
                f"The text has more than {limits.QUERY_NODES_MAX} parts.", span, fix="Split it, or use LIKE."
            )

    def _too_deep(self, span: Span) -> QueryError:
        return self.source.error(
            f"The expression is nested deeper than {limits.QUERY_DEPTH_MAX}.", span, fix="Remove parentheses."
        )


def unary(op: str, power: int) -> Prefix:
    """A prefix operator whose operand holds everything that binds tighter than `power`."""

    def parse(parser: Parser, token: Token) -> Expr:
        operand = parser.expression(power)
        return tree.Unary(op, operand, span=token.span.to(operand.span))

    return parse


def literal(kind: str) -> Prefix:
    def parse(_parser: Parser, token: Token) -> Expr:
        return tree.Literal(token.value, kind, span=token.span)

    return parse


def parenthesised(parser: Parser, _token: Token) -> Expr:
    inner = parser.expression()
    parser.expect(")", "')' or an operator")
    return inner


def arguments(parser: Parser) -> tuple[tuple[Expr, ...], Token]:
    """`a, b, c)` behind a taken '(', and the closing token."""
    items: list[Expr] = []
    if closing := parser.accept(")"):
        return (), closing
    while True:
        items.append(parser.expression())
        if parser.accept(","):
            continue
        return tuple(items), parser.expect(")", "',' or ')'")
