"""GET and HEAD: entities, sets, properties and references (OGC 18-088, clause 9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from twinstack.core.errors import InvalidInput
from twinstack.query.sql import NOW
from twinstack.sensorthings import answers, asgi, sets
from twinstack.sensorthings.answers import Answer, Header
from twinstack.sensorthings.bounds import Request, is_short
from twinstack.sensorthings.calls import Call
from twinstack.sensorthings.connections import Readers, Session
from twinstack.sensorthings.formats import format_of
from twinstack.sensorthings.keyset import Signer
from twinstack.sensorthings.model import EntityType
from twinstack.sensorthings.options import NO_OPTIONS, Options, parse_query
from twinstack.sensorthings.plan import PlanCache
from twinstack.sensorthings.properties import property_answer, property_options, ref_options
from twinstack.sensorthings.reading import Chunk, Reading, with_digest
from twinstack.sensorthings.store import Store
from twinstack.sensorthings.store.values import etag_matches

T = TypeVar("T")


class Reads:
    """What the application reads; its sessions belong to it until `close`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._readers = Readers(store.engine)
        self._plans = PlanCache(self._readers.dialect)
        self._signer = Signer(store.info("header_key").encode())

    def close(self) -> None:
        self._readers.close()

    def reading(self, call: Call, session: Session | None = None) -> Reading:
        return Reading(session, self._plans, self._signer, Request(call.version, call.base, {NOW: self._store.clock()}))

    async def run(self, call: Call, work: Callable[[Reading], T], *, short: bool) -> T:
        """Runs `work` in a session: short work at once, other work in a thread that ends when the client leaves."""

        def in_session(session: Session) -> T:
            return work(self.reading(call, session))

        if short:
            return await self._readers.soon(in_session)
        return await self._readers.apart(in_session, partial(asgi.gone, call.receive))

    async def resolve(self, call: Call, length: int) -> int:
        """The id of the entity at a step of the path. Errors: NotFound."""
        return await self.run(call, lambda reading: reading.resolve(call.path, length), short=True)

    # --- answers ----------------------------------------------------------------------------------------------------
    async def answer(self, call: Call) -> Answer:
        path, version = call.path, call.version
        options = parse_query(call.query, path.entity, version)
        if path.keys:
            only = property_options(path, version)
            text = await self.run(call, lambda reading: reading.one(path, only)[0], short=True)
            return property_answer(path, version, text)
        if path.tail == "$ref":
            options = ref_options(options, version)
        if not path.single:
            return await self._set(call, options)
        if options.result_format:
            raise InvalidInput("$resultFormat is for sets.", fix=f"Ask for {path.entity.set_name}?$filter=id eq 1.")
        text, tag = await self.run(
            call, lambda reading: reading.one(path, options), short=is_short(path, options, version)
        )
        tag = with_digest(tag, text)
        headers = ((b"etag", tag.encode()),)
        if_none_match = call.headers.get(b"if-none-match")
        if if_none_match is not None and etag_matches(if_none_match.decode("latin-1"), tag):
            return Answer(304, headers=headers)
        return answers.of_json(text, headers=headers)

    async def _set(self, call: Call, options: Options) -> Answer:
        form = format_of(call.path.entity, options, call.version, call.base)
        options = form.options
        short = is_short(call.path, options, call.version) and not (form.whole and options.top is None)

        async def read(rows: int, after: Sequence[Any] | None) -> Chunk:
            return await self.run(
                call, partial(_chunk, call=call, options=options, rows=rows, after=after), short=short
            )

        return await sets.answer_of_set(call, options, form, self._signer, read)

    async def entity(
        self, call: Call, entity: EntityType, entity_id: int, status: int = 200, headers: tuple[Header, ...] = ()
    ) -> Answer:
        """The whole entity after a write."""
        text, tag = await self.text(call, entity, entity_id, NO_OPTIONS)
        tags = (b"etag", with_digest(tag, text).encode())
        return answers.of_json(text, status=status, headers=(*headers, tags))

    async def text(self, call: Call, entity: EntityType, entity_id: int, options: Options) -> tuple[str, str]:
        """An entity's JSON, and its ETag as the store knows it. Errors: NotFound."""
        return await self.run(call, lambda reading: reading.by_id(entity, entity_id, options), short=True)

    def text_within(
        self, connection: sa.Connection, call: Call, entity: EntityType, entity_id: int, options: Options
    ) -> tuple[str, str]:
        """The same as a transaction sees it."""
        return self.reading(call).by_id_within(connection, entity, entity_id, options)


def _chunk(reading: Reading, *, call: Call, options: Options, rows: int, after: Sequence[Any] | None) -> Chunk:
    if call.system is not None and len(call.path.steps) == 1:
        reading.as_system(call.system)
    return reading.chunk(call.path, options, rows=rows, after=after)
