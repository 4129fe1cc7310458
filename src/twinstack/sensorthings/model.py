"""The entity types of SensorThings as data: properties, links and how both lie in the tables.

Reading, writing, `$filter`, `$expand` and the service root all walk these tables; nothing else names a column of an
entity. OGC 15-078r6 and 18-088, clause 8 (entities) and 9.2 (set names, navigation links).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Version = Literal["1.0", "1.1"]


class PropertyType(StrEnum):
    TEXT = "text"
    JSON = "json"
    """Any JSON value, kept as sent."""
    INSTANT = "instant"
    """One bigint column of microseconds since 1970 UTC."""
    INTERVAL = "interval"
    """`column` is the start; `end_column` is null for an instant."""
    RESULT = "result"
    """Columns `result`, `kind` and, for JSON and huge integers, `extra.result` (see `store.values`)."""
    EXTRA = "extra"
    """A member of an Observation's JSON column `extra`."""
    EXTRA_INTERVAL = "extra_interval"
    """A member of `extra`: `[start_us, end_us or null]`."""


@dataclass(frozen=True, slots=True)
class Property:
    """One property of an entity. `mandatory`: a POST without it is refused; `since` is the version that has it."""

    name: str
    column: str
    type: PropertyType = PropertyType.TEXT
    mandatory: bool = False
    since: Version = "1.0"
    end_column: str | None = None
    table: str | None = None
    """Where the column is, when not in the entity's own table (joined by `datastream_id`)."""
    computed: bool = False
    """Made by the server: what a client sends is ignored."""


@dataclass(frozen=True, slots=True)
class ByColumn:
    """`own.column = target.id`."""

    column: str


@dataclass(frozen=True, slots=True)
class ByTarget:
    """`target.column = own.id`."""

    column: str


@dataclass(frozen=True, slots=True)
class ByTable:
    """A row of `table` pairs both: `table.own = own.id AND table.target = target.id`."""

    table: str
    own: str
    target: str


Join = ByColumn | ByTarget | ByTable


@dataclass(frozen=True, slots=True)
class Link:
    """A navigation link. `name` is its JSON name, `target` the name of the entity type it leads to."""

    name: str
    target: str
    many: bool
    join: Join
    mandatory: bool = False


@dataclass(frozen=True, slots=True)
class EntityType:
    name: str
    set_name: str
    table: str
    properties: tuple[Property, ...]
    links: tuple[Link, ...]
    where: tuple[tuple[str, int], ...] = ()
    """Fixed column values that tell the types of one table apart (Datastream, MultiDatastream)."""

    def property(self, name: str) -> Property | None:
        return _PROPERTIES[self.name].get(name)

    def link(self, name: str) -> Link | None:
        return _LINKS[self.name].get(name)

    def properties_of(self, version: Version) -> tuple[Property, ...]:
        return tuple(p for p in self.properties if p.since <= version)


_T = PropertyType


def _text(name: str, column: str | None = None, *, mandatory: bool = True) -> Property:
    return Property(name, column or name, mandatory=mandatory)


_NAME = _text("name")
_DESCRIPTION = _text("description")
_ENCODING = _text("encodingType", "encoding_type")
_PROPERTIES_11 = Property("properties", "properties", _T.JSON, since="1.1")

DATASTREAM_KIND, MULTI_DATASTREAM_KIND = 0, 1

