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
    check_known(MigrationContext.configure(connection).get_current_revision())
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def check_known(current: str | None) -> None:
    """Errors: SettingsError for a revision that this version does not know."""
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if current is not None and current not in known:
        raise SettingsError(
            f"The store has the tables of a newer version ({current}).",
            fix="Start it with that version, or restore the backup made before the upgrade.",
        )


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
