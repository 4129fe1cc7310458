"""The first tables."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from twinstack.sensorthings.store import types as store_types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


_OBSERVATION_TS = """
CREATE VIEW observation_ts AS
SELECT id, datastream_id, feature_id,
       to_timestamp(greatest(t, -62135596800000000) / 1e6) AS phenomenon_time,
       to_timestamp(greatest(t_end, -62135596800000000) / 1e6) AS phenomenon_time_end,
       to_timestamp(greatest(result_time, -62135596800000000) / 1e6) AS result_time,
       result, kind, extra
FROM observation
"""
"""For Grafana and everybody who writes SQL: the history with timestamps (from year 1 on)."""


_SQL = Path(__file__).resolve().parent.parent / "sql"


def upgrade() -> None:
    """Tables in the order of their references."""
    _archive_dead()
    _archive_offset()
    _company()
    _datastream_feature()
    _datastream_stat()
    _dead_datastream()
    _entity_name()
    _id_block()
    _observation()
    _observation_chunk()
    _outbox()
    _outbox_head()
    _store_info()
    _system()
    _app()
    _location()
    _observed_property()
    _sensor()
    _thing()
    _app_revision()
    _datastream()
    _feature()
    _historical_location()
    _thing_location()
    _app_source()
    _datastream_property()
    _historical_location_location()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_OBSERVATION_TS)
        # As the driver takes it: the text has colons and percent signs of its own.
        op.get_bind().exec_driver_sql((_SQL / "obs_write_0001.sql").read_text(encoding="utf-8"))


def _archive_dead() -> None:
    op.create_table(
        "archive_dead",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("topic_uuid", sa.Text(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("value_bytes", sa.BigInteger(), nullable=False),
        sa.Column("headers", store_types.Json(), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_archive_dead")),
        sa.UniqueConstraint(
            "topic", "partition", "topic_uuid", "offset", name=op.f("uq_archive_dead_topic_partition_topic_uuid_offset")
        ),
    )


def _archive_offset() -> None:
    op.create_table(
        "archive_offset",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("topic_uuid", sa.Text(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", name=op.f("pk_archive_offset")),
    )


def _company() -> None:
    op.create_table(
        "company",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("display", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("founder", sa.Text(), nullable=True),
        sa.Column("limits", store_types.Json(), nullable=True),
        sa.Column("settings", store_types.Json(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_company")),
        sa.UniqueConstraint("name_key", name=op.f("uq_company_name_key")),
    )


def _datastream_feature() -> None:
    op.create_table(
        "datastream_feature",
        sa.Column("datastream_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("feature_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("datastream_id", "feature_id", name=op.f("pk_datastream_feature")),
    )
    op.create_index(
        "ix_datastream_feature_feature_id_datastream_id",
        "datastream_feature",
        ["feature_id", "datastream_id"],
        unique=False,
    )


def _datastream_stat() -> None:
    op.create_table(
        "datastream_stat",
        sa.Column(
            "datastream_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("n", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("t_min", sa.BigInteger(), nullable=True),
        sa.Column("t_max", sa.BigInteger(), nullable=True),
        sa.Column("r_min", sa.BigInteger(), nullable=True),
        sa.Column("r_max", sa.BigInteger(), nullable=True),
        sa.Column("bbox_w", sa.Double(), nullable=True),
        sa.Column("bbox_s", sa.Double(), nullable=True),
        sa.Column("bbox_e", sa.Double(), nullable=True),
        sa.Column("bbox_n", sa.Double(), nullable=True),
        sa.Column("latest_id", sa.BigInteger(), nullable=True),
        sa.Column("latest_t", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("datastream_id", name=op.f("pk_datastream_stat")),
        postgresql_with={"fillfactor": 50},
    )


def _dead_datastream() -> None:
    op.create_table(
        "dead_datastream",
        sa.Column(
            "datastream_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.PrimaryKeyConstraint("datastream_id", name=op.f("pk_dead_datastream")),
    )


def _entity_name() -> None:
    op.create_table(
        "entity_name",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_entity_name")),
    )
    op.create_index("ix_entity_name_kind_entity_id", "entity_name", ["kind", "entity_id"], unique=False)


def _id_block() -> None:
    op.create_table(
        "id_block",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_id_block")),
    )


def _observation() -> None:
    op.create_table(
        "observation",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("t", sa.BigInteger(), nullable=False),
        sa.Column(
            "result", store_types.Result().with_variant(postgresql.DOUBLE_PRECISION(), "postgresql"), nullable=True
        ),
        sa.Column("datastream_id", sa.Integer(), nullable=False),
        sa.Column("feature_id", sa.Integer(), nullable=True),
        sa.Column("t_end", sa.BigInteger(), nullable=True),
        sa.Column("result_time", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text().with_variant(store_types.Kind(), "postgresql"), nullable=True),
        sa.Column("extra", store_types.Json(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observation")),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("ix_observation_datastream_id_t", "observation", ["datastream_id", "t"], unique=False)
    op.create_index("ix_observation_t", "observation", ["t"], unique=False)


def _observation_chunk() -> None:
    op.create_table(
        "observation_chunk",
        sa.Column("lo", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hi", sa.BigInteger(), nullable=False),
        sa.Column("t_min", sa.BigInteger(), nullable=True),
        sa.Column("t_max", sa.BigInteger(), nullable=True),
        sa.Column("closed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("lo", name=op.f("pk_observation_chunk")),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("shard", "seq", name=op.f("pk_outbox")),
    )


def _outbox_head() -> None:
    op.create_table(
        "outbox_head",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("waiting_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_outbox_head")),
    )


def _store_info() -> None:
    op.create_table(
        "store_info",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_store_info")),
    )


def _system() -> None:
    op.create_table(
        "system",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("company_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("partitions", sa.Integer(), nullable=False),
        sa.Column("retention_ms", sa.BigInteger(), nullable=True),
        sa.Column("visibility", sa.Text(), server_default=sa.text("'private'"), nullable=False),
        sa.Column("archive_received", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["company_id"], ["company.id"], name=op.f("fk_system_company_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_system")),
        sa.UniqueConstraint("name", name=op.f("uq_system_name")),
        sa.UniqueConstraint("name_key", name=op.f("uq_system_name_key")),
    )
    op.create_index(op.f("ix_system_company_id"), "system", ["company_id"], unique=False)


def _app() -> None:
    op.create_table(
        "app",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("system_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("deployed", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["system_id"], ["system.id"], name=op.f("fk_app_system_id")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_app")),
        sa.UniqueConstraint("system_id", "name_key", name=op.f("uq_app_system_id_name_key")),
    )
    op.create_index(op.f("ix_app_system_id"), "app", ["system_id"], unique=False)


def _location() -> None:
    op.create_table(
        "location",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("encoding_type", sa.Text(), nullable=False),
        sa.Column("location", store_types.Json(), nullable=True),
        sa.Column("properties", store_types.Json(), nullable=True),
        sa.Column("bbox_w", sa.Double(), nullable=True),
        sa.Column("bbox_s", sa.Double(), nullable=True),
        sa.Column("bbox_e", sa.Double(), nullable=True),
        sa.Column("bbox_n", sa.Double(), nullable=True),
        sa.Column("system_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("copy_of", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("grant_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["system_id"], ["system.id"], name=op.f("fk_location_system_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_location")),
    )
    op.create_index(op.f("ix_location_system_id"), "location", ["system_id"], unique=False)


def _observed_property() -> None:
    op.create_table(
        "observed_property",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("properties", store_types.Json(), nullable=True),
        sa.Column("system_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("copy_of", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("grant_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["system_id"], ["system.id"], name=op.f("fk_observed_property_system_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observed_property")),
    )
    op.create_index(op.f("ix_observed_property_system_id"), "observed_property", ["system_id"], unique=False)


def _sensor() -> None:
    op.create_table(
        "sensor",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("encoding_type", sa.Text(), nullable=False),
        sa.Column("metadata", store_types.Json(), nullable=True),
        sa.Column("properties", store_types.Json(), nullable=True),
        sa.Column("system_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("copy_of", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("grant_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["system_id"], ["system.id"], name=op.f("fk_sensor_system_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sensor")),
    )
    op.create_index(op.f("ix_sensor_system_id"), "sensor", ["system_id"], unique=False)


def _thing() -> None:
    op.create_table(
        "thing",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("properties", store_types.Json(), nullable=True),
        sa.Column("system_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("copy_of", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("grant_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["system_id"], ["system.id"], name=op.f("fk_thing_system_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_thing")),
    )
    op.create_index(op.f("ix_thing_system_id"), "thing", ["system_id"], unique=False)


def _app_revision() -> None:
    op.create_table(
        "app_revision",
        sa.Column("app_uid", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("plan_hash", sa.Text(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["app_uid"], ["app.uid"], name=op.f("fk_app_revision_app_uid")),
        sa.PrimaryKeyConstraint("app_uid", "n", name=op.f("pk_app_revision")),
    )


def _datastream() -> None:
    op.create_table(
        "datastream",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("observation_type", sa.Text(), nullable=False),
        sa.Column("unit", store_types.Json(), nullable=True),
        sa.Column("multi_types", store_types.Json(), nullable=True),
        sa.Column("observed_area", store_types.Json(), nullable=True),
        sa.Column("properties", store_types.Json(), nullable=True),
        sa.Column("thing_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sensor_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("log_key", sa.Text(), nullable=False),
        sa.Column("ended", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=True),
        sa.Column("retention_ms", sa.BigInteger(), nullable=True),
        sa.Column("registered_by", sa.Text(), nullable=True),
        sa.Column("system_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("copy_of", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("grant_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["sensor_id"], ["sensor.id"], name=op.f("fk_datastream_sensor_id")),
        sa.ForeignKeyConstraint(["system_id"], ["system.id"], name=op.f("fk_datastream_system_id")),
        sa.ForeignKeyConstraint(["thing_id"], ["thing.id"], name=op.f("fk_datastream_thing_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datastream")),
        sa.UniqueConstraint("copy_of", "system_id", name=op.f("uq_datastream_copy_of_system_id")),
        sa.UniqueConstraint("system_id", "log_key", name=op.f("uq_datastream_system_id_log_key")),
    )
    op.create_index(op.f("ix_datastream_sensor_id"), "datastream", ["sensor_id"], unique=False)
    op.create_index(op.f("ix_datastream_system_id"), "datastream", ["system_id"], unique=False)
    op.create_index(op.f("ix_datastream_thing_id"), "datastream", ["thing_id"], unique=False)


def _feature() -> None:
    op.create_table(
        "feature",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("encoding_type", sa.Text(), nullable=False),
        sa.Column("feature", store_types.Json(), nullable=True),
        sa.Column("properties", store_types.Json(), nullable=True),
        sa.Column("gen_location_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("bbox_w", sa.Double(), nullable=True),
        sa.Column("bbox_s", sa.Double(), nullable=True),
        sa.Column("bbox_e", sa.Double(), nullable=True),
        sa.Column("bbox_n", sa.Double(), nullable=True),
        sa.Column("system_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("copy_of", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("grant_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["gen_location_id"], ["location.id"], name=op.f("fk_feature_gen_location_id")),
        sa.ForeignKeyConstraint(["system_id"], ["system.id"], name=op.f("fk_feature_system_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feature")),
        sa.UniqueConstraint("gen_location_id", name=op.f("uq_feature_gen_location_id")),
    )
    op.create_index(op.f("ix_feature_system_id"), "feature", ["system_id"], unique=False)


def _historical_location() -> None:
    op.create_table(
        "historical_location",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("thing_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("system_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("copy_of", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("grant_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["system_id"], ["system.id"], name=op.f("fk_historical_location_system_id")),
        sa.ForeignKeyConstraint(["thing_id"], ["thing.id"], name=op.f("fk_historical_location_thing_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_historical_location")),
    )
    op.create_index(op.f("ix_historical_location_system_id"), "historical_location", ["system_id"], unique=False)
    op.create_index(op.f("ix_historical_location_thing_id"), "historical_location", ["thing_id"], unique=False)


def _thing_location() -> None:
    op.create_table(
        "thing_location",
        sa.Column("thing_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("location_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["location_id"], ["location.id"], name=op.f("fk_thing_location_location_id")),
        sa.ForeignKeyConstraint(["thing_id"], ["thing.id"], name=op.f("fk_thing_location_thing_id")),
        sa.PrimaryKeyConstraint("thing_id", "location_id", name=op.f("pk_thing_location")),
    )
    op.create_index(op.f("ix_thing_location_location_id"), "thing_location", ["location_id"], unique=False)


def _app_source() -> None:
    op.create_table(
        "app_source",
        sa.Column("app_uid", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("grant_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["app_uid", "n"], ["app_revision.app_uid", "app_revision.n"], name=op.f("fk_app_source_app_uid_n")
        ),
        sa.ForeignKeyConstraint(["system_id"], ["system.id"], name=op.f("fk_app_source_system_id")),
        sa.PrimaryKeyConstraint("app_uid", "n", "system_id", name=op.f("pk_app_source")),
    )
    op.create_index(op.f("ix_app_source_system_id"), "app_source", ["system_id"], unique=False)


def _datastream_property() -> None:
    op.create_table(
        "datastream_property",
        sa.Column("datastream_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("observed_property_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["datastream_id"], ["datastream.id"], name=op.f("fk_datastream_property_datastream_id")
        ),
        sa.ForeignKeyConstraint(
            ["observed_property_id"], ["observed_property.id"], name=op.f("fk_datastream_property_observed_property_id")
        ),
        sa.PrimaryKeyConstraint("datastream_id", "rank", name=op.f("pk_datastream_property")),
    )
    op.create_index(
        op.f("ix_datastream_property_observed_property_id"),
        "datastream_property",
        ["observed_property_id"],
        unique=False,
    )


def _historical_location_location() -> None:
    op.create_table(
        "historical_location_location",
        sa.Column("historical_location_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("location_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["historical_location_id"],
            ["historical_location.id"],
            name=op.f("fk_historical_location_location_historical_location_id"),
        ),
        sa.ForeignKeyConstraint(
            ["location_id"], ["location.id"], name=op.f("fk_historical_location_location_location_id")
        ),
        sa.PrimaryKeyConstraint("historical_location_id", "location_id", name=op.f("pk_historical_location_location")),
    )
    op.create_index(
        op.f("ix_historical_location_location_location_id"),
        "historical_location_location",
        ["location_id"],
        unique=False,
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION obs_write")
        op.execute("DROP VIEW observation_ts")
    op.drop_index(op.f("ix_historical_location_location_location_id"), table_name="historical_location_location")
    op.drop_table("historical_location_location")
    op.drop_index(op.f("ix_datastream_property_observed_property_id"), table_name="datastream_property")
    op.drop_table("datastream_property")
    op.drop_index(op.f("ix_app_source_system_id"), table_name="app_source")
    op.drop_table("app_source")
    op.drop_index(op.f("ix_thing_location_location_id"), table_name="thing_location")
    op.drop_table("thing_location")
    op.drop_index(op.f("ix_historical_location_thing_id"), table_name="historical_location")
    op.drop_index(op.f("ix_historical_location_system_id"), table_name="historical_location")
    op.drop_table("historical_location")
    op.drop_index(op.f("ix_feature_system_id"), table_name="feature")
    op.drop_table("feature")
    op.drop_index(op.f("ix_datastream_thing_id"), table_name="datastream")
    op.drop_index(op.f("ix_datastream_system_id"), table_name="datastream")
    op.drop_index(op.f("ix_datastream_sensor_id"), table_name="datastream")
    op.drop_table("datastream")
    op.drop_table("app_revision")
    op.drop_index(op.f("ix_thing_system_id"), table_name="thing")
    op.drop_table("thing")
    op.drop_index(op.f("ix_sensor_system_id"), table_name="sensor")
    op.drop_table("sensor")
    op.drop_index(op.f("ix_observed_property_system_id"), table_name="observed_property")
    op.drop_table("observed_property")
    op.drop_index(op.f("ix_location_system_id"), table_name="location")
    op.drop_table("location")
    op.drop_index(op.f("ix_app_system_id"), table_name="app")
    op.drop_table("app")
    op.drop_index(op.f("ix_system_company_id"), table_name="system")
    op.drop_table("system")
    op.drop_table("store_info")
    op.drop_table("outbox_head")
    op.drop_table("outbox")
    op.drop_table("observation_chunk")
    op.drop_index("ix_observation_t", table_name="observation")
    op.drop_index("ix_observation_datastream_id_t", table_name="observation")
    op.drop_table("observation")
    op.drop_table("id_block")
    op.drop_index("ix_entity_name_kind_entity_id", table_name="entity_name")
    op.drop_table("entity_name")
    op.drop_table("dead_datastream")
    op.drop_table("datastream_stat")
    op.drop_index("ix_datastream_feature_feature_id_datastream_id", table_name="datastream_feature")
    op.drop_table("datastream_feature")
    op.drop_table("company")
    op.drop_table("archive_offset")
    op.drop_table("archive_dead")
