from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from doors_helpers import BINARY, JSON, b64, observation, stored, ts_id

from services.doors import DoorsServer
from twinstack.client.local import LocalStore
from twinstack.log.partitioner import partition_for

ONE = {"records": [{"value": observation(1)}]}


def post(http: httpx.Client, topic: str, *records: dict[str, Any], headers: dict[str, str] = JSON) -> list[dict]:
    answer = http.post(f"/topics/{topic}", json={"records": records}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.kafka.v2+json"
    return answer.json()["offsets"]


def test_json_is_stored_canonically_under_the_log_key(http: httpx.Client, store: LocalStore, system: str) -> None:
    key = f"{system}.Thing.Stream"
    body = '{"records": [{"value": {  "result" : 1.50, "Datastream": {"@iot.id": 1, "name": "KEY"}, "t": "\\u00fc"}}]}'
    answer = http.post(f"/topics/{system}.int", content=body.replace("KEY", key), headers=JSON)
    place = answer.json()["offsets"][0]
    (record,) = stored(store.log, f"{system}.int")
    expected = '{"result":1.5,"Datastream":{"@iot.id":1,"name":"KEY"},"t":"ü"}'.replace("KEY", key)
    assert record.value == expected.encode()
    assert record.key == key.encode()
    assert record.partition == place["partition"] == partition_for(key.encode(), 3)
    assert record.offset == place["offset"] == 0
    assert (place["error_code"], place["error"]) == (None, None)


def test_binary_keeps_the_bytes(http: httpx.Client, store: LocalStore, system: str) -> None:
    value = json.dumps(observation(1), indent=2).encode()
    prefixed = b"\0\0\0\0\x07" + value
    post(
        http,
        f"{system}.int",
        {"key": b64(b"k"), "value": b64(value)},
        {"key": b64(b"k"), "value": b64(prefixed)},
        headers=BINARY,
    )
    assert [(r.key, r.value) for r in stored(store.log, f"{system}.int")] == [(b"k", value), (b"k", prefixed)]


def test_a_partition_can_be_chosen(http: httpx.Client, store: LocalStore, system: str) -> None:
    answer = http.post(
        f"/topics/{system}.int/partitions/2", json={"records": [{"value": observation(1)}]}, headers=JSON
    )
    assert answer.json()["offsets"][0]["partition"] == 2
    (chosen, wrong) = post(
        http, f"{system}.int", {"value": observation(1), "partition": 1}, {"value": observation(1), "partition": 3}
    )
    assert chosen["partition"] == 1
    assert wrong["error_code"] == 1
    answer = http.post(
        f"/topics/{system}.int/partitions/3", json={"records": [{"value": observation(1)}]}, headers=JSON
    )
    assert (answer.status_code, answer.json()["error_code"]) == (404, 40402)


def test_one_bad_record_spoils_no_other(http: httpx.Client, store: LocalStore, system: str) -> None:
    good = json.dumps(observation(1))
    double = good.replace('"result": 1', '"result": 1, "result": 2')
    bodies = [good, "[]", "null", double, '"text"', good.replace('"result": 1', '"result": 1e999'), good]
    body = '{"records": [' + ",".join(f'{{"value": {value}}}' for value in bodies) + "]}"
    offsets = http.post(f"/topics/{system}.int", content=body, headers=JSON).json()["offsets"]
    assert [o["error_code"] for o in offsets] == [None, 1, 1, 1, 1, 1, None]
    assert "stands twice" in offsets[3]["error"]
    assert len(stored(store.log, f"{system}.int")) == 2


def test_large_values_are_refused_by_record_and_by_body(http: httpx.Client, system: str) -> None:
    large, small = post(http, f"{system}.int", {"value": observation("x" * 1_000_000)}, {"value": observation(1)})
    assert (large["error_code"], large["code"]) == (1, "record_too_large")
    assert small["error_code"] is None
    answer = http.post(f"/topics/{system}.int", content=b'{"records": [' + b" " * 9_000_000, headers=JSON)
    assert (answer.status_code, answer.json()["error_code"]) == (422, 42201)


def test_only_ts_id_of_the_senders_claims_is_kept(http: httpx.Client, store: LocalStore, system: str) -> None:
    claims = [{"name": n, "value": b64(b"x")} for n in ("ts-grant", "TS-App", "ts-store", "trace")]
    post(http, f"{system}.int", {"value": observation(1), "headers": [*ts_id("id-1"), *claims]})
    post(http, f"{system}.int", {"value": observation(2)})
    first, second = stored(store.log, f"{system}.int")
    assert list(first.headers) == [("ts-id", b"id-1"), ("trace", b"x")]
    # a record that came without an id gets one
    assert [n for n, _ in second.headers] == ["ts-id"]
    assert len(second.headers[0][1]) == 36


def test_a_repeated_id_is_stored_once(http: httpx.Client, store: LocalStore, system: str) -> None:
    topic = f"{system}.int"
    one = {"value": observation(1), "headers": ts_id("one")}
    first = post(http, topic, one)
    again = post(http, topic, one, {"value": observation(2), "headers": ts_id("two")}, one)
    assert again[0] == again[2] == first[0]
    # another Datastream may use the same id
    post(http, topic, {"value": observation(1, "a.b.c.d.Thing.Other"), "headers": ts_id("one")})
    assert len(stored(store.log, topic)) == 3


def test_repeats_at_the_same_time(http: httpx.Client, store: LocalStore, system: str) -> None:
    records = [{"value": observation(i), "headers": ts_id(f"id-{i}")} for i in range(50)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(http, f"{system}.int", *records), range(16)))
    assert all(answer == answers[0] for answer in answers)
    assert len(stored(store.log, f"{system}.int")) == 50


