from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from doors_helpers import JSON, V2, RestConsumer, observation, ts_id

from services.doors import DoorsServer
from twinstack.bridges.kafka_rest import Caller
from twinstack.client.local import LocalStore
from twinstack.core import limits
from twinstack.core.errors import PermissionDenied
from twinstack.core.ids import new_uid
from twinstack.log.seam import OutRecord


@pytest.fixture
def group() -> str:
    return f"g-{new_uid()}"


def produce(http: httpx.Client, topic: str, *results: object) -> None:
    records = [{"value": observation(r), "headers": ts_id(f"id-{r}")} for r in results]
    assert http.post(f"/topics/{topic}", json={"records": records}, headers=JSON).status_code == 200


def test_both_formats(http: httpx.Client, store: LocalStore, system: str, group: str) -> None:
    produce(http, f"{system}.int", 1.5)
    producer = store.log.producer()
    producer.send(OutRecord(f"{system}.int", b"\xff no json", b"\xfe", (), 1_700_000_000_000, 0))
    producer.close()
    by_format = {}
    for form in ("json", "binary"):
        consumer = RestConsumer(http, f"{group}-{form}", format=form)
        consumer.subscribe(f"{system}.int")
        records = consumer.records()
        while len(records) < 2:
            records += consumer.records()
        by_format[form] = sorted(records, key=lambda r: r["timestamp"])
        consumer.delete()
    (odd, good), (odd_raw, good_raw) = by_format["json"], by_format["binary"]
    assert good["key"] == "a.b.c.d.Thing.Stream"
    assert good["value"]["result"] == 1.5
    assert good["topic"] == f"{system}.int"
    assert base64.b64decode(good_raw["key"]) == b"a.b.c.d.Thing.Stream"
    assert b'"result":1.5' in base64.b64decode(good_raw["value"])
    assert base64.b64decode(good_raw["headers"][0]["value"]) == b"id-1.5"
    # what is not JSON stops no reader
    assert odd["value"] == {"base64": base64.b64encode(b"\xff no json").decode()}
    assert base64.b64decode(odd_raw["value"]) == b"\xff no json"
    assert (odd["partition"], odd["timestamp"]) == (0, 1_700_000_000_000)


def test_offsets_are_committed_by_hand(http: httpx.Client, system: str, group: str) -> None:
    topic = f"{system}.log"
    produce(http, topic, *range(10))
    manual = {"format": "json", "auto.commit.enable": "false"}
    first = RestConsumer(http, group, **manual)
    first.subscribe(topic)
    assert [r["value"]["result"] for r in first.records()] == list(range(10))
    first.delete()

    second = RestConsumer(http, group, **manual)
    second.subscribe(topic)
    records = second.records()
    assert len(records) == 10  # nothing was committed
    partitions = {"partitions": [{"topic": topic, "partition": 0}]}
    asked = http.request("GET", f"{second.base}/offsets", json=partitions, headers=V2)
    assert asked.json() == {"offsets": []}
    # the offset of the last record that was processed
    assert second.post("offsets", {"offsets": [{"topic": topic, "partition": 0, "offset": 3}]}).status_code == 204
    asked = http.request("GET", f"{second.base}/offsets", json=partitions, headers=V2)
    assert asked.json()["offsets"][0]["offset"] == 4
    second.delete()

    third = RestConsumer(http, group, **manual)
    third.subscribe(topic)
    assert [r["value"]["result"] for r in third.records()] == [4, 5, 6, 7, 8, 9]
    assert third.post("offsets").status_code == 204  # all that was given
    third.delete()

    fourth = RestConsumer(http, group, **manual)
    fourth.subscribe(topic)
    assert fourth.records(timeout_ms=100) == []
    fourth.delete()


def test_a_commit_covers_what_was_given_not_what_was_fetched(http: httpx.Client, system: str, group: str) -> None:
    topic = f"{system}.log"
    produce(http, topic, *range(10))
    first = RestConsumer(http, group, format="json", **{"auto.commit.enable": False})
    first.subscribe(topic)
    given = first.records(max_bytes=700)
    assert 0 < len(given) < 10
    assert first.post("offsets").status_code == 204
    first.delete()
    second = RestConsumer(http, group, format="json")
    second.subscribe(topic)
    rest = second.records()
    assert [r["value"]["result"] for r in given + rest] == list(range(10))
    second.delete()


