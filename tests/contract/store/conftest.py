"""One suite for every database behind the store's seam."""

import pytest

from twinstack.sensorthings.store import WriteContext, open_store

START_US = 1_767_225_600_000_000  # 2026-01-01


class Clock:
    def __init__(self):
        self.us = START_US

    def __call__(self):
        self.us += 1
        return self.us


@pytest.fixture(params=["sqlite"])
def store_url(request, tmp_path):
    return f"sqlite:{tmp_path / 'store.sqlite'}"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(store_url, clock):
    store = open_store(store_url, clock=clock)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def lab():
    return WriteContext(lab=True)
