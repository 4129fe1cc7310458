"""Assigned consumers: starts, positions, seek, pause, and positions that are no longer on the log."""

from __future__ import annotations

import time
from functools import partial

import pytest
from log_backends import wait_for
from log_helpers import nothing_comes, read, write

from twinstack.core.errors import PositionLost, UnknownTopic
from twinstack.log.seam import EARLIEST, LATEST, Admin, OutRecord, TopicPartition, TopicSpec


def test_earliest_latest_and_an_offset(topic: str, opened) -> None:
    producer = opened.producer()
    write(producer, topic, b"0", b"1", b"2")
    latest = opened.reader(topic, LATEST)
    assert nothing_comes(latest, 1.0)
    from_two = opened.reader(topic, 2)
    write(producer, topic, b"3")
    assert [r.value for r in read(opened.reader(topic, EARLIEST), 4)] == [b"0", b"1", b"2", b"3"]
    assert [r.value for r in read(latest, 1)] == [b"3"]
    assert [r.value for r in read(from_two, 2)] == [b"2", b"3"]


def test_an_empty_topic_gives_nothing_within_the_timeout(topic: str, opened) -> None:
    reader = opened.reader(topic)
    reader.poll(0.5)
    started = time.monotonic()
    assert reader.poll(0.3) == []
    assert time.monotonic() - started < 3.0
    assert reader.poll(0) == []


def test_a_waiting_poll_is_woken_by_a_record(topic: str, opened) -> None:
    reader = opened.reader(topic)
    assert nothing_comes(reader, 0.5)
    write(opened.producer(), topic, b"wake")
    started = time.monotonic()
    assert [r.value for r in read(reader, 1)] == [b"wake"]
    assert time.monotonic() - started < 5.0


def test_position_follows_what_poll_gave(topic: str, opened) -> None:
    tp = TopicPartition(topic, 0)
    producer = opened.producer()
    write(producer, topic, b"0", b"1", b"2")
    reader = opened.reader(topic)
    batches = wait_for(lambda: reader.poll(0.5))
    assert reader.position(tp) == batches[-1].next_offset
    reader.seek(tp, 1)
    assert reader.position(tp) == 1
    assert reader.assignment() == [tp]


def test_records_max_bounds_a_poll(topic: str, opened) -> None:
    producer = opened.producer()
    producer.send_many(topic, [b"%d" % n for n in range(1_000)], key=b"k")
    producer.flush(30.0)
    reader = opened.reader(topic)
    values: list[bytes] = []
    while len(values) < 1_000:
        got = [value for batch in reader.poll(1.0, records_max=70) for value in batch.values]
        assert len(got) <= 70
        values += got
    assert values == [b"%d" % n for n in range(1_000)]


def test_next_offset_continues_without_gap_or_repetition(topic: str, opened) -> None:
    producer = opened.producer()
    producer.send_many(topic, [b"%d" % n for n in range(300)], key=b"k")
    producer.flush(30.0)
    position = 0
    values: list[bytes] = []
    while len(values) < 300:
        for batch in wait_for(partial(opened.reader(topic, position).poll, 1.0, records_max=64)):
            values += batch.values
            position = batch.next_offset
    assert values == [b"%d" % n for n in range(300)]


def test_seek_back_forward_and_to_the_ends(topic: str, opened) -> None:
    tp = TopicPartition(topic, 0)
    producer = opened.producer()
    write(producer, topic, *(b"%d" % n for n in range(10)))
    reader = opened.reader(topic)
    read(reader, 10)
    reader.seek(tp, 7)
    assert [r.value for r in read(reader, 3)] == [b"7", b"8", b"9"]
    reader.seek(tp, EARLIEST)
    assert read(reader, 10)[0].offset == 0
    reader.seek(tp, LATEST)
    assert nothing_comes(reader, 1.0)
    write(producer, topic, b"after")
    assert [r.value for r in read(reader, 1)] == [b"after"]


