"""Makes what a store on PostgreSQL needs: a role, a database that compares texts by code point, PostGIS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from twinstack.core import limits
from twinstack.core.errors import SettingsError, Unreachable
from twinstack.sensorthings.store.engine import postgresql_url
from twinstack.sensorthings.store.errors import message

OLDEST = 150_000
_DATABASE = "CREATE DATABASE {database} OWNER {role} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the store's URL names."""

    role: str
    database: str
    password: str | None


def wanted(url: str) -> Wanted:
    """Errors: SettingsError."""
    parsed = postgresql_url(url)
    if not parsed.username:
        raise SettingsError("The store's URL names no role.", fix="Write postgresql://twinstack@host:5432/twinstack.")
    password = None if parsed.password is None else str(parsed.password)
    return Wanted(parsed.username, str(parsed.database), password)


def script(what: Wanted) -> list[str]:
    """The same as input of psql, for whom has no superuser at hand; it holds no password."""
    role, database = (sql.Identifier(name).as_string(None) for name in (what.role, what.database))
    return [
        f"CREATE ROLE {role} LOGIN;",
        f"\\password {role}",
        _DATABASE.format(database=database, role=role) + ";",
        f"\\connect {database}",
        "CREATE EXTENSION IF NOT EXISTS postgis;",
    ]


def make(admin_url: str, url: str) -> list[str]:
    """Makes what is missing as the superuser of `admin_url`; what it did, in words. What is there stays as it is.

    Errors: SettingsError (an old server, a URL), Unreachable (no connection, or the role may not do it).
    """
    what = wanted(url)
    done: list[str] = []
    try:
        with _connect(admin_url) as admin:
            _check(admin)
            if not _has(admin, "SELECT 1 FROM pg_roles WHERE rolname = %s", what.role):
                login = sql.SQL("CREATE ROLE {role} LOGIN").format(role=sql.Identifier(what.role))
                if what.password is not None:
                    login += sql.SQL(" PASSWORD {}").format(sql.Literal(what.password))
                admin.execute(login)
                done.append(f"role {what.role} made")
            if not _has(admin, "SELECT 1 FROM pg_database WHERE datname = %s", what.database):
                names = {"database": sql.Identifier(what.database), "role": sql.Identifier(what.role)}
                admin.execute(sql.SQL(_DATABASE).format(**names))
                done.append(f"database {what.database} made")
        with _connect(admin_url, what.database) as inside:
            done.append(_extension(inside))
        _connect(url).close()
    except psycopg.Error as error:
        raise Unreachable(
            f"PostgreSQL refuses it: {message(error)}.", fix="Give --admin the URL of a superuser, or run the SQL."
        ) from error
    return [*done, f"role {what.role} can connect to {what.database}"]


def _extension(connection: psycopg.Connection[Any]) -> str:
    if not _has(connection, "SELECT 1 FROM pg_available_extensions WHERE name = %s", "postgis"):
        return "PostGIS is not installed: geometry will be computed by the server itself"
    connection.execute("CREATE EXTENSION IF NOT EXISTS postgis")
    return "PostGIS is there"


def _connect(url: str, database: str | None = None) -> psycopg.Connection[Any]:
    engine = sa.create_engine(postgresql_url(url), paramstyle="format")
    _, arguments = engine.dialect.create_connect_args(engine.url)
    if database is not None:
        arguments["dbname"] = database
    return psycopg.connect(**arguments, autocommit=True, connect_timeout=limits.STORE_CONNECT_S_MAX)


def _has(connection: psycopg.Connection[Any], query: str, value: str) -> bool:
    return connection.execute(query.encode(), [value]).fetchone() is not None


def _check(connection: psycopg.Connection[Any]) -> None:
    if connection.info.server_version < OLDEST:
        raise SettingsError(
            f"PostgreSQL {connection.info.server_version // 10_000} is too old.", fix="Use PostgreSQL 15 or later."
        )
