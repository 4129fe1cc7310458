"""The checked tree: names resolved, kinds known, constants folded. Both evaluators work on it.

Nodes compare by meaning; `span` is the place in the query's text, for errors and explanations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from twinstack.query.streamsql.kinds import Kinds
from twinstack.query.streamsql.statement import Query, SourceRef, Star, Window
from twinstack.query.tokens import Span


@dataclass(frozen=True, slots=True)
class Checked:
    kinds: Kinds
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Const(Checked):
    value: object
    """None, bool, int, float or str; microseconds when the kinds are {time}."""


@dataclass(frozen=True, slots=True)
class ColumnRef(Checked):
    name: str


@dataclass(frozen=True, slots=True)
class Compare(Checked):
    """`op`: eq, ne, lt, le, gt, ge."""

    op: str
    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class Logic(Checked):
    """Kleene's `and`, `or`; `xor` is NULL as soon as an operand is."""

    op: str
    operands: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Not(Checked):
    operand: Term


@dataclass(frozen=True, slots=True)
class Between(Checked):
    operand: Term
    low: Term
    high: Term


@dataclass(frozen=True, slots=True)
class In(Checked):
    operand: Term
    items: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class IsNull(Checked):
    operand: Term


@dataclass(frozen=True, slots=True)
class Apply(Checked):
    """A function of `functions.FUNCTIONS`: NULL if an argument is NULL or of a kind that the function does not take."""

    function: str
    args: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Case(Checked):
    """The value behind the first test that is TRUE (or, with an operand, equals it), else the default."""

    operand: Term | None
    whens: tuple[tuple[Term, Term], ...]
    default: Term


@dataclass(frozen=True, slots=True)
class Coalesce(Checked):
    args: tuple[Term, ...]


Term = Const | ColumnRef | Compare | Logic | Not | Between | In | IsNull | Apply | Case | Coalesce


def parts(node: Term) -> tuple[Term, ...]:
    """The direct sub-expressions, in the order of the text."""
    match node:
        case Compare():
            return (node.left, node.right)
        case Logic():
            return node.operands
        case Not() | IsNull():
            return (node.operand,)
        case Between():
            return (node.operand, node.low, node.high)
        case In():
            return (node.operand, *node.items)
        case Apply() | Coalesce():
            return node.args
        case Case():
            first = (node.operand,) if node.operand is not None else ()
            return (*first, *(part for when in node.whens for part in when), node.default)
    return ()


def walk(root: Term) -> Iterator[Term]:
    """Every node, in the order of the text, an expression before its parts."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(parts(node)))


def columns_of(node: Term) -> frozenset[str]:
    return frozenset(part.name for part in walk(node) if isinstance(part, ColumnRef))


@dataclass(frozen=True, slots=True)
class Warning:
    """What `check` noticed and a person should read; the query runs all the same."""

    code: str
    """no_datastream, constant, arithmetic."""
    message: str
    line: int
    column: int
    caret: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class CheckedItem:
    """One item of SELECT. `unit`: as written behind UNIT, else that of the input if it has exactly one, else None."""

    name: str
    term: Term
    unit: str | None


@dataclass(frozen=True, slots=True)
class CheckedOutput:
    """The Observation that comes out: which item is its result; the others are its parameters."""

    result: CheckedItem
    parameters: tuple[CheckedItem, ...]


@dataclass(frozen=True, slots=True)
class CheckedSide:
    """One side of a join. Terms read the side's columns by their bare names.

    `columns` are those that anything but the filter reads of the side's records; `keys` are the side's parts of ON.
    """

    alias: str
    sources: tuple[SourceRef, ...] | Star
    filter: Term | None
    keys: tuple[Term, ...]
    columns: frozenset[str]


@dataclass(frozen=True, slots=True)
class CheckedJoin:
    """`kind`: neighbour or asof. WHERE and items read columns as `<alias>.<column>`."""

    kind: str
    left: CheckedSide
    right: CheckedSide
    within_us: int | None

    @property
    def sides(self) -> tuple[CheckedSide, CheckedSide]:
        return self.left, self.right


@dataclass(frozen=True, slots=True)
class CheckedAggregate:
    """HAVING and items read its value as the column `column`. `function` in upper case; COUNT(*) has no argument."""

    column: str
    function: str
    args: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class CheckedGroup:
    """HAVING and items read the keys as the columns `key_column(0)`, ... and the aggregates by their own names."""

    keys: tuple[Term, ...]
    window: Window
    aggregates: tuple[CheckedAggregate, ...]
    having: Term | None

    @property
    def columns(self) -> frozenset[str]:
        """What of the records keys and aggregates read."""
        arguments = [arg for aggregate in self.aggregates for arg in aggregate.args]
        return frozenset().union(*map(columns_of, (*self.keys, *arguments)))


def key_column(index: int) -> str:
    return f"@{index}"


PREVIOUS, ELAPSED_S = "#previous", "#elapsed"
"""Columns that the engine makes: the result of the Datastream's record before this one, and the seconds since."""


@dataclass(frozen=True, slots=True)
class CheckedQuery:
    """A query that can run: `where` is None without a condition; `columns` are those that the condition reads. Without
    a join FILTER is a part of it.

    `output` is None where the record is forwarded as it is (SELECT *). `uses_previous`: PREV, DELTA or RATE occur.

    `constant` is True or False if WHERE has the same outcome for every record (a constant NULL passes nothing: False),
    else None.
    """

    query: Query = field(compare=False, repr=False)
    sources: tuple[SourceRef, ...] | Star
    where: Term | None
    columns: frozenset[str]
    constant: bool | None
    warnings: tuple[Warning, ...]
    output: CheckedOutput | None = None
    join: CheckedJoin | None = None
    group: CheckedGroup | None = None
    uses_previous: bool = False

    @property
    def is_filter(self) -> bool:
        """Each record is judged by itself and forwarded as its bytes."""
        return self.output is None and not self.uses_previous

    @property
    def is_stateful(self) -> bool:
        return self.join is not None or self.group is not None or self.uses_previous