def test_seek_by_arrival_time(topic: str, admin: Admin, opened) -> None:
    tp = TopicPartition(topic, 0)
    base_ms = time.time_ns() // 1_000_000 - 600_000
    producer = opened.producer()
    for n in range(10):
        producer.send(OutRecord(topic, b"%d" % n, timestamp_ms=base_ms + n * 1_000))
    producer.flush(30.0)
    assert admin.offsets_at([tp], base_ms - 5) == {tp: 0}
    assert admin.offsets_at([tp], base_ms + 4_000) == {tp: 4}
    assert admin.offsets_at([tp], base_ms + 4_001) == {tp: 5}
    assert admin.offsets_at([tp], base_ms + 60_000) == {tp: 10}
    reader = opened.reader(topic, admin.offsets_at([tp], base_ms + 8_000)[tp])
    assert [r.value for r in read(reader, 2)] == [b"8", b"9"]


def test_paused_partitions_stay_silent(wide: str, opened) -> None:
    producer = opened.producer()
    reader = opened.reader(wide, partitions=4)
    paused = [TopicPartition(wide, 0), TopicPartition(wide, 1)]
    reader.pause(paused)
    for partition in range(4):
        producer.send(OutRecord(wide, b"%d" % partition, partition=partition))
    producer.flush(30.0)
    assert sorted(r.partition for r in read(reader, 2)) == [2, 3]
    assert nothing_comes(reader)
    reader.resume(paused)
    assert sorted(r.partition for r in read(reader, 2)) == [0, 1]


def test_seek_while_paused(topic: str, opened) -> None:
    tp = TopicPartition(topic, 0)
    write(opened.producer(), topic, b"0", b"1", b"2")
    reader = opened.reader(topic)
    read(reader, 3)
    reader.pause([tp])
    reader.seek(tp, 1)
    assert nothing_comes(reader)
    reader.resume([tp])
    assert [r.value for r in read(reader, 2)] == [b"1", b"2"]


def test_a_position_before_the_log_is_lost(topic: str, admin: Admin, opened) -> None:
    tp = TopicPartition(topic, 0)
    write(opened.producer(), topic, *(b"%d" % n for n in range(6)))
    admin.delete_records({tp: 4})
    reader = opened.reader(topic, 1)
    with pytest.raises(PositionLost):
        for _ in range(20):
            assert reader.poll(1.0) == []


def test_a_position_behind_the_log_is_lost(topic: str, opened) -> None:
    write(opened.producer(), topic, b"0")
    reader = opened.reader(topic, 1_000)
    with pytest.raises(PositionLost):
        for _ in range(20):
            assert reader.poll(1.0) == []


def test_a_new_assignment_replaces_the_old_one(topic: str, wide: str, opened) -> None:
    producer = opened.producer()
    reader = opened.reader(topic)
    reader.assign({TopicPartition(wide, 2): EARLIEST})
    write(producer, topic, b"old")
    producer.send(OutRecord(wide, b"new", partition=2))
    producer.flush(30.0)
    assert [r.value for r in read(reader, 1)] == [b"new"]
    assert reader.assignment() == [TopicPartition(wide, 2)]
    assert nothing_comes(reader)


def test_a_topic_made_again_under_a_reader_is_not_read_from_the_old_position(admin: Admin, topic: str, opened) -> None:
    """Filled past that position at once: the offsets look the same and mean other records."""
    write(opened.producer(), topic, b"old 0", b"old 1")
    reader = opened.reader(topic, EARLIEST)
    assert [r.value for r in read(reader, 2)] == [b"old 0", b"old 1"]
    admin.delete_topics([topic])
    admin.create_topics([TopicSpec(topic)])
    write(opened.producer(), topic, b"new 0", b"new 1", b"new 2")
    with pytest.raises((PositionLost, UnknownTopic)):
        for _ in range(20):
            assert not reader.poll(0.5), "records of another topic as if they followed"