def test_automatic_commit_happens_at_the_next_read(http: httpx.Client, system: str, group: str) -> None:
    topic = f"{system}.log"
    produce(http, topic, 1, 2)
    first = RestConsumer(http, group, format="json")
    first.subscribe(topic)
    assert len(first.records()) == 2
    first.delete()
    second = RestConsumer(http, group, format="json")
    second.subscribe(topic)
    assert len(second.records()) == 2
    assert second.records(timeout_ms=0) == []
    second.delete()
    third = RestConsumer(http, group, format="json")
    third.subscribe(topic)
    assert third.records(timeout_ms=100) == []
    third.delete()


def test_latest_means_the_subscription(http: httpx.Client, system: str, group: str) -> None:
    topic = f"{system}.log"
    produce(http, topic, 1)
    first = RestConsumer(http, group, format="json", **{"auto.offset.reset": "latest"})
    first.subscribe(topic)
    produce(http, topic, 2)
    first.delete()  # died before its first read
    second = RestConsumer(http, group, format="json", **{"auto.offset.reset": "latest"})
    second.subscribe(topic)
    assert [r["value"]["result"] for r in second.records()] == [2]
    second.delete()


def test_assignments_and_positions(http: httpx.Client, system: str, group: str) -> None:
    topic = f"{system}.log"
    produce(http, topic, *range(5))
    consumer = RestConsumer(http, group, format="json")
    place = {"topic": topic, "partition": 0}
    assert consumer.post("assignments", {"partitions": [place]}).status_code == 204
    assert http.get(f"{consumer.base}/assignments").json() == {"partitions": [place]}
    for body, path, expected in (
        ({"offsets": [{**place, "offset": 3}]}, "positions", [3, 4]),
        ({"partitions": [place]}, "positions/beginning", [0, 1, 2, 3, 4]),
        ({"partitions": [place]}, "positions/end", []),
    ):
        assert consumer.post(path, body).status_code == 204
        assert [r["value"]["result"] for r in consumer.records(timeout_ms=200)] == expected
    assert consumer.post("subscription", {"topics": [topic]}).status_code == 409
    consumer.delete()


def test_a_long_poll_ends_with_the_record(http: httpx.Client, server: DoorsServer, system: str, group: str) -> None:
    consumer = RestConsumer(http, group, format="json", **{"auto.offset.reset": "latest"})
    consumer.subscribe(f"{system}.log")
    began_s = time.monotonic()

    def later() -> None:
        time.sleep(0.3)
        with httpx.Client(base_url=f"http://{server.address}", trust_env=False) as other:
            produce(other, f"{system}.log", 1)

    thread = threading.Thread(target=later)
    thread.start()
    assert len(consumer.records(timeout_ms=20_000)) == 1
    assert 0.2 < time.monotonic() - began_s < 5
    thread.join()
    consumer.delete()


def test_two_members_share_a_group(http: httpx.Client, system: str, group: str) -> None:
    topic = f"{system}.int"
    members = [RestConsumer(http, group, format="json") for _ in range(2)]
    for member in members:
        member.subscribe(topic)
    records = [{"value": observation(i, f"a.b.c.d.Thing.S{i}")} for i in range(60)]
    assert http.post(f"/topics/{topic}", json={"records": records}, headers=JSON).status_code == 200
    got: list[list[int]] = [[], []]
    until_s = time.monotonic() + 20
    while sum(map(len, got)) < 60 and time.monotonic() < until_s:
        for mine, member in zip(got, members, strict=True):
            mine += [r["value"]["result"] for r in member.records(timeout_ms=100)]
    assert all(got)
    assert set(got[0] + got[1]) == set(range(60))
    for member in members:
        member.delete()


