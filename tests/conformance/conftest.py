"""A store on SQLite and on PostgreSQL, and the SensorThings application in front of it, without a socket."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sensorthings_api import Api, Clock, Lab
from tests.services.postgres import PostgresServer, postgres_server, postgres_store, postgres_template

from twinstack.sensorthings.http import SensorThingsApp
from twinstack.sensorthings.store import Store, open_store

__all__ = ["postgres_server", "postgres_store", "postgres_template"]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store with its tables, to be copied: making them for each test would take longer than the tests."""
    path = tmp_path_factory.mktemp("migrated") / "store.sqlite"
    opened = open_store(f"sqlite:{path}")
    opened.migrate()
    opened.close()
    return path


STORES = ("sqlite", "postgresql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On both databases; a module that depends on more says so in its own STORES."""
    if "store" in metafunc.fixturenames:
        stores = [
            name if name == "sqlite" else pytest.param(name, marks=pytest.mark.postgres)
            for name in getattr(metafunc.module, "STORES", STORES)
        ]
        metafunc.parametrize("store", stores, indirect=True)


@pytest.fixture(scope="session")
def without_postgis(postgres_server: PostgresServer) -> str:
    name = postgres_server.create()
    opened = open_store(postgres_server.url(name))
    opened.migrate()
    opened.close()
    postgres_server.run("DROP EXTENSION IF EXISTS postgis CASCADE", name)
    return name


@pytest.fixture
def store(request: pytest.FixtureRequest, migrated: Path, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        shutil.copy(migrated, tmp_path / "store.sqlite")
        opened = open_store(f"sqlite:{tmp_path / 'store.sqlite'}", clock=Clock())
        yield opened
        opened.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    database: str = request.getfixturevalue("postgres_store" if request.param == "postgresql" else "without_postgis")
    server.empty(database)
    opened = open_store(server.url(database), clock=Clock())
    yield opened
    opened.close()


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
