"""Joining, retention, compaction and deletion change how the log lies on disk, never what it says."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twinstack.core.errors import PositionLost
from twinstack.core.limits import RETENTION_MS_DEFAULT
from twinstack.log.embedded import EmbeddedLog
from twinstack.log.embedded.housekeeping import COMPACT_RECORDS_MIN, TOMBSTONE_MS_DEFAULT
from twinstack.log.packed.format import pack
from twinstack.log.packed.transport import Part
from twinstack.log.seam import EARLIEST, OutRecord, TopicPartition, TopicSpec

DAY_MS = 24 * 3600 * 1000
TP = TopicPartition("t", 0)


def append(log: EmbeddedLog, values: list, keys: list | None = None, when: int = 0, partition: int = 0) -> int:
    return log.append([Part("t", partition, pack(values, keys, None, when))], "test", 1)[0]


def contents(log: EmbeddedLog, start: int | str = EARLIEST, tp: TopicPartition = TP) -> list[tuple]:
    consumer = log.consumer()
    consumer.assign({tp: start})
    seen = []
    while batches := consumer.poll(0, records_max=700):
        for batch in batches:
            seen += zip(batch.offsets, batch.timestamps_ms, batch.keys, batch.values, batch.headers, strict=True)
    return seen


def rows(log: EmbeddedLog) -> int:
    connection = apsw.Connection(str(log.path), flags=apsw.SQLITE_OPEN_READONLY)
    return connection.execute("SELECT count(*) FROM batch").fetchone()[0]


@pytest.fixture
def log(open_log: Callable[..., EmbeddedLog]) -> EmbeddedLog:
    log = open_log()
    log.admin().create_topics([TopicSpec("t")])
    return log


def join(log: EmbeddedLog) -> None:
    log.housekeeping.join(log.catalog.place(TP))


def test_joining_changes_rows_not_records(log: EmbeddedLog, open_log: Callable[..., EmbeddedLog]) -> None:
    producer = log.producer()
    for n in range(500):
        headers = [("n", b"%d" % n)] if n % 5 == 0 else ()
        producer.send(OutRecord("t", b"%d" % n, b"k%d" % (n % 7) if n % 3 else None, headers, 1_000 + n))
        if n % 3 == 0:
            producer.flush(10)
    append(log, [b"large %d" % n for n in range(2_000)])
    for n in range(900):
        append(log, [b"%d" % n])
    before, rows_before = contents(log), rows(log)
    join(log)
    assert contents(log) == before
    assert rows(log) < rows_before / 20
    for start in (0, 1, 250, 499, 500, 2_499, 2_500, 3_399):
        assert contents(log, start) == before[start:]
    for n in range(100):
        append(log, [b"more %d" % n])
    join(log)
    assert [r[3] for r in contents(log)] == [r[3] for r in before] + [b"more %d" % n for n in range(100)]
    after = contents(log)
    assert contents(open_log()) == after


def test_joining_goes_on_where_it_stopped(log: EmbeddedLog, open_log: Callable[..., EmbeddedLog]) -> None:
    for n in range(1_500):
        append(log, [b"%d" % n])
    join(log)
    joined = log.catalog.place(TP).joined
    assert joined >= 1_000
    again = open_log()
    assert again.catalog.place(TP).joined == joined
    assert again.catalog.place(TP).loose_rows == rows(again) - 1


def test_a_reader_goes_on_while_rows_are_joined(log: EmbeddedLog) -> None:
    for n in range(1_200):
        append(log, [b"%d" % n])
    consumer = log.consumer()
    consumer.assign({TP: EARLIEST})
    values = [value for batch in consumer.poll(0, records_max=333) for value in batch.values]
    join(log)
    while batches := consumer.poll(0, records_max=100):
        values += [value for batch in batches for value in batch.values]
    assert values == [b"%d" % n for n in range(1_200)]


def test_retention_drops_whole_rows_that_are_old(log: EmbeddedLog, clock, open_log: Callable[..., EmbeddedLog]) -> None:
    for day in range(20):
        append(log, [b"%d" % day] * 300, when=clock() + day * DAY_MS)
    clock.ms += 20 * DAY_MS
    log.housekeeping.retain()
    kept = [r for r in range(20 * 300) if (r // 300) * DAY_MS >= 20 * DAY_MS - RETENTION_MS_DEFAULT]
    assert log.admin().beginning_offsets([TP]) == {TP: kept[0]}
    assert [r[0] for r in contents(log)] == kept
    assert rows(log) == len(kept) // 300
    with pytest.raises(PositionLost):
        contents(log, 0)
    clock.ms += 20 * DAY_MS
    log.housekeeping.retain()
    assert (rows(log), contents(log)) == (0, [])
    assert log.admin().beginning_offsets([TP]) == log.admin().end_offsets([TP]) == {TP: 6_000}
    log = open_log()
    assert append(log, [b"next"], when=clock()) == 6_000


def test_topics_have_their_own_retention(log: EmbeddedLog, clock) -> None:
    log.admin().create_topics([TopicSpec("short", retention_ms=1_000), TopicSpec("ever", retention_ms=-1)])
    for topic in ("short", "ever"):
        log.append([Part(topic, 0, pack([b"v"], None, None, clock()))], "test", 1)
    clock.ms += 365 * DAY_MS
    log.housekeeping.retain()
    assert contents(log, tp=TopicPartition("short", 0)) == []
    assert len(contents(log, tp=TopicPartition("ever", 0))) == 1


def test_deleted_records_leave_the_disk(log: EmbeddedLog, clock) -> None:
    for n in range(300):
        append(log, [b"%d" % n], when=clock())
    log.admin().delete_records({TP: 250})
    log.housekeeping.retain()
    assert rows(log) == 50
    assert [r[0] for r in contents(log)] == list(range(250, 300))


def test_deleted_topics_leave_the_disk(log: EmbeddedLog, open_log: Callable[..., EmbeddedLog]) -> None:
    for n in range(300):
        append(log, [b"%d" % n])
    log.commit_offsets("g", None, {TP: 5})
    log.admin().delete_topics(["t"])
    log = open_log()  # what a killed process left to do is done by the next
    assert rows(log) == 300
    log.housekeeping.remove_doomed()
    assert rows(log) == 0
    log.admin().create_topics([TopicSpec("t")])
    assert (contents(log), log.committed("g")) == ([], {})
    assert append(log, [b"new"]) == 0


def test_a_time_is_found_as_by_looking_at_every_record(log: EmbeddedLog) -> None:
    """Also with timestamps that go back, after joining, deleting and retention."""
    dice = random.Random(7)
    times: list[int] = []
    while len(times) < 3_000:
        count = dice.choice([1, 3, 300])
        some = [dice.randrange(0, 10_000) if dice.random() < 0.1 else len(times) * 3 for _ in range(count)]
        log.append([Part("t", 0, pack([b"v"] * len(some), None, None, some))], "test", 1)
        times += some

    def check() -> None:
        begin = log.catalog.place(TP).begin
        for wanted in [0, 1, 5_000, 8_999, 9_999, 10_000, 20_000, *(dice.randrange(0, 10_000) for _ in range(40))]:
            late = [offset for offset in range(begin, len(times)) if times[offset] >= wanted]
            assert log.admin().offsets_at([TP], wanted) == {TP: late[0] if late else len(times)}

    check()
    join(log)
    check()
    log.admin().delete_records({TP: 1_234})
    check()
    log.housekeeping.retain()
    check()


def test_compaction_keeps_the_last_of_each_key(clock, open_log: Callable[..., EmbeddedLog]) -> None:
    log = open_log()
    log.admin().create_topics([TopicSpec("t", cleanup="compact")])
    for n in range(COMPACT_RECORDS_MIN):
        append(log, [b"%d" % n], [b"k%d" % (n % 10)], when=clock())
    append(log, [None], [b"k3"], when=clock())
    log.housekeeping.retain()
    seen = contents(log)
    assert {r[2]: r[3] for r in seen} == {b"k%d" % k: (None if k == 3 else b"%d" % (490 + k)) for k in range(10)}
    assert [r[0] for r in seen] == [490, 491, 492, 494, 495, 496, 497, 498, 499, 500]
    assert rows(log) == 1
    assert contents(log, 300) == seen
    assert contents(log, 493) == seen[3:]
    clock.ms += TOMBSTONE_MS_DEFAULT + 1
    append(log, [b"v"] * COMPACT_RECORDS_MIN, [b"k0"] * COMPACT_RECORDS_MIN, when=clock())
    log.housekeeping.retain()
    assert b"k3" not in {r[2] for r in contents(log)}
    assert len(contents(log)) == 9
    end = log.admin().end_offsets([TP])
    log = open_log()
    assert log.admin().end_offsets([TP]) == end == {TP: 2 * COMPACT_RECORDS_MIN + 1}


def test_compaction_may_leave_nothing(clock, open_log: Callable[..., EmbeddedLog]) -> None:
    log = open_log()
    log.admin().create_topics([TopicSpec("t", cleanup="compact")])
    append(log, [None] * COMPACT_RECORDS_MIN, [b"k"] * COMPACT_RECORDS_MIN, when=clock())
    consumer = log.consumer()
    consumer.assign({TP: 3})
    clock.ms += TOMBSTONE_MS_DEFAULT + 1
    log.housekeeping.retain()
    assert rows(log) == 0
    assert consumer.poll(0) == []
    log = open_log()
    assert append(log, [b"v"], [b"k"]) == COMPACT_RECORDS_MIN
    assert [r[0] for r in contents(log)] == [COMPACT_RECORDS_MIN]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=40), min_size=1, max_size=30),
    st.integers(0, 100),
)
def test_compaction_and_joining_in_any_order(open_log: Callable[..., EmbeddedLog], batches: list, seed: int) -> None:
    """The newest value of each key is what a reader from the start ends with, whatever the background did."""
    log = open_log()
    log.admin().delete_topics(["t"])
    log.housekeeping.remove_doomed()
    log.admin().create_topics([TopicSpec("t", cleanup="compact")])
    dice = random.Random(seed)
    newest: dict[bytes, bytes | None] = {}
    written = 0
    for batch in batches:
        keys = [b"k%d" % key for key, _ in batch]
        values = [None if gone else b"%d" % (written + index) for index, (_, gone) in enumerate(batch)]
        append(log, values, keys, when=1_000)
        newest |= dict(zip(keys, values, strict=True))
        written += len(batch)
        if dice.random() < 0.2:
            join(log)
        if dice.random() < 0.2:
            log.housekeeping.compact(log.catalog.place(TP), 0)
    seen = contents(log)
    offsets = [r[0] for r in seen]
    assert offsets == sorted(set(offsets))
    assert {r[2]: r[3] for r in seen} == newest
    assert log.admin().end_offsets([TP]) == {TP: written}
    log.housekeeping.compact(log.catalog.place(TP), 0)
    assert sorted(r[2] for r in contents(log)) == sorted(newest)


def test_the_write_ahead_log_stays_bounded(open_log: Callable[..., EmbeddedLog], path) -> None:
    log = open_log()
    log.admin().create_topics([TopicSpec("t")])
    dice = random.Random(1)
    largest = 0
    for _ in range(200):
        append(log, [dice.randbytes(1_000_000)])
        largest = max(largest, path.with_name("log.sqlite-wal").stat().st_size)
    assert largest < 128 * 1024 * 1024
    assert len(contents(log)) == 200


def test_a_defect_in_a_step_does_not_end_the_others(
    open_log: Callable[..., EmbeddedLog], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Sessions, retention and joining go on; the defect stands in the log of the server."""
    log = open_log(background=True)
    calls: list[int] = []
    done = threading.Event()

    def silent() -> list[tuple[str, list[str]]]:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("a defect")
        done.set()
        return []

    monkeypatch.setattr("twinstack.log.embedded.housekeeping.FAILED_PAUSE_S", 0.01)
    monkeypatch.setattr(log.housekeeping._groups, "silent", silent)
    assert done.wait(20)
    assert "housekeeping" in caplog.text and "a defect" in caplog.text
