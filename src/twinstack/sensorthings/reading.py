"""Runs plans: entities and pages as JSON text, `$expand` level by level, nextLinks, within fixed bounds.

Everything here is synchronous and touches the database through one `Session`; the caller decides where it runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, NotFound
from twinstack.sensorthings import joins
from twinstack.sensorthings import options as query_options
from twinstack.sensorthings.bounds import Request, Values, page_rows
from twinstack.sensorthings.connections import Row, Session
from twinstack.sensorthings.geo import look_up
from twinstack.sensorthings.keyset import Signer, parameter
from twinstack.sensorthings.model import EntityType, Link
from twinstack.sensorthings.options import CURSOR, NO_OPTIONS, Options
from twinstack.sensorthings.paths import ResourcePath, not_found
from twinstack.sensorthings.plan import (
    IDS,
    LIMIT,
    OFFSET,
    PARENT,
    Child,
    Level,
    PlanCache,
    Statement,
    compile_sql,
    etag_columns,
)
from twinstack.sensorthings.store import tables
from twinstack.sensorthings.store.types import Json
from twinstack.sensorthings.store.values import etag

_TOKEN_VALUES_CHARS_MAX = 4_096


class NoLink(NotFound):
    """A single link of an entity that is there leads to none: as a value it is null (OData 4.01, 11.2.8)."""


@dataclass(slots=True)
class Page:
    """Rows of one page; `more`: rows are left behind the last one."""

    rows: list[Row]
    more: bool


@dataclass(slots=True)
class Chunk:
    """Entities of a set as JSON texts. `count`: of all pages, if asked for; `last`: the sort values of the last row if
    rows are left behind it."""

    texts: list[str]
    count: int | None
    last: list[Any] | None


class Reading:
    """One read in one session. Errors: NotFound, InvalidInput."""

    def __init__(self, session: Session | None, plans: PlanCache, signer: Signer, request: Request) -> None:
        self._session = session
        self.plans = plans
        self.signer = signer
        self.request = request

    @property
    def session(self) -> Session:
        assert self._session is not None, "this reading has no session"
        return self._session

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
            if step.link is not None and not step.link.many:
                self.resolve(path, length - 1)
                raise NoLink(
                    f"'{step.link.name}' leads nowhere from that {path.steps[length - 2].entity.name}.",
                    fix="It has none.",
                )
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
        level = self._one(entity, options)
        row = self.session.first(level.statement(), {**self.request.values, PARENT: entity_id})
        if row is None:
            raise not_found(entity, entity_id)
        self.request.spend(1, 0)
        text = self._texts(level, options, [row])[0]
        return text, _etag(level, row)

    def by_id_within(
        self, connection: sa.Connection, entity: EntityType, entity_id: int, options: Options
    ) -> tuple[str, str]:
        """The same as a transaction sees it; nothing can be expanded."""
        level = self._one(entity, options)
        query = level.query.with_only_columns(
            *map(_json_as_text, level.query.inner_columns), maintain_column_froms=True
        )
        found = connection.execute(query, {**self.request.values, PARENT: entity_id}).first()
        if found is None:
            raise not_found(entity, entity_id)
        row = tuple(found)
        return level.template.texts([row], self.request.base)[0], _etag(level, row)

    def _one(self, entity: EntityType, options: Options) -> Level:
        return self._plan(("one", entity.name), options, lambda p, o: p.one(entity, o))

    def _plan(self, key: tuple[Hashable, ...], options: Options, make: Any) -> Level:
        shape = query_options.lift(options, self.request.values)
        version = self.request.version
        cache_key = (*key, version.segment, shape)
        level: Level = self.plans.get(cache_key, lambda: make(self.plans.planner(version), shape))
        if self._session is not None:
            look_up(self._session, level, self.request.values)
        return level

    # --- sets -------------------------------------------------------------------------------------------------------
    def chunk(self, path: ResourcePath, options: Options, *, rows: int, after: Sequence[Any] | None = None) -> Chunk:
        """Up to `rows` entities of the set at the end of a path, those behind the sort values `after`."""
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
        count = self._count(level, values) if after is None else None
        page = self._page(level, options, values, rows, after)
        last = [page.rows[-1][index] for index in level.key_indexes] if page.more else None
        return Chunk(self._texts(level, options, page.rows), count, last)

    def _count(self, level: Level, values: Values) -> int | None:
        if level.count is None:
            return None
        row = self.session.first(level.count, values)
        return int(row[0]) if row else 0

    def _page(
        self, level: Level, options: Options, values: Values, limit: int, after: Sequence[Any] | None = None
    ) -> Page:
        """At most `limit` rows, cut earlier when they are large: the nextLink goes on from there."""
        if limit == 0:
            return Page([], more=False)
        values = {**values, LIMIT: limit + 1, OFFSET: options.skip}
        nulls: tuple[bool, ...] = ()
        if after is None and options.cursor is not None:
            after = self.signer.values(_about(level.entity, options), options.cursor, len(level.keys))
        if after is not None:
            nulls = tuple(value is None for value in after)
            values |= {parameter(n): value for n, value in enumerate(after)}
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
        page = self._page(child.level, options, values, page_rows(options, self.request.version))
        texts = self._texts(child.level, options, page.rows)
        more = self._next_link(level, child, options, page.rows, parent) if page.more else None
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
                more = self._next_link(level, child, options, [by_owner[row[0]]], row[0])
            answers.append(self._collection(child.link, [text] if text else [], n if options.count else None, more))
        return answers

    def _next_link(self, level: Level, child: Child, options: Options, rows: list[Row], parent: int) -> str:
        address = f"{self.request.base}/{level.entity.set_name}({parent})/{child.link.name}"
        last = [rows[-1][index] for index in child.level.key_indexes]
        return next_link(self.signer, child.level.entity, options, last, len(rows), address)

    def _collection(self, link: Link, texts: list[str], count: int | None, more: str | None) -> str:
        version = self.request.version
        head = "" if count is None else f'"{link.name}{version.count}":{count},'
        if more is not None:
            head += f'"{link.name}{version.next_link}":{json.dumps(more)},'
        return f'{head}"{link.name}":[{",".join(texts)}]'


def _json_as_text(column: Any) -> Any:
    """Sessions read JSON as the text that the store has; a writing connection of PostgreSQL has to be told."""
    inner = column.clause if isinstance(column, sa.TypeCoerce) else column
    return sa.cast(inner, sa.Text()) if isinstance(inner.type, Json) else column


def next_link(
    signer: Signer, entity: EntityType, options: Options, last: Sequence[Any], rows: int, address: str
) -> str:
    """The URL of what follows the row with the sort values `last`, the last of `rows` that were given."""
    if sum(len(value) for value in last if isinstance(value, str)) > _TOKEN_VALUES_CHARS_MAX:
        # Sort values too long for an address: this page goes on by number.
        place = f"$skip={options.skip + rows}"
    else:
        place = f"{CURSOR}={signer.token(_about(entity, options), list(last))}"
    return f"{address}?{_query_text(options.raw)}{place}"


_SAFE = "/(),;:=$'*@!~"


@lru_cache(maxsize=256)
def _query_text(raw: tuple[tuple[str, str], ...]) -> str:
    """The options of a query but its place, with an '&' at the end."""
    return "".join([f"{name}={quote(text, _SAFE)}&" for name, text in raw if name not in (CURSOR, "$skip")])


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
