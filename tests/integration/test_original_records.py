"""The original's records, on both logs: a Datastream by its id alone, keyed by the JSON text of the Thing. And a broker
that dies under a server: what a client was told is stored is on the log, at the target and in history, each once."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from server_under_test import Server, instances, server, wait_until

from services.kafka import KafkaNode
from twinstack import DigitalTwinClient
from twinstack.log.connect import connect
from twinstack.log.seam import EARLIEST, TopicPartition


class Stand(NamedTuple):
    on: Server
    log_address: str
    source: str
    target: str

    def results(self, topic: str) -> list[Any]:
        """Of all records, by partition and in order."""
        with contextlib.closing(connect(self.log_address)) as log:
            tps = [TopicPartition(topic, p) for p in range(log.admin().describe(topic).partitions)]
            ends = log.admin().end_offsets(tps)
            with contextlib.closing(log.consumer()) as consumer:
                consumer.assign(dict.fromkeys(tps, EARLIEST))
                found: list[Any] = []
                until_s = time.monotonic() + 20
                while any((consumer.position(tp) or 0) < end for tp, end in ends.items()):
                    assert time.monotonic() < until_s
                    found += [json.loads(v or b"")["result"] for batch in consumer.poll(0.5) for v in batch.values]
        return found

    def history(self, system: str) -> list[Any]:
        streams = self.on.call("GET", "/v1.1/Datastreams?$top=1000", headers={"Twinstack-System": system})
        name = f"{self.source}.Station_1.Air Temperature"
        ids = [d["@iot.id"] for d in streams.json()["value"] if d["name"] == name]
        pages = [self.on.get(f"/v1.1/Datastreams({i})/Observations?$top=1000")["value"] for i in ids]
        return sorted(o["result"] for page in pages for o in page)


@contextlib.contextmanager
def _stand(folder: Path, kafka: KafkaNode | None, station: str) -> Iterator[Stand]:
    source, target = f"cz.originals.plant.{station}", f"at.originals.plant.{station}"
    more = ("--log", kafka.bootstrap) if kafka else ()
    with server(folder / "data", ("up", "--open", *more)) as on:
        for system in (source, target):
            on.post(f"/api/v1/systems/{system}/instances", {"client": "c", "instances": instances()}, status=200)
        text = "SELECT * FROM * WHERE result < 1000;"
        on.post("/api/v1/apps", {"name": "app", "target": target, "sources": [source], "text": text})
        yield Stand(on, kafka.bootstrap if kafka else on.url, source, target)


@pytest.fixture(scope="module", params=["embedded", "kafka"])
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    kafka = request.getfixturevalue("kafka_node") if request.param == "kafka" else None
    with _stand(tmp_path_factory.mktemp("originals"), kafka, request.param) as made:
        yield made


def test_records_of_the_original_are_forwarded_and_archived(stand: Stand) -> None:
    streams = stand.on.get("/v1.1/Datastreams?$top=100")["value"]
    (number,) = [d["@iot.id"] for d in streams if d["name"] == f"{stand.source}.Station_1.Air Temperature"]
    records = [
        {
            "key": json.dumps({"name": f"{stand.source}.Station_1", "@iot.id": 1}),
            "value": {
                "phenomenonTime": f"2018-12-04T14:18:{n:02}.376306+00:00",
                "resultTime": f"2018-12-04T14:18:{n:02}.376306+00:00",
                "result": 50.05 + n,
                "Datastream": {"@iot.id": number},
                "longitude": 13.2,
            },
        }
        for n in range(5)
    ]
    headers = {"Content-Type": "application/vnd.kafka.json.v2+json"}
    answer = stand.on.call(
        "POST", f"/topics/{stand.source}.int", content=json.dumps({"records": records}), headers=headers
    )
    assert [o["error_code"] for o in answer.json()["offsets"]] == [None] * 5, answer.text
    wanted = [50.05 + n for n in range(5)]
    assert wait_until(lambda: len(stand.results(f"{stand.target}.ext")) >= 5, 30)
    assert stand.results(f"{stand.source}.int") == stand.results(f"{stand.target}.ext") == wanted
    for system in (stand.source, stand.target):
        assert wait_until(lambda system=system: stand.history(system) == wanted, 30), stand.history(system)


def test_a_broker_that_dies_and_comes_back_costs_nothing(kafka_node: KafkaNode, tmp_path: Path) -> None:
    with _stand(tmp_path, kafka_node, "outage") as stand:
        with DigitalTwinClient("c", stand.source, stand.on.url, kafka_rest_server=stand.on.url) as twin:
            twin.register(instances())
            sent = 0
            for phase in ("before", "killed", "back"):
                if phase == "killed":
                    kafka_node.kill()
                elif phase == "back":
                    kafka_node.start()
                for _ in range(50):
                    twin.produce("temperature", float(sent))
                    sent += 1
                    time.sleep(0.02)
            twin.flush(90)
        wanted = [float(n) for n in range(sent)]
        assert stand.results(f"{stand.source}.int") == wanted
        assert wait_until(lambda: len(stand.results(f"{stand.target}.ext")) >= sent, 60)
        assert stand.results(f"{stand.target}.ext") == wanted
        for system in (stand.source, stand.target):
            assert wait_until(lambda system=system: stand.history(system) == wanted, 60), stand.history(system)
