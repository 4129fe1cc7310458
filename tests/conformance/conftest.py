"""A store on SQLite in a temporary folder, and the SensorThings application in front of it, without a socket."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sensorthings_api import Api, Clock, Lab
from tests.services.postgres import PostgresServer, postgres_server, postgres_template

from twinstack.sensorthings.http import SensorThingsApp
from twinstack.sensorthings.store import Store, open_store
from twinstack.sensorthings.store.tables import metadata

__all__ = ["postgres_server", "postgres_template"]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store with its tables, to be copied: making them for each test would take longer than the tests."""
    path = tmp_path_factory.mktemp("migrated") / "store.sqlite"
    opened = open_store(f"sqlite:{path}")
    opened.migrate()
    opened.close()
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, migrated: Path, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        shutil.copy(migrated, tmp_path / "store.sqlite")
        opened = open_store(f"sqlite:{tmp_path / 'store.sqlite'}", clock=Clock())
        yield opened
        opened.close()
        return
    # "postgis" is asked for by the tests of geo functions.
    database: EmptiedDatabase = request.getfixturevalue(f"{request.param}_database")
    database.empty()
    opened = open_store(database.url, clock=Clock())
    yield opened
    opened.close()


_PARTITIONS = sa.text(
    "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'observation'::regclass"
)


class EmptiedDatabase:
    """One database for all tests: emptying it takes less than a hundredth of what making one takes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1), poolclass=sa.NullPool)
        tables = metadata.sorted_tables
        with self._engine.begin() as connection:
            made = {table: connection.execute(sa.select(table)).mappings().all() for table in tables}
        self._made = {table: [dict(row) for row in rows] for table, rows in made.items() if rows}
        self._forget = "; ".join(f'DELETE FROM "{table.name}"' for table in reversed(tables))

    def empty(self) -> None:
        """Rows as after the migration."""
        with self._engine.begin() as connection:
            for partition in connection.execute(_PARTITIONS).scalars().all():
                connection.exec_driver_sql(f'DROP TABLE "{partition}"')
            connection.exec_driver_sql(self._forget)
            for table, rows in self._made.items():
                connection.execute(table.insert(), rows)


@pytest.fixture(scope="session")
def postgresql_database(postgres_server: PostgresServer, postgres_template: str) -> EmptiedDatabase:
    return EmptiedDatabase(postgres_server.url(postgres_server.create(postgres_template)))


@pytest.fixture(scope="session")
def postgis_database(postgres_server: PostgresServer, postgres_template: str) -> EmptiedDatabase:
    name = postgres_server.create(postgres_template)
    if not postgres_server.run("SELECT 1 FROM pg_available_extensions WHERE name = 'postgis'", name):
        pytest.skip("SKIPPED POSTGIS: not installed (apt-get install postgresql-15-postgis-3)")
    postgres_server.run("CREATE EXTENSION postgis", name)
    return EmptiedDatabase(postgres_server.url(name))


@pytest.fixture
async def api(store: Store) -> AsyncIterator[Api]:
    asked: list[tuple[str, str]] = []
    app = SensorThingsApp(store, base_url=None, decide=lambda actor, action, target: asked.append((action, target)))

    async def as_lab(scope: Any, receive: Any, send: Any) -> None:
        scope["twinstack.actor"] = Lab()
        await app(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(as_lab)) as client:
        yield Api(client, asked=asked)
    app.close()
