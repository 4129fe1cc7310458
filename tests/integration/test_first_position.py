"""Where an app begins: what was produced after the answer to its deployment is never missed, whatever it reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from server_under_test import Server, instances, produce, server, wait_until

from twinstack.log.connect import connect
from twinstack.log.seam import OutRecord, TopicSpec

A = "cz.firstpos.plant.a"
B = "cz.firstpos.plant.b"
NAME = "Station_1.Air Temperature"


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("first") / "data") as running:
        for system in (A, B):
            body = {"client": "c", "instances": instances()}
            running.post(f"/api/v1/systems/{system}/instances", body, status=200)
        yield running


def target(on: Server, station: str) -> str:
    system = f"at.firstpos.plant.{station}"
    on.post("/api/v1/systems", {"name": system})
    return system


def deploy(on: Server, system: str, sources: list[str], text: str) -> None:
    on.post("/api/v1/apps", {"name": "app", "target": system, "sources": sources, "text": text})


def received(on: Server, system: str) -> list[tuple[str, Any]]:
    return [(r["key"].split(".")[3], r["value"]["result"]) for r in on.records(f"{system}.ext")]


def test_a_source_that_a_new_revision_adds_begins_at_its_deployment(on: Server) -> None:
    system = target(on, "added")
    produce(on, A, NAME, [1.0])  # before the app
    deploy(on, system, [A], "SELECT * FROM *;")
    produce(on, A, NAME, [2.0])
    produce(on, B, NAME, [3.0])  # before the revision
    deploy(on, system, [A, B], "SELECT * FROM *;")
    produce(on, B, NAME, [4.0, 5.0])
    produce(on, A, NAME, [6.0])
    wanted = [("a", 2.0), ("a", 6.0), ("b", 4.0), ("b", 5.0)]
    assert wait_until(lambda: len(received(on, system)) >= len(wanted), 20), received(on, system)
    assert sorted(received(on, system)) == wanted


def test_a_revision_that_never_ran_hides_no_position_of_the_one_before(on: Server) -> None:
    system = target(on, "hidden")
    deploy(on, system, [A], "SELECT * FROM *;")
    produce(on, A, NAME, [11.0])
    assert wait_until(lambda: len(received(on, system)) == 1, 20)
    uid = next(app["uid"] for app in on.get("/api/v1/apps")["items"] if app["target"] == system)
    on.post(f"/api/v1/apps/{uid}/stop", {}, status=200)
    produce(on, A, NAME, [12.0])
    deploy(on, system, [A, B], "SELECT * FROM * WHERE result > 0;")
    on.post(f"/api/v1/apps/{uid}/stop", {}, status=200)
    produce(on, A, NAME, [13.0])
    deploy(on, system, [A, B], "SELECT * FROM * WHERE result > 1;")
    produce(on, A, NAME, [14.0])
    assert wait_until(lambda: len(received(on, system)) >= 4, 20), received(on, system)
    assert [result for _, result in received(on, system)] == [11.0, 12.0, 13.0, 14.0]


def test_received_data_are_pinned_too(on: Server) -> None:
    system = target(on, "received")
    key = f"{A}.{NAME}"
    value = b'{"phenomenonTime": "2026-11-24T12:00:00Z", "result": %d, "Datastream": {"name": "' + key.encode() + b'"}}'
    log = connect(on.url)
    try:
        producer = log.producer()
        producer.send(OutRecord(f"{A}.ext", value % 20, key.encode()))
        producer.flush(10)
        deploy(on, system, [A], f"SELECT * FROM {A}.ext;")
        producer.send(OutRecord(f"{A}.ext", value % 21, key.encode()))
        producer.flush(10)
        producer.close()
    finally:
        log.close()
    assert wait_until(lambda: received(on, system), 20)
    assert received(on, system) == [("a", 21)]


def test_a_topic_made_again_is_read_from_its_beginning(on: Server) -> None:
    source = "cz.firstpos.plant.again"
    on.post(f"/api/v1/systems/{source}/instances", {"client": "c", "instances": instances()}, status=200)
    system = target(on, "again")
    deploy(on, system, [source], "SELECT * FROM *;")
    produce(on, source, NAME, [float(n) for n in range(5)])
    assert wait_until(lambda: len(received(on, system)) == 5, 20)
    log = connect(on.url)
    try:
        log.admin().delete_topics([f"{source}.int"])
        log.admin().create_topics([TopicSpec(f"{source}.int", 3)])
    finally:
        log.close()
    again = [float(n) for n in range(30, 40)]  # at once, past the position in the topic before
    produce(on, source, NAME, again)
    assert wait_until(lambda: len(received(on, system)) >= 15, 30), received(on, system)
    assert received(on, system)[5:] == [("again", n) for n in again]
