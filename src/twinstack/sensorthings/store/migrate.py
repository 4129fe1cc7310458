"""Brings a store's tables to this version (alembic, migrations in the package)."""

from __future__ import annotations

import secrets
import uuid
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from twinstack.core import limits
from twinstack.core.errors import SettingsError
from twinstack.sensorthings.store import tables

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(engine: sa.Engine) -> None:
    """Runs the missing migrations in one transaction; processes that start together wait for each other.

    Errors: SettingsError when the store was written by a newer version.
    """
    config = alembic_config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        current = MigrationContext.configure(connection).get_current_revision()
        if current is not None and current not in known:
            raise SettingsError(
                f"The store has the tables of a newer version ({current}).",
                fix="Start it with that version, or restore the backup made before the upgrade.",
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _first_rows(connection)


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


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
