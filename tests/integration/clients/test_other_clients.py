"""Clients of other parties create, read, page, filter, patch and delete; what they assert stands in `programs`."""

from __future__ import annotations

from tests.integration.clients.conftest import python_313


def test_frost_sta_client(run_client):
    run_client("frost-sta-client", "frost.py")


def test_stapy(run_client):
    run_client("stapy", "stapy_client.py")


def test_aio_sensorthings(run_client):
    run_client("aio-sensorthings", "aio.py", python=python_313())


def test_staplus_client(on, run_client):
    assert "Parties" in {item["name"] for item in on.get("/v1.1")["value"]}
    run_client("staplus-client", "staplus.py")
