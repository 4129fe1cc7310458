"""Transactions: several topics and the group's offsets, all or nothing; one owner per id."""

from __future__ import annotations

import os

import pytest
from log_backends import SETTLE_S, wait_for
from log_helpers import flatten, nothing_comes, read, write

from twinstack.core.errors import Fenced, InvalidInput, RecordTooLarge
from twinstack.core.ids import new_uid
from twinstack.log.partitioner import partition_for
from twinstack.log.seam import Admin, OutRecord, TopicPartition


@pytest.fixture
def transactional_id() -> str:
    return f"contract-{new_uid()}"


def test_several_topics_and_offsets_are_one(topic: str, wide: str, group: str, transactional_id: str, opened) -> None:
    source = TopicPartition(topic, 0)
    transaction = opened.transaction(transactional_id)
    transaction.send(OutRecord(topic, b"one", b"k", [("h", b"1")], 1_700_000_000_000))
    values = [b"%d" % n for n in range(100)]
    transaction.send_many(wide, [*values, None], [*values, b"gone"], [(("n", b"x"),)] + [()] * 100)
    assert nothing_comes(opened.reader(topic))
    assert opened.consumer(group).committed([source]) == {}
    transaction.commit(group, {source: 42})
    (one,) = read(opened.reader(topic), 1)
    assert (one.key, one.value, one.headers, one.timestamp_ms) == (b"k", b"one", (("h", b"1"),), 1_700_000_000_000)
    seen = read(opened.reader(wide, partitions=4), 101)
    assert {r.key: r.partition for r in seen} == {k: partition_for(k, 4) for k in [*values, b"gone"]}
    assert {r.key: r.value for r in seen}[b"gone"] is None
    assert [r.value for r in seen if r.headers] == [b"0"]
    assert opened.consumer(group).committed([source]) == {source: 42}


def test_commits_follow_each_other(topic: str, transactional_id: str, opened) -> None:
    transaction = opened.transaction(transactional_id)
    for n in range(20):
        transaction.send(OutRecord(topic, b"%d" % n))
        transaction.commit()
    assert [int(r.value) for r in read(opened.reader(topic), 20)] == list(range(20))


def test_offsets_alone(topic: str, group: str, transactional_id: str, admin: Admin, opened) -> None:
    tp = TopicPartition(topic, 0)
    transaction = opened.transaction(transactional_id)
    transaction.commit(group, {tp: 7})
    assert opened.consumer(group).committed([tp]) == {tp: 7}
    wait_for(lambda: admin.group_offsets(group) == {tp: 7})  # a broker lists a group's first offsets a moment later


def test_an_empty_commit_is_nothing(transactional_id: str, opened) -> None:
    transaction = opened.transaction(transactional_id)
    transaction.commit()
    transaction.abort()


def test_aborted_records_are_never_seen(topic: str, group: str, transactional_id: str, opened) -> None:
    transaction = opened.transaction(transactional_id)
    transaction.send(OutRecord(topic, b"dropped"))
    transaction.abort()
    transaction.send(OutRecord(topic, b"kept"))
    transaction.commit(group, {TopicPartition(topic, 0): 1})
    reader = opened.reader(topic)
    assert [r.value for r in read(reader, 1)] == [b"kept"]
    assert nothing_comes(reader)


def test_readers_see_nothing_of_an_open_transaction(topic: str, transactional_id: str, admin: Admin, opened) -> None:
    tp = TopicPartition(topic, 0)
    transaction = opened.transaction(transactional_id)
    transaction.send_many(topic, [b"open"] * 10, [b"k"] * 10, [()] * 10)
    write(opened.producer(), topic, b"plain")
    reader = opened.reader(topic)
    early = [r.value for batch in [reader.poll(0.5)] for r in flatten(batch)]
    assert early in ([], [b"plain"])  # a broker makes readers wait before the open transaction
    assert admin.end_offsets([tp])[tp] <= admin.end_offsets([tp], committed=False)[tp]
    transaction.commit()
    rest = [r.value for r in read(reader, 11 - len(early))]
    assert sorted(early + rest) == sorted([b"open"] * 10 + [b"plain"])
    assert nothing_comes(reader)
    wait_for(lambda: admin.end_offsets([tp]) == admin.end_offsets([tp], committed=False))