THING = EntityType(
    "Thing",
    "Things",
    "thing",
    (_NAME, _DESCRIPTION, Property("properties", "properties", _T.JSON)),
    (
        Link("Locations", "Location", True, ByTable("thing_location", "thing_id", "location_id")),
        Link("HistoricalLocations", "HistoricalLocation", True, ByTarget("thing_id")),
        Link("Datastreams", "Datastream", True, ByTarget("thing_id")),
    ),
)
LOCATION = EntityType(
    "Location",
    "Locations",
    "location",
    (_NAME, _DESCRIPTION, _ENCODING, Property("location", "location", _T.JSON, mandatory=True), _PROPERTIES_11),
    (
        Link("Things", "Thing", True, ByTable("thing_location", "location_id", "thing_id")),
        Link(
            "HistoricalLocations",
            "HistoricalLocation",
            True,
            ByTable("historical_location_location", "location_id", "historical_location_id"),
        ),
    ),
)
HISTORICAL_LOCATION = EntityType(
    "HistoricalLocation",
    "HistoricalLocations",
    "historical_location",
    (Property("time", "time", _T.INSTANT, mandatory=True),),
    (
        Link("Thing", "Thing", False, ByColumn("thing_id"), mandatory=True),
        Link(
            "Locations",
            "Location",
            True,
            ByTable("historical_location_location", "historical_location_id", "location_id"),
        ),
    ),
)
DATASTREAM = EntityType(
    "Datastream",
    "Datastreams",
    "datastream",
    (
        _NAME,
        _DESCRIPTION,
        _text("observationType", "observation_type"),
        Property("unitOfMeasurement", "unit", _T.JSON, mandatory=True),
        # The bounding box of the features in datastream_stat wins over the client's value in the column.
        Property("observedArea", "observed_area", _T.JSON),
        Property("phenomenonTime", "t_min", _T.INTERVAL, end_column="t_max", table="datastream_stat", computed=True),
        Property("resultTime", "r_min", _T.INTERVAL, end_column="r_max", table="datastream_stat", computed=True),
        _PROPERTIES_11,
    ),
    (
        Link("Thing", "Thing", False, ByColumn("thing_id"), mandatory=True),
        Link("Sensor", "Sensor", False, ByColumn("sensor_id"), mandatory=True),
        Link(
            "ObservedProperty",
            "ObservedProperty",
            False,
            ByTable("datastream_property", "datastream_id", "observed_property_id"),
            mandatory=True,
        ),
        Link("Observations", "Observation", True, ByTarget("datastream_id")),
    ),
    (("kind", DATASTREAM_KIND),),
)
SENSOR = EntityType(
    "Sensor",
    "Sensors",
    "sensor",
    (_NAME, _DESCRIPTION, _ENCODING, Property("metadata", "metadata", _T.JSON, mandatory=True), _PROPERTIES_11),
    (Link("Datastreams", "Datastream", True, ByTarget("sensor_id")),),
)
OBSERVED_PROPERTY = EntityType(
    "ObservedProperty",
    "ObservedProperties",
    "observed_property",
    (_NAME, _text("definition"), _DESCRIPTION, _PROPERTIES_11),
    (
        Link(
            "Datastreams",
            "Datastream",
            True,
            ByTable("datastream_property", "observed_property_id", "datastream_id"),
        ),
    ),
)
OBSERVATION = EntityType(
    "Observation",
    "Observations",
    "observation",
    (
        # Not mandatory in a POST: the server takes the time of arrival (OGC 18-088, 8.2.7).
        Property("phenomenonTime", "t", _T.INTERVAL, end_column="t_end"),
        Property("result", "result", _T.RESULT, mandatory=True),
        Property("resultTime", "result_time", _T.INSTANT),
        Property("resultQuality", "resultQuality", _T.EXTRA),
        Property("validTime", "validTime", _T.EXTRA_INTERVAL),
        Property("parameters", "parameters", _T.EXTRA),
    ),
    (
        Link("Datastream", "Datastream", False, ByColumn("datastream_id"), mandatory=True),
        Link("FeatureOfInterest", "FeatureOfInterest", False, ByColumn("feature_id")),
    ),
)
FEATURE = EntityType(
    "FeatureOfInterest",
    "FeaturesOfInterest",
    "feature",
    (_NAME, _DESCRIPTION, _ENCODING, Property("feature", "feature", _T.JSON, mandatory=True), _PROPERTIES_11),
    (Link("Observations", "Observation", True, ByTarget("feature_id")),),
)

ENTITY_TYPES: tuple[EntityType, ...] = (
    THING,
    LOCATION,
    HISTORICAL_LOCATION,
    DATASTREAM,
    SENSOR,
    OBSERVED_PROPERTY,
    OBSERVATION,
    FEATURE,
)
BY_NAME: dict[str, EntityType] = {t.name: t for t in ENTITY_TYPES}
BY_SET: dict[str, EntityType] = {t.set_name: t for t in ENTITY_TYPES}
BY_TABLE: dict[str, EntityType] = {t.table: t for t in ENTITY_TYPES}
_PROPERTIES = {t.name: {p.name: p for p in t.properties} for t in ENTITY_TYPES}
_LINKS = {t.name: {link.name: link for link in t.links} for t in ENTITY_TYPES}

GEOJSON_ENCODINGS = frozenset({"application/geo+json", "application/vnd.geo+json"})
