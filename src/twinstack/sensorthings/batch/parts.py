"""What a batch is made of, whichever form it came in, and references to what earlier requests of it created."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twinstack.core import limits, observations
from twinstack.core.errors import InvalidInput, RecordTooLarge, TwinstackError
from twinstack.sensorthings.model import BY_NAME, OBSERVATION, EntityType
from twinstack.sensorthings.options import find_link
from twinstack.sensorthings.store.types import dumps
from twinstack.sensorthings.versions import ApiVersion


@dataclass(slots=True)
class Part:
    """One request. `id`: its Content-ID; `error`: why it could not be read."""

    method: str = ""
    url: str = ""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    id: str | None = None
    group: str | None = None
    depends_on: tuple[str, ...] = ()
    error: TwinstackError | None = None


@dataclass(slots=True)
class ChangeSet:
    """Requests that are done as one or not at all. `error`: why the set as a whole could not be read."""

    parts: list[Part]
    group: str | None = None
    error: TwinstackError | None = None


Item = Part | ChangeSet


def check_size(items: list[Item]) -> list[Item]:
    """Errors: RecordTooLarge."""
    n = sum(len(item.parts) if isinstance(item, ChangeSet) else 1 for item in items)
    if n > limits.BATCH_PARTS_MAX:
        raise RecordTooLarge(
            f"The batch has {n} requests, at most {limits.BATCH_PARTS_MAX} fit.", fix="Send several batches."
        )
    return items


@dataclass(frozen=True, slots=True)
class Created:
    """What a request of the batch created."""

    entity: EntityType
    id: int


Known = dict[str, Created]
"""By Content-ID."""

# `$1/Datastreams`, `/v1.1/$1`, `http://host/v1.1/$1?$select=name`
_REFERENCE = re.compile(r"(?P<before>(?:[^$?]*/)?)\$(?P<id>[^/?()$]+)(?P<rest>[/?].*)?", re.DOTALL)
_OWN_NAMES = frozenset({"batch", "metadata", "entity", "ref", "value"})


def reference(url: str) -> str | None:
    """The Content-ID at the place of the first entity of a URL."""
    match = _REFERENCE.fullmatch(url)
    return None if match is None or match["id"] in _OWN_NAMES else match["id"]


def resolve_url(url: str, known: Known) -> str:
    """The URL with its reference replaced. Errors: InvalidInput."""
    match = _REFERENCE.fullmatch(url)
    if match is None or match["id"] in _OWN_NAMES:
        return url
    created = _created(match["id"], known)
    return f"{match['before']}{created.entity.set_name}({created.id}){match['rest'] or ''}"


def resolve_body(body: bytes, entity: EntityType | None, version: ApiVersion, known: Known) -> bytes:
    """The body with `{"@iot.id": "$1"}` of links replaced; `entity` None: a body of CreateObservations.

    Errors: InvalidInput, InvalidRecord.
    """
    if b'"$' not in body:
        return body
    value = observations.decode_json(body, limits.UPLOAD_BYTES_MAX)
    for item in value if entity is None and isinstance(value, list) else [value]:
        _resolve_links(item, entity or OBSERVATION, version, known)
    return dumps(value).encode()


def _resolve_links(value: Any, entity: EntityType, version: ApiVersion, known: Known) -> None:
    if not isinstance(value, Mapping):
        return
    for key, targets in value.items():
        link = find_link(entity, key, version)
        if link is None:
            continue
        for target in targets if isinstance(targets, list) else [targets]:
            given = target.get(version.id) if isinstance(target, dict) else None
            if not (isinstance(given, str) and given.startswith("$")):
                _resolve_links(target, BY_NAME[link.target], version, known)
                continue
            created = _created(given[1:], known)
            if created.entity.name != link.target:
                raise InvalidInput(
                    f"'{given[:80]}' is a {created.entity.name}, but '{key[:80]}' links another type.",
                    fix="Refer to the request that creates what is linked.",
                )
            target[version.id] = created.id


def _created(content_id: str, known: Known) -> Created:
    created = known.get(content_id)
    if created is None:
        raise InvalidInput(
            f"No earlier request of the batch with the Content-ID '{content_id[:80]}' created an entity.",
            fix="Refer to a request that stands before and was successful.",
        )
    return created
