"""The tree of a whole StreamSQL statement; expressions are those of `query/tree.py`.

SELECT items FROM side [join] [WHERE expr] [GROUP BY [keys ','] window] [HAVING expr] [';']
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from twinstack.query.tokens import Source, Span
from twinstack.query.tree import Expr


class _Star(Enum):
    STAR = "*"

    def __repr__(self) -> str:
        return "STAR"


Star = _Star
STAR: Final = _Star.STAR
"""`SELECT *` forwards the record; `FROM *` is the app's source system."""


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A system in FROM and which of its topics is read: `int` (its own data) or `ext` (data shared with it)."""

    system: str
    suffix: str = "int"
    span: Span = field(default=Span(0, 0), compare=False)

    @property
    def topic(self) -> str:
        return f"{self.system}.{self.suffix}"


@dataclass(frozen=True, slots=True)
class Item:
    """One derived column of SELECT: `expr [AS name] [UNIT 'unit']`."""

    expr: Expr
    name: str
    unit: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Side:
    """`('*' | system {',' system}) [FILTER '(' expr ')'] [AS alias]`"""

    sources: tuple[SourceRef, ...] | Star
    filter: Expr | None
    alias: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Join:
    """`(NEIGHBOUR | ASOF) JOIN side [ON expr] [WITHIN duration]`"""

    kind: str
    side: Side
    on: Expr | None
    within_us: int | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Window:
    """`TUMBLE(time, duration)` or `HOP(time, size, slide)`; a tumbling window slides by its size."""

    kind: str
    size_us: int
    slide_us: int
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Query:
    """What `parse` gives: the statement as written, not yet checked."""

    source: Source = field(compare=False, repr=False)
    items: tuple[Item, ...] | Star
    side: Side
    join: Join | None = None
    where: Expr | None = None
    keys: tuple[Expr, ...] = ()
    window: Window | None = None
    having: Expr | None = None

    @property
    def text(self) -> str:
        return self.source.text
