"""One suite for every database behind the store's seam."""

import shutil

import pytest
from tests.services.postgres import postgres_server, postgres_store, postgres_template

from twinstack.sensorthings.store import WriteContext, open_store

__all__ = ["postgres_server", "postgres_store", "postgres_template"]

START_US = 1_767_225_600_000_000  # 2026-01-01


class Clock:
    def __init__(self):
        self.us = START_US

    def __call__(self):
        self.us += 1
        return self.us


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A migrated SQLite store; tests take copies, because migrating takes longer than most of them."""
    path = tmp_path_factory.mktemp("store") / "empty.sqlite"
    store = open_store(f"sqlite:{path}")
    store.migrate()
    store.close()
    return path


@pytest.fixture
def sqlite_url(tmp_path, empty_store):
    path = tmp_path / "store.sqlite"
    shutil.copy(empty_store, path)
    return f"sqlite:{path}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store_url(request):
    """The URL of a migrated, empty store."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
        return
    server = request.getfixturevalue("postgres_server")
    database = request.getfixturevalue("postgres_store")
    server.empty(database)
    yield server.url(database)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(store_url, clock):
    store = open_store(store_url, clock=clock)
    yield store
    store.close()


@pytest.fixture
def lab():
    return WriteContext(lab=True)
