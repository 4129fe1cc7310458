"""The SensorThings API over HTTP at `/v1.0` and `/v1.1`: one bare ASGI application, no framework in front of it.

Every request is decided by the `decide` that the server gives; errors are JSON `{"code", "type", "message"}`.
OGC 15-078r6 and OGC 18-088, clauses 9 (reading) and 10 (create, update, delete).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from twinstack.core import observations
from twinstack.core.errors import Conflict, NotFound, Stale, TwinstackError
from twinstack.query.sql import NOW
from twinstack.sensorthings import answers, asgi, jsonpatch, writing
from twinstack.sensorthings.answers import Answer
from twinstack.sensorthings.bounds import Request, is_short
from twinstack.sensorthings.connections import Readers, Session
from twinstack.sensorthings.keyset import Signer
from twinstack.sensorthings.model import OBSERVATION, EntityType
from twinstack.sensorthings.options import NO_OPTIONS, Options, parse_query
from twinstack.sensorthings.paths import ResourcePath, decode, parse_path
from twinstack.sensorthings.plan import PlanCache
from twinstack.sensorthings.properties import property_answer, property_options, ref_options
from twinstack.sensorthings.reading import Reading, with_digest
from twinstack.sensorthings.service_root import service_root
from twinstack.sensorthings.store import Store, WriteContext
from twinstack.sensorthings.store.values import etag_matches
from twinstack.sensorthings.versions import VERSIONS, ApiVersion

log = logging.getLogger(__name__)
T = TypeVar("T")

Decide = Callable[[Any, str, str], None]
"""`decide(actor, action, object)`: action is read, create, write or delete; object a set or an entity as in a path,
`Things` or `Things(1)`. It raises PermissionDenied, or NotFound for what the actor must not know of."""

_PREFIX = re.compile(r"(?P<before>.*?)/(?P<version>v1\.[01])(?P<rest>/.*)?")
_READ = ("GET", "HEAD")
_SYSTEM = b"twinstack-system"
_PATCH_ATTEMPTS = 5


class _Call:
    """One request, read as far as its headers."""

    __slots__ = ("actor", "base", "headers", "method", "path", "query", "receive", "version")

    def __init__(self, scope: asgi.Scope, receive: asgi.Receive, public_url: str | None) -> None:
        raw = decode(scope.get("raw_path") or quote(scope["path"]).encode())
        match = _PREFIX.fullmatch(raw)
        if match is None:
            raise NotFound("There is no such API version.", fix="Versions: /v1.0 and /v1.1.")
        self.headers = asgi.headers_of(scope)
        self.version: ApiVersion = VERSIONS[match["version"]]
        prefix = f"{match['before']}/{self.version.segment}"
        self.base = asgi.base_address(scope, self.headers, public_url, prefix)
        self.path: ResourcePath = parse_path(match["rest"] or "", self.version)
        self.query: bytes = scope["query_string"]
        self.method: str = scope["method"]
        self.actor: Any = scope.get("twinstack.actor")
        self.receive = receive

    @property
    def system(self) -> str | None:
        name = self.headers.get(_SYSTEM)
        return None if name is None else name.decode("latin-1").strip()

    def address(self) -> str:
        """The URL of the path, without query, as ids and names of the model (nothing of it is the client's text)."""
        segments = []
        for step in self.path.steps:
            name = step.link.name if step.link else step.entity.set_name
            segments.append(name if step.id is None else f"{name}({step.id})")
        return "/".join([self.base, *segments, *([self.path.tail] if self.path.tail else [])])


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
        try:
            answer = await self._answer(scope, receive)
        except asgi.Disconnected:
            return
        except TwinstackError as error:
            answer = answers.of_error(error)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            answer = answers.of_problem(500, "The server failed; its log says why.")
        await answers.send_answer(send, answer, head=scope["method"] == "HEAD")

    async def _answer(self, scope: asgi.Scope, receive: asgi.Receive) -> Answer:
        call = _Call(scope, receive, self._public_url)
        allowed = _methods(call.path)
        if call.method == "OPTIONS":
            return Answer(204, headers=((b"allow", ", ".join(allowed).encode()),))
        if call.method not in allowed:
            allow = ((b"allow", ", ".join(allowed).encode()),)
            return answers.of_problem(405, f"{call.method} cannot be done here. Use {', '.join(allowed)}.", allow)
        if call.path.root:
            self._decide(call.actor, "read", "/")
            return answers.of_json(service_root(call.version, call.base))
        if call.method in _READ:
            return await self._read(call)
        if call.method == "POST":
            return await self._create(call)
        return await self._change(call)

    # --- reading ----------------------------------------------------------------------------------------------------
    async def _run(self, call: _Call, work: Callable[[Reading], T], *, short: bool) -> T:
        """Runs `work` in a session: short work at once, other work in a thread that ends when the client leaves."""

        def in_session(session: Session) -> T:
            request = Request(call.version, call.base, {NOW: self._store.clock()})
            return work(Reading(session, self._plans, self._signer, request))

        if short:
            return await self._readers.soon(in_session)
        return await self._readers.apart(in_session, partial(asgi.gone, call.receive) if call.method == "GET" else None)

    async def _read(self, call: _Call) -> Answer:
        path = call.path
        self._decide(call.actor, "read", _object(path))
        if path.keys:
            options = property_options(path, call.version)
            text = await self._run(call, lambda reading: reading.one(path, options)[0], short=True)
            return property_answer(path, call.version, text)
        options = parse_query(call.query, path.entity, call.version)
        if path.tail == "$ref":
            options = ref_options(options, call.version)
        short = is_short(path, options, call.version)
        if not path.single:
            return answers.of_json(await self._run(call, partial(_set, call=call, options=options), short=short))
        text, tag = await self._run(call, lambda reading: reading.one(path, options), short=short)
        tag = with_digest(tag, text)
        headers = ((b"etag", tag.encode()),)
        if_none_match = call.headers.get(b"if-none-match")
        if if_none_match is not None and etag_matches(if_none_match.decode("latin-1"), tag):
            return Answer(304, headers=headers)
        return answers.of_json(text, headers=headers)

    # --- writing ----------------------------------------------------------------------------------------------------
    def _context(self, call: _Call) -> WriteContext:
        lab = getattr(call.actor, "kind", None) == "lab"
        return WriteContext(system=call.system, lab=lab, version=call.version.version)

    async def _create(self, call: _Call) -> Answer:
        path, entity = call.path, call.path.entity
        self._decide(call.actor, "create", _object(path))
        body = observations.decode(await asgi.read_body(call.receive))
        parent: tuple[EntityType, int] | None = None
        if path.last.link is not None:
            length = len(path.steps) - 1
            parent_id = await self._run(call, lambda reading: reading.resolve(path, length), short=True)
            parent = (path.steps[-2].entity, parent_id)
        try:
            created = await self._store.create(entity, body, self._context(call), parent)
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

    async def _change(self, call: _Call) -> Answer:
        path, entity = call.path, call.path.entity
        delete = call.method == "DELETE"
        self._decide(call.actor, "delete" if delete else "write", _object(path))
        body = b"" if delete else await asgi.read_body(call.receive)
        entity_id = await self._run(call, lambda reading: reading.resolve(path, len(path.steps)), short=True)
        if_match = writing.store_tags(call.headers.get(b"if-match"))
        if delete:
            await self._store.delete(entity, entity_id, self._context(call), if_match=if_match)
            return Answer(200)
        mode = writing.update_mode(call.method, call.headers.get(b"content-type", b""))
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

    async def _patch(self, call: _Call, entity_id: int, operations: list[Any], if_match: str | None) -> None:
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
        call: _Call,
        entity: EntityType,
        entity_id: int,
        status: int = 200,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> Answer:
        """The whole entity after a write."""
        text, tag = await self._run(call, lambda reading: reading.by_id(entity, entity_id, NO_OPTIONS), short=True)
        tags = (b"etag", with_digest(tag, text).encode())
        return answers.of_json(text, status=status, headers=(*headers, tags))


def _set(reading: Reading, *, call: _Call, options: Options) -> str:
    if call.system is not None and len(call.path.steps) == 1:
        reading.as_system(call.system)
    return reading.many(call.path, options, call.address())


def _methods(path: ResourcePath) -> tuple[str, ...]:
    if path.root or path.keys or path.tail:
        return (*_READ, "OPTIONS")
    return (*_READ, "PATCH", "PUT", "DELETE", "OPTIONS") if path.single else (*_READ, "POST", "OPTIONS")


def _object(path: ResourcePath) -> str:
    """What the policy is asked about: the last entity that the path names by its id, else the set."""
    for step in reversed(path.steps):
        if step.id is not None:
            return f"{step.entity.set_name}({step.id})"
    return path.entity.set_name
