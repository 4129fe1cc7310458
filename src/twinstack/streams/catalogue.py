"""The Datastreams behind the records: which one a record belongs to, and what its metadata say.

The catalogue of a system is its topic `<system>.meta` (compacted): key = log key, value = the Datastream's full entity
with Thing, Sensor and ObservedProperty inline, a tombstone deletes. It carries the system's own Datastreams and those
that it received. A system without that topic has no catalogue: there the log keys speak for themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from twinstack.core import names, observations
from twinstack.core.errors import InvalidRecord, UnknownTopic
from twinstack.log.seam import EARLIEST, Consumer, Log, TopicPartition
from twinstack.streams.reading import read_to


@dataclass(frozen=True, slots=True)
class Datastream:
    """One Datastream as a query sees it; `name` is `<Thing>.<Datastream>`, `full_name` has the system in front.

    `ids` are the numbers by which records may name it: its own `@iot.id`, and its source's if it is a received copy.
    """

    log_key: str
    name: str
    full_name: str
    system: str
    thing: str = ""
    datastream: str = ""
    observed_property: str = ""
    unit: str | None = None
    observation_type: str = ""
    ids: tuple[int, ...] = ()
    location: tuple[float, float, float | None] | None = None
    """Longitude, latitude, altitude of the Thing's Location."""
    attributes: tuple[str, ...] = ()

    @classmethod
    def of_key(cls, log_key: str, system: str) -> Datastream:
        """What a log key alone tells, where no catalogue exists."""
        name = names.unqualify(system, log_key)
        thing, _, datastream = name.partition(".")
        return cls(log_key, name, log_key, names.system_of(log_key) or system, thing, datastream or name)

    @classmethod
    def of_entity(cls, log_key: str, entity: dict[str, Any], system: str) -> Datastream:
        """From the full entity in `<system>.meta`; fields of other types than the model's are left out."""
        owner = names.system_of(log_key) or system
        full_name = _text(entity.get("name")) or log_key
        name = names.unqualify(owner, full_name)
        thing = names.unqualify(owner, _text(_inner(entity, "Thing").get("name")))
        properties = _inner(entity, "properties")
        ids = (entity.get("@iot.id"), entity.get("copy_of"), properties.get("copy_of"))
        attributes = properties.get("attributes")
        return cls(
            log_key=log_key,
            name=name,
            full_name=full_name,
            system=owner,
            thing=thing,
            datastream=name.removeprefix(f"{thing}.") if thing else name,
            observed_property=names.unqualify(owner, _text(_inner(entity, "ObservedProperty").get("name"))),
            unit=_unit(_inner(entity, "unitOfMeasurement")),
            observation_type=_text(entity.get("observationType")),
            ids=tuple(i for i in ids if isinstance(i, int) and not isinstance(i, bool)),
            location=_location(_inner(entity, "Thing")),
            attributes=tuple(a for a in attributes if isinstance(a, str)) if isinstance(attributes, list) else (),
        )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _inner(entity: dict[str, Any], key: str) -> dict[str, Any]:
    value = entity.get(key)
    return value if isinstance(value, dict) else {}


def _unit(unit: dict[str, Any]) -> str | None:
    """The symbol, else the name: a unit is stored as written."""
    return _text(unit.get("symbol")) or _text(unit.get("name")) or None


def _location(thing: dict[str, Any]) -> tuple[float, float, float | None] | None:
    """The Point of the Thing's first Location (GeoJSON: longitude, latitude, altitude)."""
    locations = thing.get("Locations")
    first = locations[0] if isinstance(locations, list) and locations else None
    if not isinstance(first, dict):
        return None
    geometry = _inner(first, "location")
    geometry = _inner(geometry, "geometry") or geometry
    place = geometry.get("coordinates")
    if geometry.get("type") != "Point" or not isinstance(place, list) or not 2 <= len(place) <= 3:
        return None
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in place):
        return None
    return float(place[0]), float(place[1]), float(place[2]) if len(place) == 3 else None


@dataclass(slots=True)
class SystemCatalogue:
    """One system's Datastreams by log key. `exists` False: the system has no catalogue, log keys speak."""

    system: str
    exists: bool = True
    by_key: dict[str, Datastream] = field(default_factory=dict)

    def put(self, datastream: Datastream) -> None:
        self.by_key[datastream.log_key] = datastream


class Catalogue(Protocol):
    """What stream apps need of the Datastreams. One thread per object, the task's."""

    def snapshot(self, systems: Sequence[str]) -> dict[str, SystemCatalogue]:
        """What is known now of these systems, each a live object that `refresh` updates."""
        ...

    def refresh(self) -> bool:
        """Reads what is new, without waiting for more; True if anything changed."""
        ...

    def close(self) -> None: ...


class MetaCatalogue:
    """The catalogue read from the `<system>.meta` topics through the log seam.

    Errors of `snapshot`, `refresh`: those of the log (Unreachable, RetriableLogError, ...).
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._admin = log.admin()
        self._systems: dict[str, SystemCatalogue] = {}
        self._next: dict[TopicPartition, int] = {}
        self._consumer: Consumer | None = None

    def snapshot(self, systems: Sequence[str]) -> dict[str, SystemCatalogue]:
        for system in systems:
            self._systems.setdefault(system, SystemCatalogue(system, exists=False))
        self.refresh()
        return {system: self._systems[system] for system in systems}

    def refresh(self) -> bool:
        changed = self._find_topics()
        if self._consumer is None:
            return changed
        ends = self._admin.end_offsets(list(self._next))
        for batch in read_to(self._consumer, dict(self._next), ends):
            self._next[TopicPartition(batch.topic, batch.partition)] = batch.next_offset
            catalogue = self._systems[batch.topic.removesuffix(".meta")]
            for key, value in zip(batch.keys, batch.values, strict=True):
                changed |= self._apply(catalogue, key, value)
        return changed

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _find_topics(self) -> bool:
        """Topics of systems that had none: a system may be registered after its app."""
        missing = [c for c in self._systems.values() if not c.exists]
        found = False
        for catalogue in missing:
            tp = TopicPartition(f"{catalogue.system}.meta", 0)
            try:
                self._admin.describe(tp.topic)
            except UnknownTopic:
                continue
            catalogue.exists = found = True
            self._next[tp] = self._admin.beginning_offsets([tp])[tp]
        if found:
            if self._consumer is None:
                self._consumer = self._log.consumer(client_id="twinstack-catalogue", start=EARLIEST)
            self._consumer.assign(self._next)
        return found

    @staticmethod
    def _apply(catalogue: SystemCatalogue, key: bytes | None, value: bytes | None) -> bool:
        """One record of `.meta`; one that is no entity changes nothing: a reader cannot repair it."""
        try:
            log_key = (key or b"").decode()
            if not log_key:
                return False
            if value is None:
                return catalogue.by_key.pop(log_key, None) is not None
            datastream = Datastream.of_entity(log_key, observations.decode(value), catalogue.system)
        except (UnicodeDecodeError, InvalidRecord):
            return False
        if catalogue.by_key.get(log_key) == datastream:
            return False
        catalogue.put(datastream)
        return True
