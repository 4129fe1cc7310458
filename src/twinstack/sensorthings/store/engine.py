"""Engines: how this process opens the store's database.

SQLite always through pysqlite3 (its SQLite is newer than the WAL-reset bug; one file is never opened by two libraries
in one process): `create_engine(module=...)`, because `creator` would leave the vendor's errors unmapped.
PostgreSQL through psycopg 3.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.core.errors import SettingsError
from twinstack.sensorthings import sqlite_functions


def make_engine(url: str, *, pool_size: int = 8) -> sa.Engine:
    """The engine for `sqlite:/path/to/file` (also `sqlite:///...` and a bare path), or
    `postgresql://user:password@host:port/database`. Errors: SettingsError."""
    if url.startswith(("postgresql:", "postgres:")):
        return _postgresql(url, pool_size)
    path = Path(url.removeprefix("sqlite:").removeprefix("//") or "store.sqlite").absolute()
    if not path.parent.is_dir():
        raise SettingsError(f"The folder {path.parent} of the store does not exist.", fix="Make it first.")
    if not path.exists():
        path.touch(mode=0o600)  # it holds the key of the headers; SQLite gives its side files the same mode
    import pysqlite3.dbapi2 as sqlite

    engine = sa.create_engine(
        f"sqlite:///{path}",
        module=sqlite,
        pool_size=pool_size,
        max_overflow=limits.SSE_CLIENTS_MAX,
        connect_args={"timeout": limits.STORE_BUSY_MS_MAX / 1000, "check_same_thread": False},
    )
    sa.event.listen(engine, "connect", _configure)
    # pysqlite's own BEGIN is deferred and late; a transaction begins where we say so.
    sa.event.listen(engine, "begin", _begin)
    return engine


def postgresql_url(url: str) -> sa.URL:
    """Errors: SettingsError that does not repeat the URL: it may hold a password."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsError(
            "The store's URL cannot be read.", fix="Write postgresql://user:password@host:5432/database."
        ) from None
    if not parsed.database:
        raise SettingsError("The store's URL names no database.", fix="Write postgresql://user@host:5432/twinstack.")
    return parsed.set(drivername="postgresql+psycopg")


def _postgresql(url: str, pool_size: int) -> sa.Engine:
    parsed = postgresql_url(url)
    try:
        import psycopg  # noqa: F401  # SQLAlchemy's own error would name its module, not the cure
    except ImportError:
        raise SettingsError("psycopg is not installed.", fix="pip install 'twinstack[platform]'.") from None
    return sa.create_engine(
        parsed,
        # Statements of the hot path are run by the driver itself with their values in order.
        paramstyle="format",
        pool_size=pool_size,
        max_overflow=limits.SSE_CLIENTS_MAX,
        pool_pre_ping=True,  # the server may have been started again
        connect_args={
            "application_name": "twinstack",
            "connect_timeout": limits.STORE_CONNECT_S_MAX,
            "options": f"-c lock_timeout={limits.STORE_BUSY_MS_MAX} -c timezone=UTC",
        },
    )


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={limits.STORE_BUSY_MS_MAX}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-65536",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    sqlite_functions.register(connection)


def _begin(connection: sa.Connection) -> None:
    """A writer takes the write lock at once: a deferred transaction that writes later fails without waiting."""
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
