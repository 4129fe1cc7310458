"""Records arrive as they were sent: partition, order, key, value, headers, timestamp; deliveries are reported."""

from __future__ import annotations

import os
import time

import pytest
from log_backends import SETTLE_S
from log_helpers import nothing_comes, read, write

from twinstack.core.errors import RecordTooLarge, Undelivered
from twinstack.core.ids import new_uid
from twinstack.log.partitioner import partition_for
from twinstack.log.seam import Admin, Delivery, OutRecord, TopicPartition, TopicSpec


def test_keys_choose_the_partition_by_murmur2(wide: str, opened) -> None:
    producer = opened.producer()
    keys = [f"key-{n}".encode() for n in range(50)] + [b"\x00\xff", "ümlaut".encode()]
    for key in keys:
        producer.send(OutRecord(wide, b"v", key))
    producer.flush(SETTLE_S)
    seen = read(opened.reader(wide, partitions=4), len(keys))
    assert {record.key: record.partition for record in seen} == {key: partition_for(key, 4) for key in keys}


def test_a_partition_can_be_given(wide: str, opened) -> None:
    producer = opened.producer()
    for partition in range(4):
        producer.send(OutRecord(wide, b"%d" % partition, b"same", partition=partition))
    producer.flush(SETTLE_S)
    seen = read(opened.reader(wide, partitions=4), 4)
    assert sorted((record.partition, record.value) for record in seen) == [(p, b"%d" % p) for p in range(4)]


def test_records_without_key_use_every_partition(wide: str, opened) -> None:
    producer = opened.producer()
    for n in range(400):
        producer.send(OutRecord(wide, b"%d" % n))
        if n % 20 == 0:
            producer.flush(SETTLE_S)
    producer.flush(SETTLE_S)
    seen = read(opened.reader(wide, partitions=4), 400)
    assert {record.partition for record in seen} == {0, 1, 2, 3}
    assert sorted(int(record.value) for record in seen) == list(range(400))


def test_order_of_a_key_is_kept(wide: str, opened) -> None:
    producer = opened.producer()
    for n in range(600):
        producer.send(OutRecord(wide, b"%d" % n, b"key-%d" % (n % 7)))
    producer.flush(SETTLE_S)
    seen = read(opened.reader(wide, partitions=4), 600)
    for key in range(7):
        assert [int(r.value) for r in seen if r.key == b"key-%d" % key] == list(range(key, 600, 7))


def test_offsets_count_from_zero(topic: str, opened) -> None:
    write(opened.producer(), topic, *(b"%d" % n for n in range(10)))
    seen = read(opened.reader(topic), 10)
    assert [record.offset for record in seen] == list(range(10))


def test_a_given_timestamp_is_kept_and_the_default_is_now(topic: str, opened) -> None:
    now_ms = time.time_ns() // 1_000_000
    producer = opened.producer()
    producer.send(OutRecord(topic, b"given", timestamp_ms=now_ms - 3_600_000))
    producer.send(OutRecord(topic, b"now"))
    producer.flush(SETTLE_S)
    given, default = read(opened.reader(topic), 2)
    assert given.timestamp_ms == now_ms - 3_600_000
    assert abs(default.timestamp_ms - now_ms) < 60_000


def test_headers_keep_order_and_repetition(topic: str, opened) -> None:
    headers = [("b", b"1"), ("a", b""), ("b", b"\x00\xff"), ("ü", b"2")]
    producer = opened.producer()
    producer.send(OutRecord(topic, b"with", headers=headers))
    producer.send(OutRecord(topic, b"without"))
    producer.flush(SETTLE_S)
    with_headers, without = read(opened.reader(topic), 2)
    assert with_headers.headers == tuple(headers)
    assert without.headers == ()


@pytest.mark.parametrize("value", [None, b"", b"\x00", bytes(range(256)), b"\n", b"null", os.urandom(100_000)])
@pytest.mark.parametrize("key", [None, b"", b"\x00\xff", b"k"])
def test_values_and_keys_are_bytes(topic: str, opened, key: bytes | None, value: bytes | None) -> None:
    """None is a tombstone, b'' is an empty value: two different things."""
    write(opened.producer(), topic, value, key=key)
    (record,) = read(opened.reader(topic), 1)
    assert (record.key, record.value) == (key, value)


