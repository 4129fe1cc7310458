"""Brings a store's tables to this version.

A new SQLite store gets its tables at once and one of this version is left alone, both without alembic: importing it
takes as long as everything else of the store together, and nearly every start is one of these two. On PostgreSQL the
migrations alone say what there is: partitions, view and functions stand only in them.
"""

from __future__ import annotations

import secrets
import uuid

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.sensorthings.store import locks, tables

HEAD = "0003"
"""The newest revision of migrations/versions (a test compares)."""

_VERSION = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))


def migrate(engine: sa.Engine) -> None:
    """Makes or upgrades the tables in one transaction; processes that start together wait for each other.

    Errors: SettingsError when the store was written by a newer version.
    """
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(locks.MIGRATION)))
        present = set(sa.inspect(connection).get_table_names())
        if not present and connection.dialect.name == "sqlite":
            tables.metadata.create_all(connection)
            _VERSION.create(connection)
            connection.execute(sa.insert(_VERSION), {"version_num": HEAD})
        elif _VERSION.name not in present or connection.execute(sa.select(_VERSION)).scalar() != HEAD:
            from twinstack.sensorthings.store.upgrade import upgrade

            upgrade(connection)
        if connection.dialect.name == "postgresql":
            from twinstack.sensorthings.store import postgis

            postgis.ensure(connection)
        _first_rows(connection)


def revision(engine: sa.Engine) -> str | None:
    """The revision of the store's tables; None while it has none. Errors: SettingsError for a newer version's."""
    with engine.connect() as connection:
        present = set(sa.inspect(connection).get_table_names())
        current = connection.execute(sa.select(_VERSION)).scalar() if _VERSION.name in present else None
    if current is not None and current != HEAD:
        from twinstack.sensorthings.store.upgrade import check_known

        check_known(current)
    return current


def _first_rows(connection: sa.Connection) -> None:
    """The store's identity, the key of its `ts-store` headers, and one head for each outbox shard."""
    have = set(connection.execute(sa.select(tables.store_info.c.key)).scalars())
    for key, value in (("uuid", str(uuid.uuid4())), ("header_key", secrets.token_hex(32))):
        if key not in have:
            connection.execute(tables.store_info.insert().values(key=key, value=value))
    shards = set(connection.execute(sa.select(tables.outbox_head.c.shard)).scalars())
    for shard in range(limits.OUTBOX_SHARDS):
        if shard not in shards:
            connection.execute(tables.outbox_head.insert().values(shard=shard, seq=0))
