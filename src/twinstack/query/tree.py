"""The tree of an expression, shared by the grammars and by every back end.

Nodes are frozen and compare by meaning: `span`, the place in the text, takes no part in `==`. Operators have the names
that the grammar's table gives them (`Infix.op`); back ends know the set of their grammar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from twinstack.query.tokens import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    span: Span = field(compare=False, default=Span(0, 0))


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A constant. `kind`: null, bool, int, float, string, or a grammar's own: time, duration, geography, interval."""

    value: object
    kind: str
    unit: str = ""
    """The word behind a number, as in `3 km`: no grammar gives it a meaning, an error says what to write."""


@dataclass(frozen=True, slots=True)
class Path(Node):
    """A column or property: `result`, `parameters.speed`, `a.result`, `Datastream/Thing/name`, `@iot.id`."""

    parts: tuple[str, ...]
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Unary(Node):
    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Node):
    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """Two or more operands of one associative operator, `a AND b AND c`: flat, so that length is not depth."""

    op: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Between(Node):
    operand: Expr
    low: Expr
    high: Expr
    negated: bool = False


@dataclass(frozen=True, slots=True)
class In(Node):
    operand: Expr
    items: tuple[Expr, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Like(Node):
    operand: Expr
    pattern: Expr
    escape: str = ""
    negated: bool = False


@dataclass(frozen=True, slots=True)
class IsNull(Node):
    operand: Expr
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function; `name` as the grammar normalises it (`abs`, `geo.distance`)."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Cast(Node):
    operand: Expr
    type: str


@dataclass(frozen=True, slots=True)
class Case(Node):
    """`CASE [operand] WHEN test THEN value ... [ELSE default] END`; without an operand the tests are conditions."""

    operand: Expr | None
    whens: tuple[tuple[Expr, Expr], ...]
    default: Expr | None


Expr = Literal | Path | Unary | Binary | Chain | Between | In | Like | IsNull | Call | Cast | Case


def children(node: Expr) -> tuple[Expr, ...]:
    match node:
        case Unary() | IsNull() | Cast():
            return (node.operand,)
        case Binary():
            return (node.left, node.right)
        case Chain():
            return node.operands
        case Between():
            return (node.operand, node.low, node.high)
        case In():
            return (node.operand, *node.items)
        case Like():
            return (node.operand, node.pattern)
        case Call():
            return node.args
        case Case():
            first = (node.operand,) if node.operand is not None else ()
            last = (node.default,) if node.default is not None else ()
            return (*first, *(part for when in node.whens for part in when), *last)
    return ()


def walk(root: Expr) -> Iterator[tuple[Expr, int]]:
    """Every node with its depth (the root has 1), without recursion: safe before the depth is known."""
    stack = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        stack.extend((child, depth + 1) for child in reversed(children(node)))
