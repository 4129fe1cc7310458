"""POST, PATCH, PUT and DELETE of entities: from the HTTP request to the store's calls (OGC 18-088, clause 10).

The store checks bodies and owns every transaction; here are the paths, the link that a nested path implies, the
status and the headers of the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Literal, Protocol

import sqlalchemy as sa

from twinstack.core import observations
from twinstack.core.errors import Conflict, InvalidInput, NotFound
from twinstack.sensorthings.joins import inverse
from twinstack.sensorthings.model import EntityType
from twinstack.sensorthings.options import find_link
from twinstack.sensorthings.paths import ResourcePath
from twinstack.sensorthings.store.context import Created, WriteContext
from twinstack.sensorthings.versions import ApiVersion

Mode = Literal["merge", "replace", "json-patch"]
_MODES: dict[tuple[str, bool], Mode] = {
    ("PATCH", False): "merge",
    ("PATCH", True): "json-patch",
    ("PUT", False): "replace",
}


class Store(Protocol):
    """What this door needs of `store.Store`; every call is one committed transaction."""

    @property
    def engine(self) -> sa.Engine: ...

    def create(self, entity: EntityType, body: Any, ctx: WriteContext) -> Awaitable[Created]: ...

    def update(
        self, entity: EntityType, entity_id: int, body: Any, ctx: WriteContext, mode: Mode, if_match: str | None
    ) -> Awaitable[Any]: ...

    def delete(self, entity: EntityType, entity_id: int, ctx: WriteContext, if_match: str | None) -> Awaitable[Any]: ...


def parse_body(raw: bytes) -> Any:
    """The JSON of a request's body, parsed strictly. Errors: InvalidInput."""
    return observations.decode(raw)


def parse_patch(raw: bytes) -> Any:
    """The operations of a JSON Patch (RFC 6902). Errors: InvalidInput."""
    operations = observations.decode_json(raw)
    if not isinstance(operations, list):
        raise InvalidInput("A JSON Patch is an array of operations.", fix='Send [{"op": "replace", ...}].')
    return operations


def update_mode(method: str, content_type: bytes) -> Mode:
    """Errors: InvalidInput for a JSON Patch that is no PATCH."""
    is_patch = content_type.split(b";")[0].strip().lower() == b"application/json-patch+json"
    try:
        return _MODES[method, is_patch]
    except KeyError:
        raise InvalidInput("A JSON Patch is sent with PATCH.", fix="Use PATCH.") from None


def with_parent(path: ResourcePath, parent_id: int, body: dict[str, Any], version: ApiVersion) -> dict[str, Any]:
    """The body of a POST to `Things(1)/Datastreams` with the link to `Things(1)`; the path wins over the body."""
    link, source = path.last.link, path.steps[-2].entity
    assert link is not None
    back = inverse(link, source)
    others = {key: value for key, value in body.items() if find_link(path.entity, key, version) is not back}
    parent = {"@iot.id": parent_id}
    if not back.many:
        return {**others, back.name: parent}
    given = body.get(back.name)
    linked = given if isinstance(given, list) else []
    return {**others, back.name: [parent, *linked]}


def location_of(base: str, error: Conflict) -> str | None:
    """The URL of the entity that a refused POST names: its name exists already."""
    set_name, entity_id = error.fields.get("set"), error.fields.get("id")
    return f"{base}/{set_name}({entity_id})" if set_name and entity_id else None


def as_bad_link(error: NotFound) -> InvalidInput:
    """A body that links what does not exist is a bad body; only the path's own entity is 404."""
    return InvalidInput(error.message, fix=error.fix, **error.fields)