def test_instances_are_found_by_their_owner_only(
    http: httpx.Client, store: LocalStore, system: str, group: str
) -> None:
    def by_header(scope: dict, action: str, name: str) -> Caller:
        who = dict(scope["headers"]).get(b"authorization", b"").decode()
        if who == "Bearer nobody" or (action == "read" and name.endswith(".ext")):
            raise PermissionDenied("No.", fix="Ask.")
        return Caller(who, "g.uid.")

    server = DoorsServer(store, authorize=by_header)
    server.start()
    at = {"base_url": f"http://{server.address}", "trust_env": False}
    with (
        httpx.Client(headers={"Authorization": "Bearer a"}, **at) as a,
        httpx.Client(headers={"Authorization": "Bearer b"}, **at) as b,
        httpx.Client(headers={"Authorization": "Bearer nobody"}, **at) as nobody,
    ):
        mine = RestConsumer(a, group)
        mine.subscribe(f"{system}.log")
        answer = b.get(f"{mine.base}/records")
        assert (answer.status_code, answer.json()["error_code"]) == (404, 40403)
        assert b.delete(mine.base).status_code == 404
        refused = mine.post("subscription", {"topics": [f"{system}.ext"]})
        assert (refused.status_code, refused.json()["error_code"]) == (403, 40301)
        assert nobody.post(f"/consumers/{group}", json={}).status_code == 403
        assert nobody.get("/topics").status_code == 403
        answer = nobody.post(f"/topics/{system}.log", json={"records": [{"value": 1}]}, headers=JSON)
        assert answer.status_code == 403
        # the group on the log is the credential's own
        produce(a, f"{system}.log", 1)
        RestConsumer.records(mine)
        mine.post("offsets", {"offsets": [{"topic": f"{system}.log", "partition": 0, "offset": 0}]})
        assert list(store.log.admin().group_offsets(f"g.uid.{group}").values()) == [1]
    server.stop()


def test_names_limits_and_errors(http: httpx.Client, system: str, group: str) -> None:
    named = RestConsumer(http, group, name="me")
    again = http.post(f"/consumers/{group}", json={"name": "me"})
    assert (again.status_code, again.json()["error_code"]) == (409, 40902)
    answer = http.get(f"{named.base}/records")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    unknown = named.post("subscription", {"topics": [f"{system}.nope"]})
    assert (unknown.status_code, unknown.json()["error_code"]) == (404, 40401)
    for path, body in (
        ("subscription", {}),
        ("subscription", {"topic_pattern": ".*"}),
        ("assignments", {"partitions": [{"topic": "x"}]}),
        ("offsets", {"offsets": [{"topic": "x", "partition": 0, "offset": -1}]}),
        ("positions", []),
    ):
        assert named.post(path, body).status_code == 422, path
    assert http.get(f"{named.base}/records", params={"timeout": "soon"}).status_code == 422
    for config in (
        {"format": "avro"},
        {"auto.offset.reset": "middle"},
        {"auto.commit.enable": "maybe"},
        {"name": "a/b"},
        {"consumer.request.timeout.ms": "x"},
    ):
        assert http.post(f"/consumers/{group}", json=config).status_code == 422, config
    others = [RestConsumer(http, group) for _ in range(limits.REST_CONSUMERS_PER_CALLER_MAX - 1)]
    full = http.post(f"/consumers/{group}", json={})
    assert (full.status_code, full.headers["retry-after"]) == (503, "1")
    for consumer in [named, *others]:
        consumer.delete()
    gone = http.get(f"{named.base}/records")
    assert (gone.status_code, gone.json()["error_code"]) == (404, 40403)


@pytest.fixture
def impatient(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr(limits, "REST_CONSUMER_IDLE_MS", 300)
    server = DoorsServer(store)
    server.start()
    with httpx.Client(base_url=f"http://{server.address}", trust_env=False) as http:
        yield http
    server.stop()


def test_instances_expire(impatient: httpx.Client, system: str, group: str) -> None:
    consumer = RestConsumer(impatient, group)
    consumer.subscribe(f"{system}.log")
    consumer.records(timeout_ms=800)  # a long poll is no idleness
    assert consumer.records(timeout_ms=0) == []
    time.sleep(1.2)
    assert impatient.get(f"{consumer.base}/records").status_code == 404


def test_a_stopping_server_waits_for_no_long_poll(store: LocalStore, system: str, group: str) -> None:
    server = DoorsServer(store)
    server.start()
    with httpx.Client(base_url=f"http://{server.address}", trust_env=False, timeout=30) as http:
        consumer = RestConsumer(http, group)
        consumer.subscribe(f"{system}.log")

        def wait() -> None:
            with pytest.raises(httpx.HTTPError):
                http.get(f"{consumer.base}/records", params={"timeout": 25_000}).raise_for_status()

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        began_s = time.monotonic()
        server.stop()
        assert time.monotonic() - began_s < 5
        thread.join(5)
