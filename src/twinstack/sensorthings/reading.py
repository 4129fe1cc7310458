"""Runs plans: entities and pages as JSON text, `$expand` level by level, nextLinks, within fixed bounds.

Everything here is synchronous and touches the database through one `Session`; the caller decides where it runs.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from twinstack.core import limits
from twinstack.core.errors import InvalidInput
from twinstack.query import tree
from twinstack.sensorthings import joins
from twinstack.sensorthings import options as query_options
from twinstack.sensorthings.connections import Row, Session
from twinstack.sensorthings.keyset import Signer, parameter
from twinstack.sensorthings.model import EntityType, Link
from twinstack.sensorthings.options import CURSOR, NO_OPTIONS, Options
from twinstack.sensorthings.paths import ResourcePath, not_found
from twinstack.sensorthings.plan import (
    IDS,
    LIMIT,
    NOW,
    OFFSET,
    PARENT,
    Child,
    Level,
    Planner,
    Statement,
    compile_sql,
    etag_columns,
)
from twinstack.sensorthings.store import tables
from twinstack.sensorthings.store.values import etag
from twinstack.sensorthings.versions import VERSIONS, ApiVersion

_PLANS_MAX = 512
_TOKEN_VALUES_CHARS_MAX = 4_096
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


@dataclass(slots=True)
class Page:
    """Rows of one page; `more`: rows are left behind the last one."""

    rows: list[Row]
    more: bool


@dataclass(slots=True)
class PlanCache:
    """The plans used last, by shape; all processes of a server make the same ones."""

    dialect: Dialect
    _plans: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)

    def get(self, key: Hashable, make: Any) -> Any:
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = make()
            if len(self._plans) > _PLANS_MAX:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return plan

    def planner(self, version: ApiVersion) -> Planner:
        return Planner(version, self.dialect)


class Reading:
    """One read in one session. Errors: NotFound, InvalidInput."""

    def __init__(self, session: Session, plans: PlanCache, signer: Signer, request: Request) -> None:
        self.session = session
        self.plans = plans
        self.signer = signer
        self.request = request

    # --- paths ------------------------------------------------------------------------------------------------------
    def resolve(self, path: ResourcePath, length: int) -> int:
        """The id of the entity at the step `length - 1`. Errors: NotFound."""
        key = ("path", path.shape[:length])
        statement: Statement = self.plans.get(
            key, lambda: compile_sql(joins.path_ids(path, length), self.plans.dialect)
        )
        row = self.session.first(statement, path.ids())
        if row is None:
            step = path.steps[length - 1]
            raise not_found(step.entity, step.id if step.id is not None else f"<{step.link.name if step.link else ''}>")
        return int(row[0])

    def as_system(self, name: str) -> None:
        """Whole sets now list the entities of this system, received copies included. Errors: InvalidInput."""
        system = tables.system.c
        statement: Statement = self.plans.get(
            ("system",),
            lambda: compile_sql(sa.select(system.id).where(system.name == sa.bindparam("name")), self.plans.dialect),
        )
        row = self.session.first(statement, {"name": name})
        if row is None:
            raise InvalidInput(f"Twinstack-System: there is no system '{name[:120]}'.", fix="Use a registered system.")
        self.request.system_id = row[0]

    # --- entities ---------------------------------------------------------------------------------------------------
    def one(self, path: ResourcePath, options: Options) -> tuple[str, str]:
        """The JSON of the entity at the end of a path, and its ETag as the store knows it."""
        entity_id = path.last.id
        if len(path.steps) > 1 or entity_id is None:
            entity_id = self.resolve(path, len(path.steps))
        return self.by_id(path.entity, entity_id, options)

    def by_id(self, entity: EntityType, entity_id: int, options: Options = NO_OPTIONS) -> tuple[str, str]:
        level = self._plan(("one", entity.name), options, lambda p, o: p.one(entity, o))
        row = self.session.first(level.statement(), {**self.request.values, PARENT: entity_id})
        if row is None:
            raise not_found(entity, entity_id)
        self.request.spend(1, 0)
        text = self._texts(level, options, [row])[0]
        return text, _etag(level, row)

    def _plan(self, key: tuple[Hashable, ...], options: Options, make: Any) -> Level:
        shape = query_options.lift(options, self.request.values)
        version = self.request.version
        cache_key = (*key, version.segment, shape)
        return self.plans.get(cache_key, lambda: make(self.plans.planner(version), shape))  # type: ignore[no-any-return]

    # --- sets -------------------------------------------------------------------------------------------------------
    def many(self, path: ResourcePath, options: Options, address: str) -> str:
        """One page of the set at the end of a path; `address` is its URL without query, for the nextLink."""
        values = self.request.values
        step = path.last
        if step.link is None:
            of_system = self.request.system_id is not None
            if of_system:
                values["system_id"] = self.request.system_id
            level = self._plan(
                ("set", step.entity.name, of_system),
                options,
                lambda p, o: p.whole_set(step.entity, o, of_system=of_system),
            )
        else:
            source, link = path.steps[-2].entity, step.link
            values[PARENT] = self.resolve(path, len(path.steps) - 1)
            level = self._plan(("linked", source.name, link.name), options, lambda p, o: p.linked_set(source, link, o))
        count = self._count(level, values)
        page = self._page(level, options, values)
        texts = self._texts(level, options, page.rows)
        version = self.request.version
        head = "" if count is None else f'"{version.count}":{count},'
        if page.more:
            head += f'"{version.next_link}":{json.dumps(self._next_link(level, options, page, address))},'
        return f'{{{head}"value":[{",".join(texts)}]}}'

    def _count(self, level: Level, values: Values) -> int | None:
        if level.count is None:
            return None
        row = self.session.first(level.count, values)
        return int(row[0]) if row else 0

    def _page(self, level: Level, options: Options, values: Values) -> Page:
        """At most a page of rows, cut earlier when they are large: the nextLink goes on from there."""
        limit = page_rows(options, self.request.version)
        if limit == 0:
            return Page([], more=False)
        values = {**values, LIMIT: limit + 1, OFFSET: options.skip}
        nulls: tuple[bool, ...] = ()
        if options.cursor is not None:
            last = self.signer.values(_about(level.entity, options), options.cursor, len(level.keys))
            nulls = tuple(value is None for value in last)
            values |= {parameter(n): value for n, value in enumerate(last)}
        rows: list[Row] = []
        chars, wide = 0, level.wide
        for row in self.session.each(level.statement(nulls), values):
            if len(rows) == limit or chars > limits.ANSWER_PAGE_BYTES_MAX:
                self.request.spend(len(rows), chars)
                return Page(rows, more=True)
            rows.append(row)
            for index in wide:
                value = row[index]
                if type(value) is str:
                    chars += len(value)
        self.request.spend(len(rows), chars)
        return Page(rows, more=False)

    def _next_link(self, level: Level, options: Options, page: Page, address: str) -> str:
        last = [page.rows[-1][index] for index in level.key_indexes]
        if sum(len(value) for value in last if isinstance(value, str)) > _TOKEN_VALUES_CHARS_MAX:
            # Sort values too long for an address: this page goes on by number.
            place = f"$skip={options.skip + len(page.rows)}"
        else:
            place = f"{CURSOR}={self.signer.token(_about(level.entity, options), last)}"
        return f"{address}?{_query_text(options.raw)}{place}"

    # --- $expand ----------------------------------------------------------------------------------------------------
    def _texts(self, level: Level, options: Options, rows: list[Row]) -> list[str]:
        """The JSON of each row with everything expanded below it."""
        columns = [
            self._child_texts(level, child, one.options, rows)
            for child, one in zip(level.children, options.expand, strict=True)
        ]
        return level.template.texts(rows, self.request.base, columns)

    def _child_texts(self, level: Level, child: Child, options: Options, rows: list[Row]) -> list[str]:
        """For each row the text `"Link":...` of one expanded link."""
        name = child.link.name
        match child.way:
            case "column":
                found = self._by_ids(child, options, {row[child.index] for row in rows} - {None})
                return [f'"{name}":{found.get(row[child.index], "null")}' for row in rows]
            case "pair":
                assert child.pairs is not None
                pairs: dict[int, int] = dict(self.session.rows(child.pairs, {IDS: json.dumps([r[0] for r in rows])}))
                found = self._by_ids(child, options, set(pairs.values()))
                return [f'"{name}":{found.get(pairs.get(row[0], 0), "null")}' for row in rows]
            case "latest":
                return self._latest(level, child, options, rows)
            case "many":
                return [self._below(level, child, options, row[0]) for row in rows]

    def _by_ids(self, child: Child, options: Options, ids: set[int]) -> dict[int, str]:
        if not ids:
            return {}
        values = {**self.request.values, IDS: json.dumps(sorted(ids))}
        rows = self.session.rows(child.level.statement(), values)
        self._spend(child.level, rows)
        return dict(zip([row[0] for row in rows], self._texts(child.level, options, rows), strict=True))

    def _spend(self, level: Level, rows: list[Row]) -> None:
        wide = level.wide
        self.request.spend(len(rows), sum([len(row[i]) for row in rows for i in wide if type(row[i]) is str]))

    def _below(self, level: Level, child: Child, options: Options, parent: int) -> str:
        values = {**self.request.values, PARENT: parent}
        count = self._count(child.level, values)
        page = self._page(child.level, options, values)
        texts = self._texts(child.level, options, page.rows)
        more = self._next_link(child.level, options, page, self._address(level, child, parent)) if page.more else None
        return self._collection(child.link, texts, count, more)

    def _latest(self, level: Level, child: Child, options: Options, rows: list[Row]) -> list[str]:
        assert child.counts is not None
        ids = {IDS: json.dumps([row[0] for row in rows])}
        counts: dict[int, int] = dict(self.session.rows(child.counts, ids))
        newest = self.session.rows(child.level.statement(), {**self.request.values, **ids})
        self._spend(child.level, newest)
        texts = dict(zip([row[1] for row in newest], self._texts(child.level, options, newest), strict=True))
        by_owner = {row[1]: row for row in newest}
        answers = []
        for row in rows:
            text, n = texts.get(row[0]), counts.get(row[0], 0)
            more = None
            if n > 1 and row[0] in by_owner:
                page = Page([by_owner[row[0]]], more=True)
                more = self._next_link(child.level, options, page, self._address(level, child, row[0]))
            answers.append(self._collection(child.link, [text] if text else [], n if options.count else None, more))
        return answers

    def _address(self, level: Level, child: Child, parent: int) -> str:
        return f"{self.request.base}/{level.entity.set_name}({parent})/{child.link.name}"

    def _collection(self, link: Link, texts: list[str], count: int | None, more: str | None) -> str:
        version = self.request.version
        head = "" if count is None else f'"{link.name}{version.count}":{count},'
        if more is not None:
            head += f'"{link.name}{version.next_link}":{json.dumps(more)},'
        return f'{head}"{link.name}":[{",".join(texts)}]'


_SAFE = "/(),;:=$'*@!~"


@lru_cache(maxsize=256)
def _query_text(raw: tuple[tuple[str, str], ...]) -> str:
    """The options of a query but its place, with an '&' at the end."""
    return "".join([f"{name}={quote(text, _SAFE)}&" for name, text in raw if name not in (CURSOR, "$skip")])


def page_rows(options: Options, version: ApiVersion) -> int:
    return version.page_rows if options.top is None else min(options.top, limits.PAGE_ROWS_MAX)


def is_short(path: ResourcePath, options: Options, version: ApiVersion) -> bool:
    """Whether a read may run on the event loop: bounded by a page, found by an index."""
    if options.skip or (options.count and path.last.link is not None):
        return False
    if not _indexed(path, options):
        return False
    rows = 1 if path.single else page_rows(options, version)
    return rows * _weight(options, version) <= limits.READ_ROWS_ON_LOOP_MAX


def _indexed(path: ResourcePath, options: Options) -> bool:
    """No `$filter` and `$orderby`, or those that the index (Datastream, phenomenonTime) serves."""
    if options.filter is None and not options.orderby:
        return True
    if path.last.link is None or path.entity.name != "Observation" or path.steps[-2].entity.name != "Datastream":
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


def _about(entity: EntityType, options: Options) -> str:
    """What a nextLink's token belongs to: its values are those of this order on this set."""
    return f"{entity.set_name}\0{options.order_text}"


def _etag(level: Level, row: Row) -> str:
    names = etag_columns(level.entity)
    columns: Values = dict(zip(names, (row[index] for index in level.etag_indexes), strict=True))
    if columns.get("extra") is not None:
        columns["extra"] = json.loads(columns["extra"])
    return etag(level.entity.name, columns)


def with_digest(tag: str, body: str) -> str:
    """The ETag of an answer: the store's tag, and a digest, because links, expanded entities and the extent of a
    Datastream's Observations change without its version."""
    return f'{tag[:-1]}-{hashlib.blake2b(body.encode(), digest_size=6).hexdigest()}"'


__all__ = ["NOW", "VERSIONS", "PlanCache", "Reading", "Request", "is_short", "page_rows", "with_digest"]
