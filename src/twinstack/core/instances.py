"""The instance file of a client: Things, Sensors and Datastreams under local quantity names.

    {"Things":      {"car_1":  {"name": "Car1", "description": "...", "properties": {}, "Locations": [...]}},
     "Sensors":     {"gps_1":  {"name": "...", "description": "...", "encodingType": "...", "metadata": "..."}},
     "Datastreams": {"speed":  {"name": "...", "description": "...", "observationType": "OM_Measurement",
                                "unitOfMeasurement": {"name": "...", "symbol": "...", "definition": "..."},
                                "Thing": "car_1", "Sensor": "gps_1", "ObservedProperty": {...}}}}

Names become unique by the system in front of them, unless it stands there already: registration is an upsert by
name and may run twice. Both the server and the local client read files with this one function.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinstack.core import limits, names
from twinstack.core.errors import InvalidInstances, InvalidRecord
from twinstack.core.observations import OM, check_json, decode

SECTIONS = ("Things", "Sensors", "Datastreams")
OBSERVATION_TYPES = frozenset(
    {"OM_Measurement", "OM_CountObservation", "OM_TruthObservation", "OM_CategoryObservation", "OM_Observation"}
)


@dataclass(frozen=True, slots=True)
class DatastreamInstance:
    """A Datastream with its links as full names; `entity` holds its own properties only, `name` qualified."""

    entity: dict[str, Any]
    thing: str
    sensor: str
    observed_property: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.entity["name"])


@dataclass(frozen=True, slots=True)
class Instances:
    """A checked file: local quantity name -> entity, all names qualified; `locations` by the Thing's full name."""

    system: str
    things: dict[str, dict[str, Any]]
    sensors: dict[str, dict[str, Any]]
    datastreams: dict[str, DatastreamInstance]


def load_instances(source: str | Path | Mapping[str, Any], system: str) -> Instances:
    """Reads a path or the parsed document. Errors: InvalidInstances with every problem found, by its place."""
    document = source if isinstance(source, Mapping) else _read(Path(source))
    problems: list[str] = []
    unknown = sorted(set(document) - set(SECTIONS))
    if unknown:
        problems.append(f"unknown section {', '.join(map(repr, unknown))} (known: {', '.join(SECTIONS)})")
    sections = {section: _section(document, section, problems) for section in SECTIONS}
    things = {
        k: _entity(system, "Things", k, v, ("name", "description"), problems) for k, v in sections["Things"].items()
    }
    sensors = {
        k: _entity(system, "Sensors", k, v, ("name", "description", "encodingType", "metadata"), problems)
        for k, v in sections["Sensors"].items()
    }
    datastreams: dict[str, DatastreamInstance] = {}
    for local, raw in sections["Datastreams"].items():
        if (datastream := _datastream(system, local, raw, things, sensors, problems)) is not None:
            datastreams[local] = datastream
    _unique([d.name for d in datastreams.values()], "Datastreams", problems)
    _unique([str(t.get("name")) for t in things.values()], "Things", problems)
    if problems:
        raise InvalidInstances(
            f"The instance file has {len(problems)} problem{'s' if len(problems) > 1 else ''}: {'; '.join(problems)}.",
            fix="Correct the places named; demos/CarFleet/Car1/instances.json is a complete example.",
            problems=problems,
        )
    return Instances(system, things, sensors, datastreams)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidInstances(
            f"The instance file {path} cannot be read: {error.strerror}.", fix="Give the path of a JSON file."
        ) from None
    if len(raw) > limits.UPLOAD_BYTES_MAX:
        raise InvalidInstances(f"The instance file {path} has {len(raw)} bytes.", fix="Split it: 8 MiB fit.")
    try:
        return decode(raw)
    except InvalidRecord as error:
        where = _json_place(raw)
        raise InvalidInstances(
            f"The instance file {path} is not a JSON object{where}: {error.message}", fix="Correct the JSON."
        ) from None


def _json_place(raw: bytes) -> str:
    try:
        json.loads(raw)
    except json.JSONDecodeError as error:
        return f" (line {error.lineno}, column {error.colno})"
    except (UnicodeDecodeError, RecursionError, ValueError):
        pass
    return ""


