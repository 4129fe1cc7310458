"""Migrations of an older store (alembic, scripts in the package). Imported only when there is one to upgrade."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from twinstack.core.errors import SettingsError

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: sa.Connection) -> None:
    """Runs the missing migrations in the connection's transaction.

    Errors: SettingsError when the store was written by a newer version.
    """
    config = alembic_config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise SettingsError(
            f"The store has the tables of a newer version ({current}).",
            fix="Start it with that version, or restore the backup made before the upgrade.",
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
