"""From a request's JSON to a checked draft: property values by column and links by name. No I/O.

OGC 18-088: 8.2 (properties and their types), 10.2 (create, deep insert), 10.3 (update). Unknown top-level keys are
refused on 1.1 and ignored on 1.0; annotations (`@iot.id`, `X@iot.navigationLink`) are ignored on both, so that an
entity can be sent back as it was received.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twinstack.core import limits, timestamps
from twinstack.core.errors import InvalidInput, InvalidRecord, InvalidResult, InvalidTimestamp
from twinstack.core.observations import check_finite, check_json
from twinstack.sensorthings import geojson
from twinstack.sensorthings.model import BY_NAME as TYPES
from twinstack.sensorthings.model import GEOJSON_ENCODINGS, EntityType, Link, Property, PropertyType, Version

ID_MAX = 2**63 - 1
BODY_DEPTH_MAX = limits.EXPAND_DEPTH_MAX


_OBJECTS = frozenset({"properties", "unitOfMeasurement"})
"""Properties that are a JSON object (OGC 18-088, 8.2); other JSON properties hold any value."""
_LISTS: dict[str, tuple[type, str]] = {
    "unitOfMeasurements": (Mapping, "objects"),
    "multiObservationDataTypes": (str, "texts"),
}
"""Properties that are an array with a member for each ObservedProperty (OGC 18-088, 14.1)."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A link to an entity that exists."""

    id: int


@dataclass(slots=True)
class Draft:
    """A checked entity that is not stored yet. `values` by property name: text, JSON, microseconds, `(start, end)`;
    `given` are the property names that stood in the body (None included)."""

    entity: EntityType
    values: dict[str, Any]
    links: dict[str, list[Ref | Draft]] = field(default_factory=dict)
    replace: bool = False
    """A PUT: what it names replaces what was there."""


def parse_create(entity: EntityType, body: Any, version: Version, depth: int = 1) -> Draft:
    """A whole new entity with everything nested in it. Errors: InvalidInput that names the property."""
    draft = _parse(entity, body, version, depth, inline=True)
    for p in entity.properties:
        if p.default is not None and draft.values.get(p.name) is None:
            draft.values[p.name] = p.default
        if p.mandatory and not p.computed and (p.name not in draft.values or _missing(p, draft.values[p.name])):
            raise InvalidInput(
                f"The {entity.name} has no '{p.name}'.", fix=f"Send '{p.name}', it is mandatory.", property=p.name
            )
    return draft


def parse_update(entity: EntityType, body: Any, version: Version, *, replace: bool) -> Draft:
    """PATCH (`replace` False): only what is named. PUT: omitted optional properties become None, an omitted mandatory
    one is an error. Inline new entities are refused. Errors: InvalidInput."""
    draft = _parse(entity, body, version, 1, inline=False)
    draft.replace = replace
    for p in entity.properties:
        if p.computed:
            continue
        omitted = p.name not in draft.values
        if p.given and not omitted and draft.values[p.name] is None:
            raise InvalidInput(
                f"'{p.name}' of a {entity.name} cannot be null.", fix="Send a value, or leave it out.", property=p.name
            )
        if p.default is not None and (replace or not omitted):
            draft.values[p.name] = p.default
            continue
        if replace and omitted and p.since <= version and not p.mandatory and not p.given:
            draft.values[p.name] = None
        if p.mandatory and (replace if omitted else _missing(p, draft.values[p.name])):
            raise InvalidInput(
                f"The {entity.name} needs its '{p.name}'.", fix=f"Send '{p.name}', it is mandatory.", property=p.name
            )
    return draft


def _missing(p: Property, value: Any) -> bool:
    return value is None and p.type is not PropertyType.RESULT


def _parse(entity: EntityType, body: Any, version: Version, depth: int, *, inline: bool) -> Draft:
    if not isinstance(body, Mapping):
        raise InvalidInput(f"A {entity.name} is a JSON object.", fix="Send { ... }.")
    if depth > BODY_DEPTH_MAX:
        raise InvalidInput(f"The entities are nested deeper than {BODY_DEPTH_MAX}.", fix="Create them one by one.")
    draft = Draft(entity, {})
    for key, value in body.items():
        if "@iot." in key or key in ("id", "@context"):
            continue
        if (p := entity.property(key)) is not None and p.since <= version:
            if not p.computed:
                draft.values[key] = _value(entity, p, value)
        elif (link := _link(entity, key, version)) is not None:
            draft.links[link.name] = _targets(entity, link, value, version, depth, inline=inline)
        elif version != "1.0":
            raise InvalidInput(
                f"A {entity.name} has no property '{key[:80]}'.",
                fix=f"Known are {entity.names_of(version)}.",
                property=key[:80],
            )
    check_geometry(entity, draft.values)
    return draft


def _link(entity: EntityType, key: str, version: Version) -> Link | None:
    """On 1.0 old clients write links in the singular or plural, in any case."""
    if (link := entity.link(key, version)) is not None or version != "1.0":
        return link
    wanted = key.lower()
    for link in entity.links_of(version):
        target = TYPES[link.target]
        if wanted in (target.name.lower(), target.set_name.lower()):
            return link
    return None


