"""A whole server on PostgreSQL, as a user starts it: records of clients, of apps and of the API are in history once,
and a server that is started again, or was killed, goes on with what is there."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from server_under_test import Server, gone, instances, run, server, wait_until
from tests.services.postgres import PostgresServer, postgres_server

from twinstack import DigitalTwinClient

__all__ = ["postgres_server"]

SOURCE, TARGET = "cz.postgres.plant.Source", "at.postgres.plant.Target"
POINT = {"type": "Point", "coordinates": [13.0, 47.8]}
NAME = f"{SOURCE}.Station_1.Air Temperature"

pytestmark = pytest.mark.postgres


def history(on: Server, system: str) -> list[float]:
    """Results of the Datastream, own or received, in order of time."""
    streams = on.call("GET", "/v1.1/Datastreams?$top=1000", headers={"Twinstack-System": system}).json()["value"]
    (found,) = [d["@iot.id"] for d in streams if d["name"] == NAME]
    page = on.get(f"/v1.1/Datastreams({found})/Observations?$top=1000&$orderby=phenomenonTime,id")
    return [one["result"] for one in page["value"]]


def produce(on: Server, results: range) -> None:
    with DigitalTwinClient("c", SOURCE, on.url, kafka_rest_server=on.url) as twin:
        twin.register(instances())
        for n in results:
            twin.produce("temperature", float(n))
        twin.flush(60)


def settled(on: Server, wanted: list[float]) -> bool:
    return wait_until(lambda: history(on, SOURCE) == wanted and history(on, TARGET) == wanted, 60)


def test_a_server_on_postgresql_keeps_each_record_once_over_restarts_and_kills(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.url(postgres_server.create())
    with server(tmp_path / "data", TWINSTACK_STORE=url) as on:
        for system in (SOURCE, TARGET):
            on.post(f"/api/v1/systems/{system}/instances", {"client": "c", "instances": instances()}, status=200)
        text = "SELECT * FROM * WHERE result < 1000;"
        on.post("/api/v1/apps", {"name": "app", "target": TARGET, "sources": [SOURCE], "text": text})
        produce(on, range(20))
        assert settled(on, [float(n) for n in range(20)]), (history(on, SOURCE), history(on, TARGET))
        streams = on.get("/v1.1/Datastreams?$count=true")["@iot.count"]
        children = on.children()
        on.process.send_signal(signal.SIGKILL)
        on.process.wait(20)
        assert gone(children)
    with server(tmp_path / "data", TWINSTACK_STORE=url) as on:
        produce(on, range(20, 40))
        assert settled(on, [float(n) for n in range(40)]), (history(on, SOURCE), history(on, TARGET))
        assert on.get("/v1.1/Datastreams?$count=true")["@iot.count"] == streams
        (number,) = [d["@iot.id"] for d in on.get("/v1.1/Datastreams?$top=100")["value"] if d["name"] == NAME]
        place = {"name": "here", "description": "", "encodingType": "application/geo+json", "feature": POINT}
        on.post("/v1.1/Observations", {"result": 40.0, "Datastream": {"@iot.id": number}, "FeatureOfInterest": place})
        assert settled(on, [float(n) for n in range(41)]), (history(on, SOURCE), history(on, TARGET))
        shown = run("config", "--json", TWINSTACK_STORE=url.replace("postgres@", "twin:secret@"))
        assert "secret" not in shown.stdout + shown.stderr
