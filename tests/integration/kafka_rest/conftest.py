from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from services.doors import DoorsServer
from twinstack.client.local import LocalStore, make_topics
from twinstack.core.ids import new_uid
from twinstack.core.names import parse_system


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStore]:
    store = LocalStore(tmp_path_factory.mktemp("doors"))
    yield store
    store.log.close()


@pytest.fixture(scope="session")
def server(store: LocalStore) -> Iterator[DoorsServer]:
    server = DoorsServer(store)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def http(server: DoorsServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{server.address}", timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def system(store: LocalStore) -> str:
    name = f"cz.icecars.doors.{new_uid()}"
    make_topics(store.log, parse_system(name))
    return name
