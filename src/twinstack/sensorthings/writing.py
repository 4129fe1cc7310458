"""Requests that write: their bodies, the mode of an update, and what the store's errors mean to an HTTP client.

The store checks bodies and owns every transaction (OGC 18-088, clause 10).
"""

from __future__ import annotations

import re
from typing import Any, Literal

from twinstack.core import observations
from twinstack.core.errors import Conflict, InvalidInput, NotFound

Mode = Literal["merge", "replace", "json-patch"]
_MODES: dict[tuple[str, bool], Mode] = {
    ("PATCH", False): "merge",
    ("PATCH", True): "json-patch",
    ("PUT", False): "replace",
}


def update_mode(method: str, content_type: bytes) -> Mode:
    """Errors: InvalidInput for a JSON Patch that is no PATCH."""
    is_patch = content_type.split(b";")[0].strip().lower() == b"application/json-patch+json"
    try:
        return _MODES[method, is_patch]
    except KeyError:
        raise InvalidInput("A JSON Patch is sent with PATCH.", fix="Use PATCH.") from None


def parse_operations(raw: bytes) -> list[Any]:
    """The operations of a JSON Patch (RFC 6902). Errors: InvalidInput."""
    operations = observations.decode_json(raw)
    if not isinstance(operations, list):
        raise InvalidInput("A JSON Patch is an array of operations.", fix='Send [{"op": "replace", ...}].')
    return operations


def store_tags(header: bytes | None) -> str | None:
    """The tags of an If-Match without the digest of the answer: a write depends on the stored entity alone."""
    if header is None:
        return None
    return re.sub(r'-[0-9a-f]{12}"', '"', header.decode("latin-1"))


def location_of(base: str, error: Conflict) -> str | None:
    """The URL of the entity that a refused POST names: its name exists already."""
    set_name, entity_id = error.fields.get("set"), error.fields.get("id")
    return f"{base}/{set_name}({entity_id})" if set_name and entity_id else None


def as_bad_link(error: NotFound) -> InvalidInput:
    """A body that links what does not exist is a bad body; only the path's own entity is 404."""
    return InvalidInput(error.message, fix=error.fix, **error.fields)
