"""The SensorThings API over HTTP at `/v1.0` and `/v1.1`: one bare ASGI application, no framework in front of it.

Every request is decided by the `decide` that the server gives; errors are JSON `{"code", "type", "message"}`.
OGC 15-078r6 and OGC 18-088, clauses 9 (reading) and 10 (create, update, delete).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from twinstack.core import limits, observations
from twinstack.core.errors import Conflict, InvalidInput, NotFound, Stale, TwinstackError
from twinstack.query.sql import NOW
from twinstack.sensorthings import answers, asgi, create_observations, jsonpatch, sets, writing
from twinstack.sensorthings.answers import Answer
from twinstack.sensorthings.bounds import Request, is_short
from twinstack.sensorthings.calls import Call, call_of
from twinstack.sensorthings.compression import accepted
from twinstack.sensorthings.connections import Readers, Session
from twinstack.sensorthings.formats import format_of
from twinstack.sensorthings.keyset import Signer
from twinstack.sensorthings.model import OBSERVATION, EntityType
from twinstack.sensorthings.options import NO_OPTIONS, Options, parse_query
from twinstack.sensorthings.paths import ResourcePath
from twinstack.sensorthings.plan import PlanCache
from twinstack.sensorthings.properties import property_answer, property_options, ref_options
from twinstack.sensorthings.reading import NoLink, Part, Reading, with_digest
from twinstack.sensorthings.service_root import service_root
from twinstack.sensorthings.store import Store, WriteContext
from twinstack.sensorthings.store.values import NewObservation, etag_matches

log = logging.getLogger(__name__)
T = TypeVar("T")

Decide = Callable[[Any, str, str], None]
"""`decide(actor, action, object)`: action is read, create, write or delete; object a set or an entity as in a path,
`Things` or `Things(1)`. It raises PermissionDenied, or NotFound for what the actor must not know of."""

_READ = ("GET", "HEAD")
_PATCH_ATTEMPTS = 5


class SensorThingsApp:
    """`store`: migrated, and its owner's. `base_url`: the server's address behind a proxy; None: the request's Host."""

    def __init__(self, store: Store, *, base_url: str | None, decide: Decide) -> None:
        self._store = store
        self._public_url = base_url
        self._decide = decide
        self._readers = Readers(store.engine)
        self._plans = PlanCache(self._readers.dialect)
        self._signer = Signer(store.info("header_key").encode())

    def close(self) -> None:
        """Ends the reading threads and closes their connections; the store is its owner's."""
        self._readers.close()

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] != "http":
            return
        coding = accepted(next((value for name, value in scope["headers"] if name == b"accept-encoding"), None))
        try:
            answer = await self._answer(lambda: call_of(scope, receive, self._public_url))
            await answers.send_answer(send, answer, head=scope["method"] == "HEAD", coding=coding)
        except asgi.Disconnected:
            return
        except sets.Cut as error:
            # Nothing can be said behind the first part: the connection ends before the answer does.
            log.warning("%s %s: %s", scope["method"], scope["path"], error)

    async def _answer(self, call_of: Callable[[], Call]) -> Answer:
        """The answer to one request, errors included."""
        try:
            call = call_of()
            return await self._of_call(call)
        except TwinstackError as error:
            return answers.of_error(error)
        except asgi.Disconnected:
            raise
        except Exception:
            log.exception("A request failed")
            return answers.of_problem(500, "The server failed; its log says why.")

    async def _of_call(self, call: Call) -> Answer:
        allowed = _methods(call)
        if call.method == "OPTIONS":
            return Answer(204, headers=((b"allow", ", ".join(allowed).encode()),))
        if call.method not in allowed:
            allow = ((b"allow", ", ".join(allowed).encode()),)
            return answers.of_problem(405, f"{call.method} cannot be done here. Use {', '.join(allowed)}.", allow)
        if call.resource:
            return await self._resource(call)
        if call.path.root:
            self._decide(call.actor, "read", "/")
            return answers.of_json(service_root(call.version, call.base))
        if call.method in _READ:
            try:
                return await self._read(call)
            except NoLink:
                return Answer(204)
        if call.method == "POST":
            return await self._create(call)
        return await self._change(call)

    # --- reading ----------------------------------------------------------------------------------------------------
    async def _run(self, call: Call, work: Callable[[Reading], T], *, short: bool) -> T:
        """Runs `work` in a session: short work at once, other work in a thread that ends when the client leaves."""

        def in_session(session: Session) -> T:
            request = Request(call.version, call.base, {NOW: self._store.clock()})
            return work(Reading(session, self._plans, self._signer, request))

        if short:
            return self._readers.here(in_session)
        return await self._readers.apart(in_session, partial(asgi.gone, call.receive))

    async def _read(self, call: Call) -> Answer:
        path = call.path
        self._decide(call.actor, "read", _object(path))
        options = parse_query(call.query, path.entity, call.version)
        if path.keys:
            options = property_options(path, call.version)
            text = await self._run(call, lambda reading: reading.one(path, options)[0], short=True)
            return property_answer(path, call.version, text)
        if path.tail == "$ref":
            options = ref_options(options, call.version)
        if not path.single:
            return await self._set(call, options)
        if options.result_format:
            raise InvalidInput("$resultFormat is for sets.", fix=f"Ask for {path.entity.set_name}?$filter=id eq 1.")
        short = is_short(path, options, call.version)
        text, tag = await self._run(call, lambda reading: reading.one(path, options), short=short)
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

        async def read(rows: int, after: Sequence[Any] | None) -> Part:
            return await self._run(
                call, partial(_part, call=call, options=options, rows=rows, after=after), short=short
            )

        return await sets.answer_of_set(call, options, form, self._signer, read)

    # --- resources that are no entities -----------------------------------------------------------------------------
    async def _resource(self, call: Call) -> Answer:
        return await self._create_observations(call)

    async def _create_observations(self, call: Call) -> Answer:
        self._decide(call.actor, "create", "Observations")
        body = observations.decode_json(await call.read_body(), limits.UPLOAD_BYTES_MAX)
        parsed = create_observations.parse(body, call.version.version)
        rows = [row for row in parsed if isinstance(row, NewObservation)]
        outcomes = await self._store.insert_observations(rows, self._context(call), partial=True) if rows else []
        return answers.of_json(create_observations.answer(call.base, parsed, outcomes), status=201)

    # --- writing ----------------------------------------------------------------------------------------------------
    def _context(self, call: Call) -> WriteContext:
        lab = getattr(call.actor, "kind", None) == "lab"
        return WriteContext(system=call.system, lab=lab, version=call.version.version)

    async def _create(self, call: Call) -> Answer:
        path, entity = call.path, call.path.entity
        self._decide(call.actor, "create", _object(path))
        body = observations.decode(await call.read_body())
        parent: tuple[EntityType, int] | None = None
        if path.last.link is not None:
            length = len(path.steps) - 1
            parent_id = await self._run(call, lambda reading: reading.resolve(path, length), short=True)
            parent = (path.steps[-2].entity, parent_id)
        try:
            created = await self._store.create(entity, body, self._context(call), parent, path.last.link)
        except Conflict as error:
            answer = answers.of_error(error)
            if (existing := writing.location_of(call.base, error)) is not None:
                answer.headers = (*answer.headers, (b"location", existing.encode()))
            return answer
        except NotFound as error:
            raise writing.as_bad_link(error) from error
        location = f"{call.base}/{entity.set_name}({created.id})"
        headers = ((b"location", location.encode()),)
        if entity is OBSERVATION and not call.version.echoes:
            # Not read back: the address is all that a producer of Observations needs.
            version = call.version
            text = f'{{"{version.id}":{created.id},"{version.self_link}":"{location}"}}'
            return answers.of_json(text, status=201, headers=headers)
        return await self._entity(call, entity, created.id, status=201, headers=headers)

    async def _change(self, call: Call) -> Answer:
        path, entity = call.path, call.path.entity
        delete = call.method == "DELETE"
        self._decide(call.actor, "delete" if delete else "write", _object(path))
        body = b"" if delete else await call.read_body()
        entity_id = await self._run(call, lambda reading: reading.resolve(path, len(path.steps)), short=True)
        if_match = writing.store_tags(call.headers.get(b"if-match"))
        if delete:
            await self._store.delete(entity, entity_id, self._context(call), if_match=if_match)
            return Answer(200)
        mode = writing.update_mode(call.method, call.content_type)
        try:
            if mode == "json-patch":
                await self._patch(call, entity_id, writing.parse_operations(body), if_match)
            else:
                parsed, replace = observations.decode(body), mode == "replace"
                await self._store.update(
                    entity, entity_id, parsed, self._context(call), replace=replace, if_match=if_match
                )
        except NotFound as error:
            if error.fields.get("id") == entity_id and error.message.startswith(f"There is no {entity.name} "):
                raise
            raise writing.as_bad_link(error) from error
        return await self._entity(call, entity, entity_id)

    async def _patch(self, call: Call, entity_id: int, operations: list[Any], if_match: str | None) -> None:
        """A JSON Patch: read, change, and write if nobody else wrote meanwhile."""
        entity = call.path.entity
        options = Options(select=tuple(p.name for p in entity.properties_of(call.version.version) if not p.computed))
        for attempt in range(_PATCH_ATTEMPTS):
            text, tag = await self._run(call, lambda r: r.by_id(entity, entity_id, options), short=True)
            before = json.loads(text)
            body = jsonpatch.merge_body(before, jsonpatch.apply(before, operations))
            if if_match is not None and not etag_matches(if_match, tag):
                tag = if_match  # the store refuses it with the right words
            try:
                await self._store.update(entity, entity_id, body, self._context(call), if_match=tag)
                return
            except Stale:
                if if_match is not None or attempt == _PATCH_ATTEMPTS - 1:
                    raise

    async def _entity(
        self,
        call: Call,
        entity: EntityType,
        entity_id: int,
        status: int = 200,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> Answer:
        """The whole entity after a write."""
        text, tag = await self._run(call, lambda reading: reading.by_id(entity, entity_id, NO_OPTIONS), short=True)
        tags = (b"etag", with_digest(tag, text).encode())
        return answers.of_json(text, status=status, headers=(*headers, tags))


def _part(reading: Reading, *, call: Call, options: Options, rows: int, after: Sequence[Any] | None) -> Part:
    if call.system is not None and len(call.path.steps) == 1:
        reading.as_system(call.system)
    return reading.part(call.path, options, rows=rows, after=after)


def _methods(call: Call) -> tuple[str, ...]:
    path = call.path
    if call.resource in ("$batch", "CreateObservations"):
        return ("POST", "OPTIONS")
    if path.root or path.keys or path.tail:
        return (*_READ, "OPTIONS")
    return (*_READ, "PATCH", "PUT", "DELETE", "OPTIONS") if path.single else (*_READ, "POST", "OPTIONS")


def _object(path: ResourcePath) -> str:
    """What the policy is asked about: the last entity that the path names by its id, else the set."""
    for step in reversed(path.steps):
        if step.id is not None:
            return f"{step.entity.set_name}({step.id})"
    return path.entity.set_name
