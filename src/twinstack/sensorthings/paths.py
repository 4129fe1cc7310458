"""Resource paths: `/Datastreams(1)/Thing/Locations`, `/Things(1)/properties/owner/$value`, `/Things/$ref`.

OGC 18-088, 9.2. Parsing needs no database: it says which entities a path means; whether they exist is the reader's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from twinstack.core.errors import InvalidInput, NotFound, NotServed
from twinstack.sensorthings.model import BY_NAME, EntityType, Link
from twinstack.sensorthings.versions import ApiVersion

PATH_SEGMENTS_MAX = 32
ID_MAX = 2**63 - 1
_SEGMENT = re.compile(r"([^\W\d][\w.]*|@iot\.id)(?:\((.*)\))?")
_ID = re.compile(r"'?(-?\d+)'?")
_UNSERVED = frozenset({"$batch", "$metadata", "$entity", "CreateObservations"})

Tail = Literal["", "$value", "$ref"]


@dataclass(frozen=True, slots=True)
class Step:
    """One entity or set on the way. `link` leads here from the step before (None: a set of the root)."""

    entity: EntityType
    link: Link | None
    id: int | None

    @property
    def single(self) -> bool:
        return self.id is not None or (self.link is not None and not self.link.many)


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """`keys`: the property, and members of its JSON, when the path leads into an entity; `root` when it is empty."""

    steps: tuple[Step, ...]
    keys: tuple[str, ...] = ()
    tail: Tail = ""

    @property
    def root(self) -> bool:
        return not self.steps

    @property
    def last(self) -> Step:
        return self.steps[-1]

    @property
    def entity(self) -> EntityType:
        return self.last.entity

    @property
    def single(self) -> bool:
        return self.last.single

    @property
    def shape(self) -> tuple[tuple[str, str, bool], ...]:
        """What an SQL text depends on: everything but the ids."""
        return tuple((s.entity.name, s.link.name if s.link else "", s.id is not None) for s in self.steps)

    def ids(self) -> dict[str, int]:
        return {f"id{n}": step.id for n, step in enumerate(self.steps) if step.id is not None}


def decode(raw: bytes, what: str = "address") -> str:
    """Percent-decoded text. Errors: InvalidInput for bytes that are no UTF-8, and for NUL."""
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(
            f"The {what} is not UTF-8.", fix="Percent-encode the UTF-8 bytes of each character."
        ) from None
    if "\0" in text:
        raise InvalidInput(f"The {what} holds NUL, a character no text has.")
    return text


def parse_path(text: str, version: ApiVersion) -> ResourcePath:
    """The path behind `/v1.x`. Errors: NotFound for what does not exist, InvalidInput for what cannot be read."""
    segments = text.strip("/").split("/") if text.strip("/") else []
    if len(segments) > PATH_SEGMENTS_MAX:
        raise InvalidInput(f"The path has more than {PATH_SEGMENTS_MAX} segments.", fix="Begin at a nearer entity.")
    steps: list[Step] = []
    for index, segment in enumerate(segments):
        if segment in ("$value", "$ref"):
            return _with_tail(steps, (), segments, index)
        if segment in _UNSERVED:
            raise NotServed(f"'{segment}' is not served.", fix="Send single requests.")
        step = _step(steps[-1] if steps else None, segment, version)
        if step is None:
            return _with_keys(steps, segments, index, version)
        steps.append(step)
    return ResourcePath(tuple(steps))


def _step(before: Step | None, segment: str, version: ApiVersion) -> Step | None:
    """The entity or set of a segment; None when it may be a property."""
    match = _SEGMENT.fullmatch(segment)
    name, id_text = match.groups() if match else (segment, None)
    if before is None:
        entity = version.sets.get(name)
        if entity is None:
            raise NotFound(
                f"There is no set '{name[:80]}'.", fix=f"Sets: {', '.join(version.sets)}.", resource=name[:80]
            )
        return Step(entity, None, None if id_text is None else _id(entity, id_text))
    if not before.single:
        raise NotFound(
            f"'{segment[:80]}' cannot follow a whole set.", fix=f"Choose one entity: {before.entity.set_name}(1)/..."
        )
    link = before.entity.link(name, version.version)
    if link is None:
        return None
    target = BY_NAME[link.target]
    if id_text is not None and not link.many:
        raise NotFound(f"'{name}' is one entity, it takes no id.", fix=f"Leave '({id_text[:20]})' out.")
    return Step(target, link, None if id_text is None else _id(target, id_text))


def _id(entity: EntityType, text: str) -> int:
    match = _ID.fullmatch(text)
    if match is None:
        raise InvalidInput(f"'{text[:40]}' is no id.", fix=f"Ids are integers: {entity.set_name}(1).")
    number = int(match.group(1)) if len(match.group(1)) <= 20 else ID_MAX + 1
    if not 0 <= number <= ID_MAX:
        raise not_found(entity, text[:40])
    return number


def not_found(entity: EntityType, id_: int | str) -> NotFound:
    return NotFound(f"There is no {entity.set_name}({id_}).", fix="Look in the set for the ids that exist.")


def _with_keys(steps: list[Step], segments: list[str], index: int, version: ApiVersion) -> ResourcePath:
    entity, name = steps[-1].entity, segments[index]
    known = entity.property(name)
    if name not in ("id", version.id) and (known is None or known.since > version.version):
        raise NotFound(
            f"A {entity.name} has no '{name[:80]}'.",
            fix=f"It has {entity.names_of(version.version)}.",
        )
    keys = segments[index:]
    end = next((n for n, key in enumerate(keys) if key.startswith("$")), len(keys))
    return _with_tail(steps, tuple(keys[:end]), segments, index + end)


def _with_tail(steps: list[Step], keys: tuple[str, ...], segments: list[str], index: int) -> ResourcePath:
    rest = segments[index:]
    path = ResourcePath(tuple(steps), keys)
    if not rest:
        return path
    tail = rest[0]
    if len(rest) == 1 and tail == "$value" and keys:
        return ResourcePath(path.steps, keys, "$value")
    if len(rest) == 1 and tail == "$ref" and steps and not keys:
        return ResourcePath(path.steps, (), "$ref")
    where = "a property" if tail == "$value" else "an entity or a set"
    if tail in ("$value", "$ref"):
        raise InvalidInput(f"'{tail}' ends a path, behind {where}.", fix="Example: /Things(1)/name/$value.")
    raise NotFound(f"'{tail[:80]}' does not exist.", fix="Paths end with $value or $ref at most.")
