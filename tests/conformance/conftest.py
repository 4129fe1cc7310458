"""A store on SQLite in a temporary folder, and the SensorThings application in front of it, without a socket."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sensorthings_api import Api, Clock, Lab

from twinstack.sensorthings.http import SensorThingsApp
from twinstack.sensorthings.store import Store, open_store


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store with its tables, to be copied: making them for each test would take longer than the tests."""
    path = tmp_path_factory.mktemp("migrated") / "store.sqlite"
    opened = open_store(f"sqlite:{path}")
    opened.migrate()
    opened.close()
    return path


@pytest.fixture
def store(migrated: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copy(migrated, tmp_path / "store.sqlite")
    opened = open_store(f"sqlite:{tmp_path / 'store.sqlite'}", clock=Clock())
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
