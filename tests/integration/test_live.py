"""Last values and rates over a real embedded log."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_under_test import wait_until

from twinstack.log.embedded import EmbeddedLog
from twinstack.log.seam import TopicSpec
from twinstack.platform import live as module
from twinstack.platform.live import Description, Live

A, B = "cz.a.b.c", "cz.a.b.d"


def record(name: str, result: object) -> bytes:
    return json.dumps(
        {"phenomenonTime": "2026-11-24T12:00:00Z", "result": result, "Datastream": {"name": name}}
    ).encode()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    with contextlib.closing(EmbeddedLog(tmp_path / "log.sqlite")) as log:
        log.admin().create_topics([TopicSpec(f"{A}.int", 3), TopicSpec(f"{A}.ext", 1)])
        yield log


@contextlib.contextmanager
def following(log: EmbeddedLog) -> Iterator[Live]:
    live = Live(log, lambda system: {f"{system}.T.x": Description(7, "degC")})
    live.start()
    try:
        yield live
    finally:
        live.stop()


def send(log: EmbeddedLog, topic: str, name: str, results: list[object], key: bytes | None = b"") -> None:
    producer = log.producer()
    producer.send_many(topic, [record(name, r) for r in results], key=name.encode() if key == b"" else key)
    producer.close()


def values(live: Live) -> dict[str, object]:
    return {value.key: value.result for value in live.changes()[1]}


def test_values_of_before_and_after_the_start_with_their_description(log: EmbeddedLog) -> None:
    send(log, f"{A}.int", f"{A}.T.x", [1, 2])
    with following(log) as live:
        assert wait_until(lambda: values(live) == {f"{A}.int:{A}.T.x": 2}, 10)
        assert live.rates()[f"{A}.int"] == 0  # they came before
        send(log, f"{A}.int", f"{A}.T.x", [3])
        send(log, f"{A}.ext", f"{B}.T.y", ["cold"])
        assert wait_until(lambda: values(live) == {f"{A}.int:{A}.T.x": 3, f"{A}.ext:{B}.T.y": "cold"}, 10)
        assert live.rates()[f"{A}.int"] > 0
        first = live.changes()[1]
        assert [(v.system, v.way, v.description) for v in first] == [
            (A, "ext", None),
            (A, "int", Description(7, "degC")),
        ]


def test_only_what_changed_since_a_version(log: EmbeddedLog) -> None:
    with following(log) as live:
        send(log, f"{A}.int", f"{A}.T.x", [1])
        send(log, f"{A}.int", f"{A}.T.y", [1])
        assert wait_until(lambda: len(values(live)) == 2, 10)
        version, _ = live.changes()
        assert live.changes(version) == (version, [])
        send(log, f"{A}.int", f"{A}.T.y", [2])
        assert wait_until(lambda: [v.name for v in live.changes(version)[1]] == [f"{A}.T.y"], 10)


def test_a_topic_that_appears_is_followed_without_a_gap(log: EmbeddedLog) -> None:
    with following(log) as live:
        send(log, f"{A}.int", f"{A}.T.x", [1])
        assert wait_until(lambda: len(values(live)) == 1, 10)
        log.admin().create_topics([TopicSpec(f"{B}.int", 3)])
        send(log, f"{B}.int", f"{B}.T.x", [5])
        send(log, f"{A}.int", f"{A}.T.x", [2])
        assert wait_until(lambda: values(live) == {f"{A}.int:{A}.T.x": 2, f"{B}.int:{B}.T.x": 5}, 10)


def test_the_originals_keys_hide_no_datastream(log: EmbeddedLog) -> None:
    with following(log) as live:
        for name in ("x", "y"):
            send(log, f"{A}.ext", f"{A}.T.{name}", [1], key=b'{"name": "T"}')
        send(log, f"{A}.ext", f"{A}.T.z", [1], key=None)
        assert wait_until(lambda: len(values(live)) == 3, 10)


def test_poison_is_no_value_and_no_end(log: EmbeddedLog) -> None:
    with following(log) as live:
        producer = log.producer()
        producer.send_many(f"{A}.ext", [b"not json", b"\xff", b"[]", record(f"{A}.T.x", 4)], key=b"k")
        producer.close()
        assert wait_until(lambda: values(live) == {f"{A}.ext:{A}.T.x": 4}, 10)


def test_far_behind_it_goes_to_the_end_and_counts_what_it_left_out(log: EmbeddedLog, monkeypatch) -> None:
    monkeypatch.setattr(module, "_BEHIND_RECORDS_MAX", 500)
    monkeypatch.setattr(module, "_POLL_RECORDS_MAX", 10)
    with following(log) as live:
        send(log, f"{A}.ext", f"{A}.T.x", [0])
        assert wait_until(lambda: len(values(live)) == 1, 10)
        for n in range(20):
            send(log, f"{A}.ext", f"{A}.T.x", list(range(n * 1_000, (n + 1) * 1_000)))
        assert wait_until(lambda: values(live) == {f"{A}.ext:{A}.T.x": 19_999}, 20)
        assert live.rates()[f"{A}.ext"] * module.WINDOW_S > 19_000
