"""What bounds a read: rows of a page, size of an answer, and whether it may run on the event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twinstack.core import limits
from twinstack.core.errors import InvalidInput
from twinstack.query import tree
from twinstack.sensorthings.options import Options
from twinstack.sensorthings.paths import ResourcePath
from twinstack.sensorthings.versions import ApiVersion

Values = dict[str, Any]


@dataclass(slots=True)
class Request:
    """One read: `values` are the parameters of its statements; the rest bounds and addresses the answer."""

    version: ApiVersion
    base: str
    values: Values
    system_id: int | None = None
    entities: int = 0
    chars: int = 0

    def spend(self, entities: int, chars: int) -> None:
        """Errors: InvalidInput when the answer grows beyond its bounds."""
        self.entities += entities
        self.chars += chars
        if self.entities > limits.EXPAND_ENTITIES_MAX or self.chars > limits.ANSWER_BYTES_MAX:
            raise InvalidInput(
                f"The answer has more than {limits.EXPAND_ENTITIES_MAX:,} entities or "
                f"{limits.ANSWER_BYTES_MAX // limits.MIB} MiB.",
                fix="Give $top to $expand, choose properties by $select, or ask in several requests.",
            )


def page_rows(options: Options, version: ApiVersion) -> int:
    """Rows of an expanded link."""
    return version.page_rows if options.top is None else min(options.top, limits.PAGE_ROWS_MAX)


def answer_rows(options: Options, version: ApiVersion) -> int:
    """Rows of the whole answer."""
    return version.page_rows if options.top is None else min(options.top, limits.ANSWER_ROWS_MAX)


def part_rows(options: Options, version: ApiVersion) -> int:
    """Rows that are read at once: fewer where each brings many others by `$expand`."""
    each = _entities(options, version)
    return limits.PAGE_ROWS_MAX if each == 1 else min(limits.PAGE_ROWS_MAX, limits.ANSWER_PART_ENTITIES // each or 1)


def _entities(options: Options, version: ApiVersion) -> int:
    """Entities of one row at most, itself included."""
    return 1 + sum(
        (page_rows(one.options, version) if one.link.many else 1) * _entities(one.options, version)
        for one in options.expand
    )


def is_short(path: ResourcePath, options: Options, version: ApiVersion) -> bool:
    """Whether a read may run on the event loop: bounded by a page, found by an index."""
    if options.apply is not None or options.skip or (options.count and path.last.link is not None):
        return False
    if not _indexed(path, options):
        return False
    rows = 1 if path.single else answer_rows(options, version)
    return rows * _weight(options, version) <= limits.READ_ROWS_ON_LOOP_MAX


def _indexed(path: ResourcePath, options: Options) -> bool:
    """No `$filter` and `$orderby`, or those that the index (Datastream, phenomenonTime) serves."""
    if options.filter is None and not options.orderby:
        return True
    if path.last.link is None or path.entity.name != "Observation" or path.steps[-2].entity.table != "datastream":
        return False
    time = tree.Path(("phenomenonTime",))
    if any(order.expr != time for order in options.orderby):
        return False
    if options.filter is None:
        return True
    parts = options.filter.operands if isinstance(options.filter, tree.Chain) else (options.filter,)
    return all(
        isinstance(part, tree.Binary)
        and part.op in ("lt", "le", "gt", "ge", "eq")
        and part.left == time
        and isinstance(part.right, tree.Literal)
        for part in parts
    )


def _weight(options: Options, version: ApiVersion) -> int:
    """Entities for one row of a level, itself included."""
    total = 1
    for one in options.expand:
        inner = one.options
        if inner.filter is not None or inner.skip or inner.count:
            return limits.READ_ROWS_ON_LOOP_MAX + 1
        if inner.orderby and not (inner.top == 1 and len(inner.orderby) == 1):
            return limits.READ_ROWS_ON_LOOP_MAX + 1
        total += (page_rows(inner, version) if one.link.many else 1) * _weight(inner, version)
    return total
