"""One suite for every database behind the store's seam."""

import shutil

import pytest

from twinstack.sensorthings.store import WriteContext, open_store

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


@pytest.fixture(params=["sqlite"])
def store_url(request, tmp_path, empty_store):
    path = tmp_path / "store.sqlite"
    shutil.copy(empty_store, path)
    return f"sqlite:{path}"


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