def test_a_second_opener_fences_the_first(topic: str, group: str, transactional_id: str, opened) -> None:
    tp = TopicPartition(topic, 0)
    first = opened.transaction(transactional_id)
    first.send(OutRecord(topic, b"first"))
    second = opened.transaction(transactional_id)
    with pytest.raises(Fenced):
        first.commit(group, {tp: 1})
    second.send(OutRecord(topic, b"second"))
    second.commit(group, {tp: 2})
    with pytest.raises(Fenced):
        first.send(OutRecord(topic, b"first again"))
        first.commit(group, {tp: 3})
    reader = opened.reader(topic)
    assert [r.value for r in read(reader, 1)] == [b"second"]
    assert nothing_comes(reader)
    assert opened.consumer(group).committed([tp]) == {tp: 2}


def test_other_ids_are_not_fenced(topic: str, transactional_id: str, opened) -> None:
    one, two = opened.transaction(f"{transactional_id}.1"), opened.transaction(f"{transactional_id}.2")
    for transaction, value in ((one, b"1"), (two, b"2"), (one, b"3")):
        transaction.send(OutRecord(topic, value))
        transaction.commit()
    assert [r.value for r in read(opened.reader(topic), 3)] == [b"1", b"2", b"3"]


def test_reopening_after_close(topic: str, transactional_id: str, opened) -> None:
    for value in (b"1", b"2"):
        transaction = opened.transaction(transactional_id)
        transaction.send(OutRecord(topic, value))
        transaction.commit()
        transaction.send(OutRecord(topic, b"never committed"))
        transaction.close()
        transaction.close()
    reader = opened.reader(topic)
    assert [r.value for r in read(reader, 2)] == [b"1", b"2"]
    assert nothing_comes(reader)


def test_negative_offsets_are_refused_and_nothing_is_committed(
    topic: str, group: str, transactional_id: str, opened
) -> None:
    tp = TopicPartition(topic, 0)
    transaction = opened.transaction(transactional_id)
    transaction.send(OutRecord(topic, b"v"))
    with pytest.raises(InvalidInput):
        transaction.commit(group, {tp: -1001})
    transaction.abort()
    assert nothing_comes(opened.reader(topic))
    assert opened.consumer(group).committed([tp]) == {}
    transaction.send(OutRecord(topic, b"then"))
    transaction.commit(group, {tp: 1})
    assert [r.value for r in read(opened.reader(topic), 1)] == [b"then"]


def test_a_record_too_large_is_refused_when_sent(topic: str, transactional_id: str, opened) -> None:
    """Refused by the log at commit it would abort every retry for ever."""
    transaction = opened.transaction(transactional_id)
    with pytest.raises(RecordTooLarge):
        transaction.send(OutRecord(topic, os.urandom(3 * 1024 * 1024)))
    transaction.abort()
    transaction.send(OutRecord(topic, b"fits"))
    transaction.commit()
    assert [r.value for r in read(opened.reader(topic), 1)] == [b"fits"]


def test_twenty_thousand_outputs_in_one_transaction(wide: str, group: str, transactional_id: str, opened) -> None:
    tp = TopicPartition(wide, 0)
    values = [b"%d" % n for n in range(20_000)]
    transaction = opened.transaction(transactional_id)
    transaction.send_many(wide, values, [b"key-%d" % (n % 50) for n in range(20_000)], [()] * 20_000)
    transaction.commit(group, {tp: 20_000})
    seen = read(opened.reader(wide, partitions=4), 20_000)
    assert sorted(r.value for r in seen) == sorted(values)
    for key in range(50):
        assert [int(r.value) for r in seen if r.key == b"key-%d" % key] == list(range(key, 20_000, 50))


def test_a_transaction_wakes_waiting_readers(topic: str, transactional_id: str, opened) -> None:
    reader = opened.reader(topic)
    assert nothing_comes(reader, 0.5)
    transaction = opened.transaction(transactional_id)
    transaction.send(OutRecord(topic, b"v"))
    transaction.commit()
    assert [r.value for r in read(reader, 1, SETTLE_S)] == [b"v"]


def test_records_that_do_not_fit_all_are_refused_all(topic: str, transactional_id: str, opened) -> None:
    """Whoever sends one by one what was refused together must not send a part of it twice."""
    transaction = opened.transaction(transactional_id)
    transaction.send(OutRecord(topic, b"before"))
    large = [b"%03d" % n + b"x" * (800 << 10) for n in range(50)]
    try:
        transaction.send_many(topic, large, [b"k"] * 50, [()] * 50)
    except RecordTooLarge:
        transaction.send(OutRecord(topic, b"after"))
        transaction.commit()
        assert [r.value for r in read(opened.reader(topic), 2)] == [b"before", b"after"]
    else:  # a log without a limit for the whole
        transaction.abort()
