"""POST, PATCH, PUT and DELETE of entities, and CreateObservations (OGC 18-088, clauses 10 and 13)."""

from __future__ import annotations

import json
from typing import Any

from twinstack.core import limits, observations
from twinstack.core.errors import Conflict, NotFound, Stale
from twinstack.sensorthings import answers, create_observations, jsonpatch, writing
from twinstack.sensorthings.answers import Answer
from twinstack.sensorthings.calls import Call
from twinstack.sensorthings.http_read import Reads
from twinstack.sensorthings.model import OBSERVATION, EntityType
from twinstack.sensorthings.options import Options
from twinstack.sensorthings.store import Store, WriteContext
from twinstack.sensorthings.store.values import NewObservation, etag_matches

_PATCH_ATTEMPTS = 5


def context(call: Call) -> WriteContext:
    """Who writes."""
    lab = getattr(call.actor, "kind", None) == "lab"
    return WriteContext(system=call.system, lab=lab, version=call.version.version)


def own(call: Call) -> Options:
    """What a JSON Patch applies to: the properties that a client may set."""
    properties = call.path.entity.properties_of(call.version.version)
    return Options(select=tuple(p.name for p in properties if not p.computed))


class Writes:
    def __init__(self, store: Store, reads: Reads) -> None:
        self._store = store
        self._reads = reads

    async def create(self, call: Call) -> Answer:
        path, entity = call.path, call.path.entity
        body = observations.decode(await call.read_body())
        parent: tuple[EntityType, int] | None = None
        if path.last.link is not None:
            parent = (path.steps[-2].entity, await self._reads.resolve(call, len(path.steps) - 1))
        try:
            created = await self._store.create(entity, body, context(call), parent, path.last.link)
        except Conflict as error:
            answer = answers.of_error(error)
            if (existing := writing.location_of(call.base, error)) is not None:
                answer.headers = (*answer.headers, (b"location", existing.encode()))
            return answer
        except NotFound as error:
            raise writing.as_bad_link(error) from error
        return await self.created(call, entity, created.id)

    async def created(self, call: Call, entity: EntityType, entity_id: int) -> Answer:
        """The answer to a POST."""
        location = f"{call.base}/{entity.set_name}({entity_id})"
        headers = ((b"location", location.encode()),)
        if entity is OBSERVATION and not call.version.echoes:
            # Not read back: the address is all that a producer of Observations needs.
            version = call.version
            text = f'{{"{version.id}":{entity_id},"{version.self_link}":"{location}"}}'
            return answers.of_json(text, status=201, headers=headers)
        return await self._reads.entity(call, entity, entity_id, status=201, headers=headers)

    async def create_observations(self, call: Call) -> Answer:
        body = observations.decode_json(await call.read_body(), limits.UPLOAD_BYTES_MAX)
        parsed = create_observations.parse(body, call.version.version)
        rows = [row for row in parsed if isinstance(row, NewObservation)]
        outcomes = await self._store.insert_observations(rows, context(call), partial=True) if rows else []
        return answers.of_json(create_observations.answer(call.base, parsed, outcomes), status=201)

    async def change(self, call: Call) -> Answer:
        """PATCH, PUT or DELETE."""
        path, entity = call.path, call.path.entity
        delete = call.method == "DELETE"
        body = b"" if delete else await call.read_body()
        entity_id = await self._reads.resolve(call, len(path.steps))
        if_match = writing.store_tags(call.headers.get(b"if-match"))
        if delete:
            await self._store.delete(entity, entity_id, context(call), if_match=if_match)
            return Answer(200)
        mode = writing.update_mode(call.method, call.content_type)
        try:
            if mode == "json-patch":
                await self._patch(call, entity_id, writing.parse_operations(body), if_match)
            else:
                parsed, replace = observations.decode(body), mode == "replace"
                await self._store.update(entity, entity_id, parsed, context(call), replace=replace, if_match=if_match)
        except NotFound as error:
            if error.fields.get("id") == entity_id and error.message.startswith(f"There is no {entity.name} "):
                raise
            raise writing.as_bad_link(error) from error
        return await self._reads.entity(call, entity, entity_id)

    async def _patch(self, call: Call, entity_id: int, operations: list[Any], if_match: str | None) -> None:
        """A JSON Patch: read, change, and write if nobody else wrote meanwhile."""
        entity = call.path.entity
        for attempt in range(_PATCH_ATTEMPTS):
            text, tag = await self._reads.text(call, entity, entity_id, own(call))
            before = json.loads(text)
            body = jsonpatch.merge_body(before, jsonpatch.apply(before, operations))
            if if_match is not None and not etag_matches(if_match, tag):
                tag = if_match  # the store refuses it with the right words
            try:
                await self._store.update(entity, entity_id, body, context(call), if_match=tag)
                return
            except Stale:
                if if_match is not None or attempt == _PATCH_ATTEMPTS - 1:
                    raise
