"""Clients of other parties create, read, page, filter, patch and delete; what they assert stands in `programs`."""

from __future__ import annotations

import pytest
from tests.integration.clients.conftest import python_313


def test_frost_sta_client(run_client):
    run_client("frost-sta-client", "frost.py")


def test_stapy(run_client):
    run_client("stapy", "stapy_client.py")


def test_aio_sensorthings(run_client):
    run_client("aio-sensorthings", "aio.py", python=python_313())


def test_staplus_client(on, run_client):
    sets = {item["name"] for item in on.get("/v1.1")["value"]}
    if "Parties" not in sets:
        pytest.skip("STAplus IS NOT SERVED: staplus-client has nothing to speak with")
    run_client("staplus-client", "staplus.py")
