from __future__ import annotations

import base64
import time
from typing import Any, NamedTuple

import httpx

from twinstack.log.seam import EARLIEST, Headers, Log, TopicPartition

JSON = {"Content-Type": "application/vnd.kafka.json.v2+json"}
BINARY = {"Content-Type": "application/vnd.kafka.binary.v2+json"}
V2 = {"Content-Type": "application/vnd.kafka.v2+json"}


class Stored(NamedTuple):
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def ts_id(text: str) -> list[dict[str, str]]:
    return [{"name": "ts-id", "value": b64(text.encode())}]


def observation(result: Any, key: str = "a.b.c.d.Thing.Stream") -> dict[str, Any]:
    return {"phenomenonTime": "2026-01-01T00:00:00Z", "result": result, "Datastream": {"@iot.id": 1, "name": key}}


def stored(log: Log, topic: str, partitions: int = 3) -> list[Stored]:
    """All records of a topic."""
    tps = [TopicPartition(topic, p) for p in range(partitions)]
    ends = log.admin().end_offsets(tps)
    consumer = log.consumer()
    consumer.assign(dict.fromkeys(tps, EARLIEST))
    found: list[Stored] = []
    until_s = time.monotonic() + 5
    while len(found) < sum(ends.values()) and time.monotonic() < until_s:
        for batch in consumer.poll(0.2):
            columns = zip(batch.offsets, batch.keys, batch.values, batch.headers, strict=True)
            found += [Stored(batch.partition, *columns_) for columns_ in columns]
    consumer.close()
    return found


class RestConsumer:
    """One instance, by plain HTTP."""

    def __init__(self, http: httpx.Client, group: str, **config: Any) -> None:
        self.http = http
        made = http.post(f"/consumers/{group}", json={"auto.offset.reset": "earliest", **config}, headers=V2)
        assert made.status_code == 200, made.text
        self.base = made.json()["base_uri"]
        self.name = made.json()["instance_id"]

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.http.post(f"{self.base}/{path}", json=body, headers=V2)

    def subscribe(self, *topics: str) -> None:
        answer = self.post("subscription", {"topics": topics})
        assert answer.status_code == 204, answer.text

    def records(self, timeout_ms: int = 2_000, **query: Any) -> list[dict[str, Any]]:
        answer = self.http.get(f"{self.base}/records", params={"timeout": timeout_ms, **query})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def delete(self) -> None:
        assert self.http.delete(self.base).status_code == 204
