"""All tables of the store. The first migration makes exactly these (a test compares).

Instants are bigint microseconds since 1970 UTC. Ids come from `id_block`, never from the database's own counters, so
that they start at 1, are never reused, and are the same on every database.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Text, text

from twinstack.sensorthings.store.types import Json, Kind, Result

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite: INTEGER PRIMARY KEY is the rowid itself; BIGINT would make a second B-tree.
_ID = BigInteger().with_variant(Integer(), "sqlite")
_DOUBLE: sa.types.TypeEngine[float] = sa.Double()
_CHAR = Text().with_variant(Kind(), "postgresql")


def _id() -> Column[int]:
    return Column("id", _ID, primary_key=True, autoincrement=False)


def _reference(name: str, target: str, *, nullable: bool = False, index: bool = True) -> Column[int]:
    return Column(name, _ID, ForeignKey(f"{target}.id"), nullable=nullable, index=index)


def _stamps() -> tuple[Column[int], Column[int], Column[int]]:
    """version (the ETag), created_at, updated_at: of every table of mutable things of the platform."""
    return (
        Column("version", Integer, nullable=False, server_default=text("1")),
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
    )


def _owned() -> tuple[Column[int], Column[int], Column[int], Column[str]]:
    """Of every entity: its immutable system, its version, and for received copies the source's id and the grant."""
    return (
        _reference("system_id", "system"),
        Column("version", Integer, nullable=False, server_default=text("1")),
        Column("copy_of", _ID, nullable=True),
        Column("grant_id", Text, nullable=True),
    )


def _bbox() -> tuple[Column[float], Column[float], Column[float], Column[float]]:
    """West, south, east, north in degrees (CRS84); null while there is no GeoJSON."""
    return tuple(Column(f"bbox_{side}", _DOUBLE) for side in "wsen")  # type: ignore[return-value]