def _targets(
    entity: EntityType, link: Link, value: Any, version: Version, depth: int, *, inline: bool
) -> list[Ref | Draft]:
    if value is None and not link.many and not link.mandatory:
        return []
    items = value if isinstance(value, list) and link.many else [value]
    if isinstance(value, list) != link.many and not (link.many and isinstance(value, Mapping) and version == "1.0"):
        shape = "an array" if link.many else "one object"
        raise InvalidInput(f"'{link.name}' of a {entity.name} is {shape}.", fix=f"Send {shape}.", property=link.name)
    targets: list[Ref | Draft] = []
    for item in items:
        if not isinstance(item, Mapping):
            raise InvalidInput(
                f"'{link.name}' holds no entity.", fix='Send {"@iot.id": 1} or an entity.', property=link.name
            )
        if "@iot.id" in item or list(item) == ["id"]:
            targets.append(Ref(parse_id(item["@iot.id"] if "@iot.id" in item else item["id"])))
        elif inline:
            targets.append(parse_create(TYPES[link.target], item, version, depth + 1))
        else:
            raise InvalidInput(
                f"'{link.name}' of an update holds a new entity.",
                fix='Create it first, then link it by {"@iot.id": ...}.',
                property=link.name,
            )
    return targets


def parse_id(value: Any) -> int:
    """An `@iot.id`: a positive integer, as number or text. Errors: InvalidInput."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= ID_MAX:
        raise InvalidInput(f"{str(value)[:40]!r} is no id.", fix="Ids are integers from 1.", property="@iot.id")
    return value


def _value(entity: EntityType, p: Property, value: Any) -> Any:
    try:
        match p.type:
            case PropertyType.TEXT:
                return _text(entity, p, value)
            case PropertyType.INSTANT:
                return None if value is None else _instant(value)
            case PropertyType.INTERVAL | PropertyType.EXTRA_INTERVAL:
                return None if value is None else _interval(value)
            case _:
                if p.name in _OBJECTS and value is not None and not isinstance(value, Mapping):
                    raise InvalidInput(
                        f"'{p.name}' of a {entity.name} is an object.", fix="Send { ... }.", property=p.name
                    )
                if p.name in _LISTS and value is not None:
                    _list(entity, p, value)
                check_value(value)
                return value
    except InvalidTimestamp as error:
        raise InvalidTimestamp(f"'{p.name}': {error.message}", fix=error.fix, property=p.name) from None
    except (InvalidRecord, InvalidResult) as error:
        raise InvalidInput(f"'{p.name}': {error.message}", fix=error.fix, property=p.name) from None


def _text(entity: EntityType, p: Property, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInput(f"'{p.name}' of a {entity.name} is a text.", fix="Send a JSON string.", property=p.name)
    if p.name == "name" and len(value) > limits.ENTITY_NAME_CHARS_MAX:
        raise InvalidInput(
            f"The name has {len(value)} characters, at most {limits.ENTITY_NAME_CHARS_MAX} fit.",
            fix="Put the rest into 'description'.",
            property=p.name,
        )
    accepted = p.values or ({p.default} if p.default else None)
    if accepted and value not in accepted:
        raise InvalidInput(
            f"'{p.name}' of a {entity.name} cannot be '{value[:80]}'.",
            fix=f"Send {' or '.join(sorted(accepted))}.",
            property=p.name,
        )
    check_value(value)
    return value


def _list(entity: EntityType, p: Property, value: Any) -> None:
    member, words = _LISTS[p.name]
    if not isinstance(value, list) or not value or not all(isinstance(one, member) for one in value):
        raise InvalidInput(
            f"'{p.name}' of a {entity.name} is an array of {words}.", fix="Send [ ... ].", property=p.name
        )


def check_value(value: Any) -> None:
    """Any JSON value that every database and reader holds. Errors: InvalidInput, InvalidRecord, InvalidResult."""
    check_json(value)
    check_finite(value)
    check_nul(value)


def check_nul(value: Any) -> None:
    """PostgreSQL cannot store the character NUL, so no store takes it. Errors: InvalidInput."""
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidInput("A text holds the character NUL.", fix="Remove \\u0000.")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_nul(key)
            check_nul(item)
    elif isinstance(value, list):
        for item in value:
            check_nul(item)


def _instant(value: Any) -> int:
    if not isinstance(value, str):
        raise InvalidTimestamp(f"{str(value)[:80]!r} is no time.", fix="Use ISO 8601, such as 2026-11-24T12:00:00Z.")
    us = timestamps.parse_us(value)
    timestamps.format_us(us)  # a time that cannot be written back is refused now
    return us


def _interval(value: Any) -> tuple[int, int | None]:
    if not isinstance(value, str):
        raise InvalidTimestamp(
            f"{str(value)[:80]!r} is no time.", fix="Use ISO 8601: an instant, or an interval start/end."
        )
    start, end = timestamps.parse_interval_us(value)
    timestamps.format_interval_us(start, end)
    return start, end


def check_geometry(entity: EntityType, values: Mapping[str, Any]) -> None:
    """GeoJSON encodings promise GeoJSON; any other encodingType holds any JSON. Errors: InvalidInput."""
    key = {"Location": "location", "FeatureOfInterest": "feature"}.get(entity.name)
    if key and values.get("encodingType") in GEOJSON_ENCODINGS and values.get(key) is not None:
        geojson.check(values[key], key)


def property_value(entity: EntityType, p: Property, value: Any) -> Any:
    """One property's JSON value as a draft holds it. Errors: InvalidInput that names the property."""
    return _value(entity, p, value)
