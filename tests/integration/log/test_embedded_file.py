"""One file, one process: the lock, opening again, formats, damage and a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from twinstack.core.errors import (
    Conflict,
    FatalLogError,
    Fenced,
    InvalidInput,
    QueueFull,
    StorageFull,
    TwinstackError,
    Undelivered,
    UnknownTopic,
)
from twinstack.log.embedded import EmbeddedLog
from twinstack.log.embedded.calls import Retry, Write
from twinstack.log.embedded.database import as_log_error
from twinstack.log.packed.format import pack
from twinstack.log.packed.transport import Membership, Part
from twinstack.log.seam import EARLIEST, OutRecord, TopicPartition, TopicSpec

TP = TopicPartition("t", 0)
HOLD = """
import sys
from twinstack.log.embedded import EmbeddedLog
log = EmbeddedLog(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""
SQLITE_ERRORS = [kind for kind in vars(apsw).values() if isinstance(kind, type) and issubclass(kind, apsw.Error)]


def values_of(log: EmbeddedLog, topic: str = "t") -> list[bytes]:
    consumer = log.consumer()
    consumer.assign({TopicPartition(topic, 0): EARLIEST})
    values: list[bytes] = []
    while batches := consumer.poll(0):
        values += [value for batch in batches for value in batch.values]
    return values


def append(log: EmbeddedLog, *values: bytes) -> list[int]:
    return log.append([Part("t", 0, pack(list(values), None, None, 1))], "test", 1)


def test_a_second_process_is_told_who_has_the_log(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(Conflict, match=f"process {holder.pid}"):
            EmbeddedLog(path)
        holder.kill()
        holder.wait(10)
    EmbeddedLog(path).close()  # the lock of a dead process is none


def test_the_same_process_cannot_open_it_twice(path: Path) -> None:
    log = EmbeddedLog(path)
    with pytest.raises(Conflict, match=str(os.getpid())):
        EmbeddedLog(path)
    log.close()
    log.close()


def test_a_folder_holds_the_file(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path)
    log.close()
    assert (tmp_path / "log.sqlite").exists()


def test_everything_is_there_after_opening_again(open_log: Callable[..., EmbeddedLog]) -> None:
    log = open_log()
    admin = log.admin()
    admin.create_topics(
        [TopicSpec("t", retention_ms=5_000, max_record_bytes=77, config={"a": "b"}), TopicSpec("c", 3, "compact")]
    )
    append(log, b"1", b"2")
    transaction = log.transaction("owner")
    transaction.send(OutRecord("t", b"3"))
    transaction.commit("g", {TP: 2})
    infos = admin.topics()
    log = open_log()
    assert log.admin().topics() == infos
    topic = log.catalog.topic("t")
    assert (topic.retention_ms, topic.layout.record_bytes_max, topic.config) == (5_000, 77, {"a": "b"})
    assert values_of(log) == [b"1", b"2", b"3"]
    assert log.committed("g") == {TP: 2}
    with pytest.raises(Fenced):
        log.commit("owner", 0, 9, [], "g", {TP: 1})
    with pytest.raises(InvalidInput):
        log.commit("owner", 1, 0, [], "g", {TP: 1})
    log.commit("owner", 1, 1, [Part("t", 0, pack([b"again"]))], "g", {TP: 1})  # committed before: not again
    assert (values_of(log), log.committed("g")) == ([b"1", b"2", b"3"], {TP: 2})
    assert log.init("owner") == 2


def test_members_of_the_former_process_are_gone_those_of_others_are_not(
    open_log: Callable[..., EmbeddedLog], clock
) -> None:
    log = open_log()
    log.admin().create_topics([TopicSpec("t", partitions=2)])
    log.join("g", ["t"], "mine")
    log.act(log.joining("g", ["t"], "theirs", local=False))
    log = open_log()
    moved = log.groups.moved(Membership("g", "mine", 2))
    assert moved is not None and moved.member == ""
    theirs = log.groups.moved(Membership("g", "theirs", 2))
    assert theirs is not None and len(theirs.partitions) == 2
    clock.ms += 9_000
    log.housekeeping.tick()
    assert log.groups.moved(Membership("g", "theirs", theirs.generation)) is None  # which is a sign of life
    clock.ms += 10_001
    log.housekeeping.tick()
    gone = log.groups.moved(Membership("g", "theirs", theirs.generation))
    assert gone is not None and gone.member == ""


def test_fsync_full_is_set_on_every_connection(open_log: Callable[..., EmbeddedLog]) -> None:
    log = open_log(fsync="full")
    log.admin().create_topics([TopicSpec("t")])
    append(log, b"v")
    assert log.writer.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    log = open_log()
    assert log.writer.connection.execute("PRAGMA synchronous").fetchone() == (1,)
    assert values_of(log) == [b"v"]


def test_same_sequence_same_answer(open_log: Callable[..., EmbeddedLog], clock) -> None:
    log = open_log()
    log.admin().create_topics([TopicSpec("t"), TopicSpec("u")])
    parts = [Part("t", 0, pack([b"a", b"b"])), Part("u", 0, pack([b"c"]))]

    def once(sequence: int) -> list[int]:
        return log.writer.call(lambda done: Write(log.rows(parts), done, Retry("p", sequence)))

    assert once(1) == once(1) == [0, 0]
    assert once(2) == [2, 1]
    with pytest.raises(InvalidInput, match="comes after"):
        once(1)
    log = open_log()
    assert once(2) == [2, 1]
    assert values_of(log) == [b"a", b"b"] * 2
    clock.ms += 25 * 3600 * 1000
    log.housekeeping.retain()
    assert once(1) == [4, 2]  # forgotten after the window


def test_the_same_sequence_twice_in_one_transaction(open_log: Callable[..., EmbeddedLog]) -> None:
    """The first request is still under way when the retry comes: both wait in the same merge."""
    log = open_log()
    log.admin().create_topics([TopicSpec("t")])
    answers: list = []
    done = threading.Semaphore(0)

    def take(answer: object) -> None:
        answers.append(answer)
        done.release()

    with log.writer.transaction_lock:  # the writer gathers behind this
        log.writer.submit(Write(log.rows([Part("t", 0, pack([b"first"]))]), take))
        for sequence in (1, 1, 2, 1, 2):
            log.writer.submit(Write(log.rows([Part("t", 0, pack([b"v%d" % sequence]))]), take, Retry("p", sequence)))
    for _ in range(6):
        assert done.acquire(timeout=10)
    assert answers[:4] == [[0], [1], [1], [2]]
    assert isinstance(answers[4], InvalidInput)
    assert answers[5] == [2]
    assert values_of(log) == [b"first", b"v1", b"v2"]


def test_a_refused_call_leaves_the_others_of_its_merge_alone(open_log: Callable[..., EmbeddedLog]) -> None:
    log = open_log()
    log.admin().create_topics([TopicSpec("t"), TopicSpec("gone")])
    rows = [log.rows([Part(topic, 0, pack([topic.encode()]))]) for topic in ("t", "gone", "t")]
    log.admin().delete_topics(["gone"])
    outcomes: list = []
    done = threading.Semaphore(0)
    with log.writer.transaction_lock:
        for each in rows:
            log.writer.submit(Write(each, lambda outcome: (outcomes.append(outcome), done.release())))
    for _ in rows:
        assert done.acquire(timeout=10)
    assert isinstance(outcomes[1], UnknownTopic)
    assert [outcomes[0], outcomes[2]] == [[0], [1]]


def test_a_full_queue_is_said_at_once_to_those_who_cannot_wait(open_log: Callable[..., EmbeddedLog]) -> None:
    log = open_log()
    log.admin().create_topics([TopicSpec("t")])
    rows = log.rows([Part("t", 0, pack([b"x" * 1_000_000]))]) * 10
    with log.writer.transaction_lock, pytest.raises(QueueFull):
        for _ in range(20):
            log.writer.submit(Write(rows, lambda outcome: None), block=False)


def test_a_closed_log_says_so(path: Path) -> None:
    log = EmbeddedLog(path)
    log.admin().create_topics([TopicSpec("t")])
    consumer = log.consumer()
    consumer.assign({TP: EARLIEST})
    log.close()
    for call in (lambda: append(log, b"v"), lambda: log.committed("g"), log.ping):
        with pytest.raises(FatalLogError, match="closed"):
            call()


def test_waiting_readers_are_released_when_the_log_closes(path: Path) -> None:
    log = EmbeddedLog(path)
    log.admin().create_topics([TopicSpec("t")])
    consumer = log.consumer()
    consumer.assign({TP: EARLIEST})
    outcome: list[object] = []

    def read() -> None:
        try:
            outcome.append(consumer.poll(20.0))
        except FatalLogError as error:
            outcome.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.2)
    log.close()
    reader.join(15)
    assert len(outcome) == 1


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_log(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(FatalLogError):
        EmbeddedLog(path)
    assert path.read_bytes() == content


def test_a_newer_format_is_refused(path: Path) -> None:
    EmbeddedLog(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(FatalLogError, match="format 99"):
        EmbeddedLog(path)


@pytest.mark.parametrize("kind", SQLITE_ERRORS)
def test_no_error_of_sqlite_leaks(kind: type[apsw.Error]) -> None:
    mapped = as_log_error(kind("text"))
    assert isinstance(mapped, TwinstackError)
    assert mapped.fix


@pytest.fixture
def small_disk(tmp_path: Path):
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small tmpfs here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stores_nothing_half_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 3_000_000)
    log = EmbeddedLog(small_disk / "log.sqlite")
    log.admin().create_topics([TopicSpec("t"), TopicSpec("u")])
    stored: list[bytes] = []
    with pytest.raises(StorageFull):
        for n in range(1_000):
            value = b"%d " % n + os.urandom(50_000)
            both = [Part("t", 0, pack([value])), Part("u", 0, pack([value]))]
            log.append(both, "test", 1)
            stored.append(value)
    assert stored
    for _ in range(3):
        with pytest.raises(StorageFull):
            append(log, os.urandom(200_000))
    assert values_of(log, "t") == values_of(log, "u") == stored
    ballast.unlink()
    append(log, b"room again")
    assert values_of(log) == [*stored, b"room again"]
    log.close()
    log = EmbeddedLog(small_disk / "log.sqlite")
    assert values_of(log) == [*stored, b"room again"]
    assert values_of(log, "u") == stored
    log.close()


def test_a_producer_waits_for_room(small_disk: Path) -> None:
    """Nothing is dropped while the disk is full: it is delivered once there is room."""
    ballast = small_disk / "ballast"
    log = EmbeddedLog(small_disk / "log.sqlite")
    log.admin().create_topics([TopicSpec("t")])
    with ballast.open("wb") as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(b"x" * 65_536)
            file.flush()
    producer = log.producer()
    values = [b"%d " % n + os.urandom(20_000) for n in range(50)]
    producer.send_many("t", values, key=b"k")
    with pytest.raises(Undelivered, match="disk") as undelivered:
        producer.flush(0.5)
    assert undelivered.value.count == 50
    ballast.unlink()
    producer.flush(20)
    assert values_of(log) == values
    log.close()