# --- platform -------------------------------------------------------------------------------------------------------
company = sa.Table(
    "company",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False, unique=True),
    Column("display", Text, nullable=False, server_default=text("''")),
    Column("state", Text, nullable=False),
    Column("founder", Text),
    Column("limits", Json),
    Column("settings", Json),
    *_stamps(),
)
system = sa.Table(
    "system",
    metadata,
    _id(),
    _reference("company_id", "company"),
    Column("name", Text, nullable=False, unique=True),
    Column("name_key", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("partitions", Integer, nullable=False),
    Column("retention_ms", BigInteger),
    Column("visibility", Text, nullable=False, server_default=text("'private'")),
    Column("archive_received", Boolean, nullable=False, server_default=text("true")),
    *_stamps(),
)
app = sa.Table(
    "app",
    metadata,
    Column("uid", Text, primary_key=True),
    _reference("system_id", "system"),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("wanted", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("since", BigInteger, nullable=False),
    Column("deployed", Integer),
    *_stamps(),
    sa.UniqueConstraint("system_id", "name_key"),
)
app_revision = sa.Table(
    "app_revision",
    metadata,
    Column("app_uid", Text, ForeignKey("app.uid"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=text("''")),
    Column("plan_hash", Text),
    Column("author", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
app_source = sa.Table(
    "app_source",
    metadata,
    Column("app_uid", Text, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("system_id", _ID, ForeignKey("system.id"), primary_key=True, index=True),
    Column("grant_id", Text),
    sa.ForeignKeyConstraint(["app_uid", "n"], ["app_revision.app_uid", "app_revision.n"]),
)

# --- entities -------------------------------------------------------------------------------------------------------
thing = sa.Table(
    "thing",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("properties", Json),
    *_owned(),
    _reference("party_id", "party", nullable=True),
)
sensor = sa.Table(
    "sensor",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("encoding_type", Text, nullable=False),
    Column("metadata", Json),
    Column("properties", Json),
    *_owned(),
)
observed_property = sa.Table(
    "observed_property",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("properties", Json),
    *_owned(),
)
location = sa.Table(
    "location",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("encoding_type", Text, nullable=False),
    Column("location", Json),
    Column("properties", Json),
    *_bbox(),
    *_owned(),
)
feature = sa.Table(
    "feature",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("encoding_type", Text, nullable=False),
    Column("feature", Json),
    Column("properties", Json),
    # The Location this feature was generated from: unique, so that parallel first Observations make one feature.
    Column("gen_location_id", _ID, ForeignKey("location.id"), unique=True),
    *_bbox(),
    *_owned(),
)
historical_location = sa.Table(
    "historical_location",
    metadata,
    _id(),
    Column("time", BigInteger, nullable=False),
    _reference("thing_id", "thing"),
    *_owned(),
)
thing_location = sa.Table(
    "thing_location",
    metadata,
    Column("thing_id", _ID, ForeignKey("thing.id"), primary_key=True),
    Column("location_id", _ID, ForeignKey("location.id"), primary_key=True, index=True),
)
historical_location_location = sa.Table(
    "historical_location_location",
    metadata,
    Column("historical_location_id", _ID, ForeignKey("historical_location.id"), primary_key=True),
    Column("location_id", _ID, ForeignKey("location.id"), primary_key=True, index=True),
)
datastream = sa.Table(
    "datastream",
    metadata,
    _id(),
    Column("kind", Integer, nullable=False, server_default=text("0")),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("observation_type", Text, nullable=False),
    Column("unit", Json),
    Column("multi_types", Json),
    Column("observed_area", Json),
    Column("properties", Json),
    _reference("thing_id", "thing"),
    _reference("sensor_id", "sensor"),
    Column("log_key", Text, nullable=False),
    Column("ended", Boolean, nullable=False, server_default=text("false")),
    Column("visibility", Text),
    Column("retention_ms", BigInteger),
    Column("registered_by", Text),
    *_owned(),
    _reference("party_id", "party", nullable=True),
    _reference("license_id", "license", nullable=True),
    sa.UniqueConstraint("system_id", "log_key"),
    sa.UniqueConstraint("copy_of", "system_id"),
)
datastream_property = sa.Table(
    "datastream_property",
    metadata,
    Column("datastream_id", _ID, ForeignKey("datastream.id"), primary_key=True),
    Column("rank", Integer, primary_key=True),
    Column("observed_property_id", _ID, ForeignKey("observed_property.id"), nullable=False, index=True),
)
# STAplus. No foreign keys to Observations: their table has none, and a deletion settles these links itself.
party = sa.Table(
    "party",
    metadata,
    _id(),
    Column("role", Text, nullable=False),
    Column("description", Text),
    Column("display_name", Text),
    Column("auth_id", Text),
    *_owned(),
)
license_ = sa.Table(
    "license",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("description", Text),
    Column("logo", Text),
    Column("attribution_text", Text),
    *_owned(),
)
campaign = sa.Table(
    "campaign",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("classification", Text),
    Column("terms_of_use", Text, nullable=False),
    Column("privacy_policy", Text),
    Column("creation_time", BigInteger, nullable=False),
    Column("start_time", BigInteger),
    Column("end_time", BigInteger),
    Column("url", Text),
    Column("properties", Json),
    _reference("party_id", "party", nullable=True),
    _reference("license_id", "license", nullable=True),
    *_owned(),
)
observation_group = sa.Table(
    "observation_group",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("purpose", Text),
    Column("creation_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("terms_of_use", Text),
    Column("privacy_policy", Text),
    Column("data_quality", Json),
    Column("properties", Json),
    _reference("party_id", "party", nullable=True),
    _reference("license_id", "license", nullable=True),
    *_owned(),
)
relation = sa.Table(
    "relation",
    metadata,
    _id(),
    Column("role", Text, nullable=False),
    Column("description", Text),
    Column("external_resource", Text),
    Column("properties", Json),
    Column("subject_id", BigInteger, nullable=False, index=True),
    Column("object_id", BigInteger, index=True),
    *_owned(),
)


def _pair(name: str, first: str, second: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        Column(f"{first}_id", _ID, ForeignKey(f"{first}.id"), primary_key=True),
        Column(f"{second}_id", _ID, ForeignKey(f"{second}.id"), primary_key=True, index=True),
    )


campaign_datastream = _pair("campaign_datastream", "campaign", "datastream")
campaign_observation_group = _pair("campaign_observation_group", "campaign", "observation_group")
group_relation = _pair("group_relation", "observation_group", "relation")
group_observation = sa.Table(
    "group_observation",
    metadata,
    Column("observation_group_id", _ID, ForeignKey("observation_group.id"), primary_key=True),
    Column("observation_id", BigInteger, primary_key=True, index=True),
)
entity_name = sa.Table(
    "entity_name",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("entity_id", _ID, nullable=False),
    Index("ix_entity_name_kind_entity_id", "kind", "entity_id"),
)

# --- history --------------------------------------------------------------------------------------------------------
datastream_stat = sa.Table(
    "datastream_stat",
    metadata,
    # The row is the lock of its Datastream: a delete takes it first. No foreign key, so that it can go first.
    Column("datastream_id", _ID, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False, server_default=text("0")),
    Column("t_min", BigInteger),
    Column("t_max", BigInteger),
    Column("r_min", BigInteger),
    Column("r_max", BigInteger),
    *_bbox(),
    Column("latest_id", BigInteger),
    Column("latest_t", BigInteger),
)
# As DDL, because the option `postgresql_with` would import that dialect with three drivers wherever tables are needed.
sa.event.listen(
    datastream_stat,
    "after_create",
    sa.DDL("ALTER TABLE datastream_stat SET (fillfactor = 50)").execute_if(dialect="postgresql"),  # type: ignore[no-untyped-call]
)
datastream_feature = sa.Table(
    "datastream_feature",
    metadata,
    Column("datastream_id", _ID, primary_key=True),
    Column("feature_id", _ID, primary_key=True),
    Index("ix_datastream_feature_feature_id_datastream_id", "feature_id", "datastream_id"),
)
dead_datastream = sa.Table(
    "dead_datastream",
    metadata,
    # Datastreams deleted with more Observations than one transaction takes: hidden now, their rows go in slices.
    Column("datastream_id", _ID, primary_key=True, autoincrement=False),
)
observation = sa.Table(
    "observation",
    metadata,
    _id(),
    Column("t", BigInteger, nullable=False),
    Column("result", Result().with_variant(sa.Double(), "postgresql")),
    Column("datastream_id", Integer, nullable=False),
    Column("feature_id", Integer),
    Column("t_end", BigInteger),
    Column("result_time", BigInteger),
    Column("kind", _CHAR),
    Column("extra", Json),
    Index("ix_observation_datastream_id_t", "datastream_id", "t"),
    Index("ix_observation_t", "t"),
)
observation_chunk = sa.Table(
    "observation_chunk",
    metadata,
    Column("lo", BigInteger, primary_key=True, autoincrement=False),
    Column("hi", BigInteger, nullable=False),
    Column("t_min", BigInteger),
    Column("t_max", BigInteger),
    Column("closed", Boolean, nullable=False, server_default=text("false")),
)

# --- from elsewhere -------------------------------------------------------------------------------------------------
# What was imported or copied, so that repeating it adds nothing. `source` is the uuid of another store, or an address.
transfer_id = sa.Table(
    "transfer_id",
    metadata,
    Column("source", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("source_id", Text, primary_key=True),
    Column("own_id", BigInteger, nullable=False),
)
transfer_range = sa.Table(
    "transfer_range",
    metadata,
    # Observations in runs: the source's lo, lo + 1, ... lo + n - 1 are own_lo, own_lo + 1, ... here.
    Column("source", Text, primary_key=True),
    Column("lo", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    Column("own_lo", BigInteger, nullable=False),
)
transfer_position = sa.Table(
    "transfer_position",
    metadata,
    # How far a part got: bytes of a file, the last Observation of a Datastream.
    Column("source", Text, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("position", Text, nullable=False),
)

# --- the log side ---------------------------------------------------------------------------------------------------
outbox_head = sa.Table(
    "outbox_head",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    # Bytes of the payloads that wait: the bound is checked at each commit without a scan.
    Column("waiting_bytes", BigInteger, nullable=False, server_default=text("0")),
)
outbox = sa.Table(
    "outbox",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("payload", LargeBinary, nullable=False),
)
archive_offset = sa.Table(
    "archive_offset",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("topic_uuid", Text, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
)
archive_dead = sa.Table(
    "archive_dead",
    metadata,
    _id(),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("topic_uuid", Text, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("value_bytes", BigInteger, nullable=False),
    Column("headers", Json),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    *_stamps(),
    sa.UniqueConstraint("topic", "partition", "topic_uuid", "offset"),
)
store_info = sa.Table(
    "store_info",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
id_block = sa.Table(
    "id_block",
    metadata,
    # Next unused id of a table. Observations are taken in blocks, so gaps are normal; nothing is used twice.
    Column("name", Text, primary_key=True),
    Column("next_id", BigInteger, nullable=False),
)

BY_NAME: dict[str, sa.Table] = dict(metadata.tables)