def _section(document: Mapping[str, Any], section: str, problems: list[str]) -> dict[str, dict[str, Any]]:
    raw = document.get(section, {})
    if not isinstance(raw, Mapping):
        problems.append(f"{section} is no mapping from quantity names to entities")
        return {}
    for key, value in raw.items():
        if not isinstance(value, Mapping):
            problems.append(f"{section}.{key} is no object")
    return {str(k): dict(v) for k, v in raw.items() if isinstance(v, Mapping)}


def _entity(
    system: str, section: str, local: str, raw: dict[str, Any], mandatory: tuple[str, ...], problems: list[str]
) -> dict[str, Any]:
    where = f"{section}.{local}"
    for key in mandatory:
        if key not in raw:
            problems.append(f"{where} has no '{key}'")
    name = raw.get("name", local)
    if not _is_name(name):
        problems.append(f"{where}.name is no text of 1 to {limits.ENTITY_NAME_CHARS_MAX} characters")
        return raw
    try:
        check_json(raw)
    except InvalidRecord as error:
        problems.append(f"{where}: {error.message}")
    return {**raw, "name": names.qualify(system, name)}


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= limits.ENTITY_NAME_CHARS_MAX and name.isprintable()


def _datastream(
    system: str,
    local: str,
    raw: dict[str, Any],
    things: dict[str, dict[str, Any]],
    sensors: dict[str, dict[str, Any]],
    problems: list[str],
) -> DatastreamInstance | None:
    where = f"Datastreams.{local}"
    before = len(problems)
    for key in ("name", "observationType", "unitOfMeasurement", "Thing", "Sensor", "ObservedProperty"):
        if key not in raw:
            problems.append(f"{where} has no '{key}'")
    name = raw.get("name")
    if "name" in raw and not _is_name(name):
        problems.append(f"{where}.name is no text of 1 to {limits.ENTITY_NAME_CHARS_MAX} characters")
    kind = str(raw.get("observationType", "OM_Observation")).rsplit("/", 1)[-1]
    if kind not in OBSERVATION_TYPES:
        problems.append(f"{where}.observationType '{kind}' is none of {', '.join(sorted(OBSERVATION_TYPES))}")
    if not isinstance(raw.get("unitOfMeasurement", {}), Mapping):
        problems.append(f"{where}.unitOfMeasurement is no object")
    observed = raw.get("ObservedProperty", {})
    if not isinstance(observed, Mapping) or ("ObservedProperty" in raw and not _is_name(observed.get("name"))):
        problems.append(f"{where}.ObservedProperty is no object with a name")
    thing = _link(system, where, "Thing", raw, things, problems)
    sensor = _link(system, where, "Sensor", raw, sensors, problems)
    if len(problems) > before:
        return None
    own = {k: v for k, v in raw.items() if k not in ("Thing", "Sensor", "ObservedProperty")}
    own["name"] = names.datastream_name(system, thing, str(name))
    own["observationType"] = f"{OM}{kind}"
    own.setdefault("description", str(name))
    prop = {**observed, "name": names.qualify(system, observed["name"])}
    prop.setdefault("description", observed["name"])
    prop.setdefault("definition", "")
    return DatastreamInstance(own, thing, sensor, prop)


def _link(
    system: str, where: str, kind: str, raw: dict[str, Any], known: dict[str, dict[str, Any]], problems: list[str]
) -> str:
    """The full name behind a link: a local name of this file, or the full or short name of an entity of it."""
    target = raw.get(kind)
    if target is None:
        return ""
    if not isinstance(target, str):
        problems.append(f"{where}.{kind} is no local name of a {kind}")
        return ""
    if target in known:
        return str(known[target].get("name", ""))
    full = names.qualify(system, target)
    if any(entity.get("name") == full for entity in known.values()):
        return full
    problems.append(f"{where}.{kind} names '{target}', which is not among the {kind}s ({', '.join(known) or 'none'})")
    return ""


def _unique(full_names: list[str], section: str, problems: list[str]) -> None:
    for name in sorted({n for n in full_names if full_names.count(n) > 1}):
        problems.append(f"{section} holds '{name}' twice")