def test_send_many(wide: str, opened) -> None:
    producer = opened.producer()
    values = [b"%d" % n for n in range(1_000)]
    keys = [b"key-%d" % (n % 11) if n % 10 else None for n in range(1_000)]
    headers = [(("n", b"%d" % n),) if n % 3 == 0 else () for n in range(1_000)]
    producer.send_many(wide, values, keys=keys, headers=headers)
    producer.send_many(wide, [b"one", b"two"], key=b"shared")
    producer.flush(SETTLE_S)
    seen = read(opened.reader(wide, partitions=4), 1_002)
    by_value = {record.value: record for record in seen}
    assert len(by_value) == 1_002
    for value, key, wanted in zip(values, keys, headers, strict=True):
        assert by_value[value].key == key
        assert by_value[value].headers == tuple(wanted)
        assert key is None or by_value[value].partition == partition_for(key, 4)
    assert [r.value for r in seen if r.key == b"shared"] == [b"one", b"two"]


def test_deliveries_are_reported_once_per_record(wide: str, opened) -> None:
    producer = opened.producer()
    reports: list[Delivery | Exception] = []
    for n in range(100):
        producer.send(OutRecord(wide, b"%d" % n, b"%d" % n), reports.append)
    producer.send_many(wide, [b"x"] * 50, keys=[b"%d" % n for n in range(50)], on_delivery=reports.append)
    producer.flush(SETTLE_S)
    producer.poll()
    assert len(reports) == 150
    assert all(isinstance(report, Delivery) for report in reports)
    seen = read(opened.reader(wide, partitions=4), 150)
    assert sorted((r.partition, r.offset) for r in reports) == sorted((r.partition, r.offset) for r in seen)
    assert {r.topic for r in reports} == {wide}


def test_poll_runs_callbacks_without_flush(topic: str, opened) -> None:
    producer = opened.producer()
    reports: list[Delivery | Exception] = []
    producer.send(OutRecord(topic, b"v"), reports.append)
    end = time.monotonic() + SETTLE_S
    ran = 0
    while not reports and time.monotonic() < end:
        ran += producer.poll()
        time.sleep(0.01)
    assert (len(reports), ran) == (1, 1)


def test_callbacks_of_one_partition_come_in_order(topic: str, opened) -> None:
    producer = opened.producer()
    offsets: list[int] = []
    for n in range(500):
        producer.send(OutRecord(topic, b"%d" % n), lambda report: offsets.append(report.offset))
    producer.flush(SETTLE_S)
    assert offsets == list(range(500))


def test_a_record_over_the_topics_limit_is_refused_and_named(admin: Admin, opened) -> None:
    topic = f"ts.contract.{new_uid()}"
    admin.create_topics([TopicSpec(topic, max_record_bytes=10_000)])
    producer = opened.producer()
    reports: list[Delivery | Exception] = []
    raised: list[Exception] = []
    for value in (b"small", os.urandom(20_000), b"small too"):
        try:
            producer.send(OutRecord(topic, value), reports.append)
        except RecordTooLarge as error:
            raised.append(error)
    if raised:
        producer.flush(SETTLE_S)
    else:
        with pytest.raises(Undelivered) as undelivered:
            producer.flush(SETTLE_S)
        assert undelivered.value.count == 1
    refused = raised + [report for report in reports if isinstance(report, Exception)]
    assert [type(error) for error in refused] == [RecordTooLarge]
    assert [r.value for r in read(opened.reader(topic), 2)] == [b"small", b"small too"]


def test_a_record_over_every_limit_is_refused(topic: str, opened) -> None:
    producer = opened.producer()
    reports: list[Delivery | Exception] = []
    with pytest.raises((RecordTooLarge, Undelivered)):
        producer.send(OutRecord(topic, os.urandom(3 * 1024 * 1024)), reports.append)
        producer.flush(SETTLE_S)
    assert all(isinstance(report, RecordTooLarge) for report in reports)
    assert nothing_comes(opened.reader(topic))


def test_twenty_thousand_records_are_exact(wide: str, admin: Admin, opened) -> None:
    producer = opened.producer()
    values = [b'{"n":%d,"pad":"%s"}' % (n, b"x" * (n % 90)) for n in range(20_000)]
    producer.send_many(wide, values, keys=[b"key-%d" % (n % 100) for n in range(20_000)])
    producer.flush(SETTLE_S)
    seen = read(opened.reader(wide, partitions=4), 20_000)
    assert sorted(r.value for r in seen) == sorted(values)
    position = {value: n for n, value in enumerate(values)}
    for key in range(100):
        order = [position[r.value] for r in seen if r.key == b"key-%d" % key]
        assert order == list(range(key, 20_000, 100))
    ends = admin.end_offsets([TopicPartition(wide, p) for p in range(4)])
    assert sum(ends.values()) == 20_000


def test_close_flushes_and_may_be_repeated(topic: str, log, opened) -> None:
    producer = log.producer()
    producer.send(OutRecord(topic, b"last"))
    producer.close(SETTLE_S)
    producer.close(SETTLE_S)
    assert [r.value for r in read(opened.reader(topic), 1)] == [b"last"]