def test_a_repeat_after_a_restart_is_found_on_the_log(store: LocalStore, system: str) -> None:
    records = [{"value": observation(i), "headers": ts_id(f"id-{i}")} for i in range(20)]
    answers = []
    for _ in range(2):
        server = DoorsServer(store)
        server.start()
        with httpx.Client(base_url=f"http://{server.address}", trust_env=False) as http:
            answers.append(post(http, f"{system}.int", *records))
        server.stop()
    assert answers[0] == answers[1]
    assert len(stored(store.log, f"{system}.int")) == 20


def test_order_is_kept(http: httpx.Client, store: LocalStore, system: str) -> None:
    for at in range(10):
        post(http, f"{system}.int", *({"value": observation(at * 20 + i)} for i in range(20)))
    results = [json.loads(r.value or b"")["result"] for r in stored(store.log, f"{system}.int")]
    assert results == list(range(200))


def test_other_topics_take_any_json(http: httpx.Client, store: LocalStore, system: str) -> None:
    post(http, f"{system}.log", {"key": {"a": 1}, "value": {"event": "x"}}, {"key": "plain", "value": [1, 2]})
    assert [(r.key, r.value) for r in stored(store.log, f"{system}.log", 1)] == [
        (b'{"a":1}', b'{"event":"x"}'),
        (b"plain", b"[1,2]"),
    ]


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", JSON, 422, 42200),
        (b"[]", JSON, 422, 42200),
        (b'{"records": []}', JSON, 422, 42200),
        (b'{"records": [1]}', JSON, 422, 42200),
        (b"\xff", JSON, 422, 42200),
        (b'{"records": [{"value": 1}]}', {"Content-Type": "application/vnd.kafka.avro.v2+json"}, 415, 41500),
        (b'{"records": [{"value": 1}]}', {"Content-Type": "text/plain"}, 415, 41500),
    ],
)
def test_malformed_requests(
    http: httpx.Client, system: str, content: bytes, headers: dict[str, str], status: int, code: int
) -> None:
    answer = http.post(f"/topics/{system}.int", content=content, headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert answer.json()["fix"]


def test_binary_must_be_base64(http: httpx.Client, system: str) -> None:
    (offset, number) = post(http, f"{system}.int", {"value": "***"}, {"value": 5}, headers=BINARY)
    assert offset["error_code"] == number["error_code"] == 1
    assert "base64" in offset["error"]


def test_unknown_topics_and_paths(http: httpx.Client, system: str) -> None:
    answer = http.post(f"/topics/{system}.nope", json={"records": [{"value": 1}]}, headers=JSON)
    assert (answer.status_code, answer.json()["error_code"]) == (404, 40401)
    assert http.get("/topics/not a topic").status_code == 422
    assert http.get("/consumers/x/y/z").status_code == 404
    assert http.put(f"/topics/{system}.int").status_code == 405


def test_topics_are_described(http: httpx.Client, system: str) -> None:
    assert {f"{system}.int", f"{system}.ext", f"{system}.log", f"{system}.meta"} <= set(http.get("/topics").json())
    topic = http.get(f"/topics/{system}.int").json()
    assert (topic["name"], len(topic["partitions"])) == (f"{system}.int", 3)
    assert topic["partitions"][1]["replicas"] == [{"broker": 0, "leader": True, "in_sync": True}]
    assert http.get(f"/topics/{system}.int/partitions").json() == topic["partitions"]
    assert http.get(f"/topics/{system}.int/partitions/2").json()["partition"] == 2
    post(http, f"{system}.log", {"value": 1}, {"value": 2})
    assert http.get(f"/topics/{system}.log/partitions/0/offsets").json() == {"beginning_offset": 0, "end_offset": 2}
    assert http.get("/brokers").json() == {"brokers": [0]}
