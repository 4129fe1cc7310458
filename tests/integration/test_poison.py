"""Values that are no observation, between good ones, on a real server: each good one arrives, each bad one is kept.

The raw values come onto the log as any producer outside our client could write them.
"""

from __future__ import annotations

from typing import Any

import pytest
from server_under_test import Server, instances, server, wait_until

from twinstack.log.connect import connect
from twinstack.log.seam import OutRecord
from twinstack.sensorthings.store import dead_letters, open_store

SOURCE = "cz.poison.plant.source"
TARGET = "at.poison.plant.target"
KEY = f"{SOURCE}.Station_1.Air Temperature"
FOREIGN = f"{TARGET}.Station_1.Air Temperature"


def good(n: int, **more: Any) -> bytes:
    text = f'{{"phenomenonTime": "2026-11-24T12:00:{n:02}Z", "resultTime": null, "result": {n}'
    text += f', "Datastream": {{"@iot.id": 1, "name": "{KEY}"}}'
    return (text + "".join(f', "{k}": {v}' for k, v in more.items()) + "}").encode()


BAD = {
    "two texts": good(50) + good(51),
    "two texts over a line": good(50) + b"\n" + good(51),
    "half a text": good(52)[:-20],
    "the other half": good(52)[-20:],
    "blanks": b"  \n\t ",
    "nothing": b"",
    "a key twice": good(53)[:-1] + b', "result": 99}',
    "a key twice, once escaped": good(53)[:-1] + b', "r\\u0065sult": 99}',
    "NaN": good(54).replace(b'"result": 54', b'"result": NaN'),
    "NaN where nobody looks": good(55, more="NaN"),
    "infinite": good(56).replace(b'"result": 56', b'"result": 1e999'),
    "no UTF-8": good(57)[:-1] + b', "x": "\xff"}',
    "half a character": good(58)[:-1] + b', "x": "\\ud800"}',
    "deep": good(59)[:-1] + b', "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "no object": b"[1, 2]",
}


@pytest.fixture(scope="module", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def on(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    kafka = request.getfixturevalue("kafka_node").bootstrap if request.param == "kafka" else None
    command = ("up", "--open", *(("--log", kafka) if kafka else ()))
    with server(tmp_path_factory.mktemp("poison") / "data", command) as running:
        running.log = kafka or running.url
        running.call("POST", f"/api/v1/systems/{SOURCE}/instances", json={"client": "c", "instances": instances()})
        running.call("POST", f"/api/v1/systems/{TARGET}/instances", json={"client": "c", "instances": instances()})
        app = {"name": "warm", "target": TARGET, "sources": [SOURCE], "text": "SELECT * FROM * WHERE result < 40;"}
        running.post("/api/v1/apps", app)
        _append(running)
        yield running


def _append(on: Server) -> None:
    values: list[bytes] = []
    for n, bad in enumerate(BAD.values()):
        values += [good(n), bad]
    log = connect(on.log)
    try:
        producer = log.producer()
        for value in values:
            producer.send(OutRecord(f"{SOURCE}.int", value, KEY.encode()))
        foreign = good(60).replace(KEY.encode(), FOREIGN.encode()).replace(b'"@iot.id": 1', b'"@iot.id": 3')
        producer.send(OutRecord(f"{SOURCE}.int", foreign, FOREIGN.encode()))
        producer.send(OutRecord(f"{SOURCE}.int", good(39), KEY.encode()))  # behind all others of its partition
        producer.flush(30)
        producer.close()
    finally:
        log.close()


WANTED = [*range(len(BAD)), 39]


def test_each_good_one_reaches_the_target_in_order(on: Server) -> None:
    def results() -> list[float]:
        return [row["value"]["result"] for row in on.records(f"{TARGET}.ext")]

    assert wait_until(lambda: len(results()) >= len(WANTED), 30), results()
    assert results() == WANTED


@pytest.mark.parametrize("system", [SOURCE, TARGET])
def test_each_good_one_is_in_history(on: Server, system: str) -> None:
    def history() -> list[float]:
        found = on.call("GET", "/v1.1/Datastreams?$top=1000", headers={"Twinstack-System": system}).json()["value"]
        ids = [d["@iot.id"] for d in found if d["name"] == KEY]
        return [o["result"] for o in on.get(f"/v1.1/Datastreams({ids[0]})/Observations")["value"]] if ids else []

    assert wait_until(lambda: len(history()) >= len(WANTED), 30), history()
    assert sorted(history()) == sorted(WANTED)


def test_each_bad_one_is_a_dead_letter_of_the_app_with_its_bytes(on: Server) -> None:
    uid = on.get("/api/v1/apps")["items"][0]["uid"]
    log = connect(on.log)
    try:
        consumer = log.consumer(start="earliest")
        from twinstack.log.seam import TopicPartition

        partitions = log.admin().describe(f"ts.{uid}.dead").partitions
        consumer.assign({TopicPartition(f"ts.{uid}.dead", p): "earliest" for p in range(partitions)})
        letters: list[bytes] = []
        wait_until(
            lambda: letters.extend(v or b"" for b in consumer.poll(0.5) for v in b.values) or len(letters) > 15, 20
        )
        consumer.close()
    finally:
        log.close()
    assert sorted(v for v in letters if FOREIGN.encode() not in v) == sorted(BAD.values())
    assert sum(FOREIGN.encode() in v for v in letters) == 1, "a record of a foreign system's Datastream"


def test_each_bad_one_is_a_dead_letter_of_the_archive_with_its_bytes(on: Server) -> None:
    store = open_store(f"sqlite:///{on.data / 'store.sqlite'}")
    try:

        def letters() -> list[dead_letters.Letter]:
            with store.reader() as connection:
                return dead_letters.letters(connection)

        assert wait_until(lambda: len(letters()) >= len(BAD) + 1, 30), letters()
        found = letters()
    finally:
        store.close()
    assert sorted(x.value for x in found if x.reason != "foreign_datastream") == sorted(BAD.values())
    assert [x.reason for x in found].count("foreign_datastream") == 1
    assert all(x.topic == f"{SOURCE}.int" for x in found)
