"""Migrations of an older store (alembic, scripts in the package). Imported only when there is one to upgrade."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from twinstack.core.errors import SettingsError
from twinstack.sensorthings.store import tables

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: sa.Connection) -> None:
    """Runs the missing migrations in the connection's transaction.

    Errors: SettingsError when the store was written by a newer version.
    """
    check_known(MigrationContext.configure(connection).get_current_revision())
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "postgresql":
        _order_by_code_point(connection)


def check_known(current: str | None) -> None:
    """Errors: SettingsError for a revision that this version does not know."""
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if current is not None and current not in known:
        raise SettingsError(
            f"The store has the tables of a newer version ({current}).",
            fix="Start it with that version, or restore the backup made before the upgrade.",
        )


_OTHER_COLLATIONS = """
SELECT c.relname, a.attname
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_collation o ON o.oid = a.attcollation
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
  AND NOT a.attisdropped AND a.atttypid = 'text'::regtype AND o.collname <> 'C'
"""


def _order_by_code_point(connection: sa.Connection) -> None:
    """Every text column compares by code point, whatever the database's collation is: as the standard says, and as
    SQLite does. Here and not in each migration, so that none forgets it."""
    quote = connection.dialect.identifier_preparer.quote
    for table, column in connection.exec_driver_sql(_OTHER_COLLATIONS).all():
        if table in tables.BY_NAME:
            connection.exec_driver_sql(f'ALTER TABLE {quote(table)} ALTER {quote(column)} TYPE text COLLATE "C"')


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
