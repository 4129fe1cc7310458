"""The entity types of SensorThings as data: properties, links and how both lie in the tables.

Reading, writing, `$filter`, `$expand` and the service root all walk these tables; nothing else names a column of an
entity. OGC 15-078r6 and 18-088, clause 8 (entities) and 9.2 (set names, navigation links).
"""

from __future__ import annotations

from twinstack.sensorthings import staplus
from twinstack.sensorthings.entitytypes import (
    ByColumn,
    ByTable,
    ByTarget,
    EntityType,
    Join,
    Link,
    Property,
    PropertyType,
    Version,
    text,
)

__all__ = [
    "BY_NAME",
    "BY_TABLE",
    "ByColumn",
    "ByTable",
    "ByTarget",
    "EntityType",
    "Join",
    "Link",
    "Property",
    "PropertyType",
    "Version",
    "inverse",
    "sets_of",
]

_T = PropertyType


_NAME = text("name")
_DESCRIPTION = text("description")
_ENCODING = text("encodingType", "encoding_type")
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
        Link("MultiDatastreams", "MultiDatastream", True, ByTarget("thing_id")),
        *staplus.THING_LINKS,
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
# The bounding box of the features in datastream_stat wins over the client's value in the column.
_OBSERVED_AREA = Property("observedArea", "observed_area", _T.JSON)
_EXTENT = (
    Property("phenomenonTime", "t_min", _T.INTERVAL, end_column="t_max", table="datastream_stat", computed=True),
    Property("resultTime", "r_min", _T.INTERVAL, end_column="r_max", table="datastream_stat", computed=True),
)
_OF_THING = Link("Thing", "Thing", False, ByColumn("thing_id"), mandatory=True)
_OF_SENSOR = Link("Sensor", "Sensor", False, ByColumn("sensor_id"), mandatory=True)
_OBSERVED = ByTable("datastream_property", "datastream_id", "observed_property_id")
_OBSERVATIONS = Link("Observations", "Observation", True, ByTarget("datastream_id"))
COMPLEX_OBSERVATION = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_ComplexObservation"

DATASTREAM = EntityType(
    "Datastream",
    "Datastreams",
    "datastream",
    (
        _NAME,
        _DESCRIPTION,
        text("observationType", "observation_type"),
        Property("unitOfMeasurement", "unit", _T.JSON, mandatory=True),
        _OBSERVED_AREA,
        *_EXTENT,
        _PROPERTIES_11,
    ),
    (
        _OF_THING,
        _OF_SENSOR,
        Link("ObservedProperty", "ObservedProperty", False, _OBSERVED, mandatory=True),
        _OBSERVATIONS,
        *staplus.DATASTREAM_LINKS,
    ),
    (("kind", DATASTREAM_KIND),),
)
MULTI_DATASTREAM = EntityType(
    "MultiDatastream",
    "MultiDatastreams",
    "datastream",
    (
        _NAME,
        _DESCRIPTION,
        Property("observationType", "observation_type", default=COMPLEX_OBSERVATION),
        Property("multiObservationDataTypes", "multi_types", _T.JSON, mandatory=True),
        Property("unitOfMeasurements", "unit", _T.JSON, mandatory=True),
        _OBSERVED_AREA,
        *_EXTENT,
        _PROPERTIES_11,
    ),
    (
        _OF_THING,
        _OF_SENSOR,
        # In the order of the results' members.
        Link("ObservedProperties", "ObservedProperty", True, _OBSERVED, mandatory=True),
        _OBSERVATIONS,
        *staplus.DATASTREAM_LINKS,
    ),
    (("kind", MULTI_DATASTREAM_KIND),),
)
SENSOR = EntityType(
    "Sensor",
    "Sensors",
    "sensor",
    (_NAME, _DESCRIPTION, _ENCODING, Property("metadata", "metadata", _T.JSON, mandatory=True), _PROPERTIES_11),
    (
        Link("Datastreams", "Datastream", True, ByTarget("sensor_id")),
        Link("MultiDatastreams", "MultiDatastream", True, ByTarget("sensor_id")),
    ),
)
_OBSERVED_BY = ByTable("datastream_property", "observed_property_id", "datastream_id")
OBSERVED_PROPERTY = EntityType(
    "ObservedProperty",
    "ObservedProperties",
    "observed_property",
    (_NAME, text("definition"), _DESCRIPTION, _PROPERTIES_11),
    (
        Link("Datastreams", "Datastream", True, _OBSERVED_BY),
        Link("MultiDatastreams", "MultiDatastream", True, _OBSERVED_BY),
    ),
)
OBSERVATION = EntityType(
    "Observation",
    "Observations",
    "observation",
    (
        # Not mandatory in a POST: the server takes the time of arrival (OGC 18-088, 8.2.7).
        Property("phenomenonTime", "t", _T.INTERVAL, end_column="t_end", given=True),
        Property("result", "result", _T.RESULT, mandatory=True),
        Property("resultTime", "result_time", _T.INSTANT),
        Property("resultQuality", "resultQuality", _T.EXTRA),
        Property("validTime", "validTime", _T.EXTRA_INTERVAL),
        Property("parameters", "parameters", _T.EXTRA),
    ),
    (
        # One of these two, never both.
        Link("Datastream", "Datastream", False, ByColumn("datastream_id")),
        Link("MultiDatastream", "MultiDatastream", False, ByColumn("datastream_id")),
        Link("FeatureOfInterest", "FeatureOfInterest", False, ByColumn("feature_id")),
        *staplus.OBSERVATION_LINKS,
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
    MULTI_DATASTREAM,
    SENSOR,
    OBSERVED_PROPERTY,
    OBSERVATION,
    FEATURE,
    *staplus.ENTITY_TYPES,
)
BY_NAME: dict[str, EntityType] = {t.name: t for t in ENTITY_TYPES}
BY_TABLE: dict[str, EntityType] = {t.table: t for t in reversed(ENTITY_TYPES)}
"""The first type of each table: Datastream for that of both kinds."""


def sets_of(version: Version) -> dict[str, EntityType]:
    return {t.set_name: t for t in ENTITY_TYPES if t.since <= version}


def inverse(link: Link, source: EntityType) -> Link:
    """The link of the target that leads back along the same columns."""
    target = BY_NAME[link.target]
    for candidate in target.links:
        if candidate.target == source.name and (link.back is None or candidate.name == link.back):
            return candidate
    raise AssertionError(f"{source.name}.{link.name} has no inverse")


GEOJSON_ENCODINGS = frozenset({"application/geo+json", "application/vnd.geo+json"})
