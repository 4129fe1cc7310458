"""What goes wrong between the task and its log, in any order: the output stays exact. The same code runs on every log,
so these run on the embedded one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from stream_world import World

from twinstack.core.errors import (
    Fenced,
    QueueFull,
    RetriableLogError,
    TimedOut,
    TransactionAborted,
    TwinstackError,
    Unreachable,
)
from twinstack.log.packed.format import pack
from twinstack.log.packed.transport import Part
from twinstack.log.partitioner import partition_for
from twinstack.log.seam import Headers, Log, OutRecord, TopicPartition
from twinstack.streams import app as app_module
from twinstack.streams import task as task_module


class FaultyTransaction:
    """A transaction whose calls fail now and then, before or after they did their work."""

    def __init__(self, inner: Any, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def send(self, record: OutRecord) -> None:
        self._faults.sending()
        self._inner.send(record)

    def send_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        headers: Sequence[Headers],
    ) -> None:
        half = len(values) // 2
        self._inner.send_many(topic, values[:half], keys[:half], headers[:half])
        self._faults.sending()
        self._inner.send_many(topic, values[half:], keys[half:], headers[half:])

    def commit(self, group: str | None = None, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        self._faults.maybe("commit")
        self._inner.commit(group, offsets)
        self._faults.arm()
        if self._faults.draw():  # committed, and nobody knows
            raise TransactionAborted("The answer was lost.")

    def abort(self) -> None:
        self._inner.abort()

    def close(self) -> None:
        self._inner.close()


class Faults:
    """Which call fails how, by a seed. At the opening and after each commit it is drawn whether one of the next sends
    fails: the chance is one a transaction, whatever the number of its batches and letters."""

    KINDS: Mapping[str, Sequence[type[TwinstackError]]] = {
        "send": (QueueFull, Unreachable, TransactionAborted),
        "commit": (RetriableLogError, TimedOut, TransactionAborted),
        "open": (RetriableLogError, Unreachable),
    }

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.drawn = 0
        self._sends_left = -1

    def arm(self) -> None:
        self._sends_left = self._random.randrange(30) if self._random.random() < 0.5 else -1

    def draw(self) -> bool:
        hit = self._random.random() < 0.25
        self.drawn += hit
        return hit

    def maybe(self, place: str) -> None:
        if self.draw():
            raise self._random.choice(self.KINDS[place])(f"A fault at {place}.")

    def sending(self) -> None:
        self._sends_left -= 1
        if self._sends_left == 0:
            self.drawn += 1
            raise self._random.choice(self.KINDS["send"])("A fault at send.")


class FaultyLog:
    """The log of a task; only what an app needs."""

    def __init__(self, inner: Log, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def transaction(self, transactional_id: str, *, timeout_ms: int = 30_000) -> FaultyTransaction:
        self._faults.maybe("open")
        self._faults.arm()
        return FaultyTransaction(self._inner.transaction(transactional_id, timeout_ms=timeout_ms), self._faults)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("seed", range(4))
def test_faults_in_any_order_leave_the_output_exact(
    embedded_world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_module, "RETRY_PAUSE_S", 0.001)
    world, faults = embedded_world, Faults(seed)
    with world.place.open() as log:
        with world.app(FaultyLog(log, faults), world.spec(commit_interval_ms=1)):  # type: ignore[arg-type]
            for _ in range(15):
                world.produce(log, 200, poison=0.05)
                world.wait_settled(log)
        assert faults.drawn > 3
        world.check_exact(log)


def test_a_fence_met_in_abort_stops_the_app(embedded_world: World) -> None:
    """A successor's work can look like an abort; opening the transaction again would fence the successor."""

    class Overtaken(FaultyTransaction):
        def commit(self, group: str | None = None, offsets: Mapping[TopicPartition, int] | None = None) -> None:
            raise TransactionAborted("The epoch is old.")

        def abort(self) -> None:
            raise Fenced("A newer owner took the transactional id.")

    class Log_(FaultyLog):
        opened = 0

        def transaction(self, transactional_id: str, *, timeout_ms: int = 30_000) -> FaultyTransaction:
            Log_.opened += 1
            return Overtaken(self._inner.transaction(transactional_id), self._faults)

    with embedded_world.place.open() as log, embedded_world.app(Log_(log, Faults(0)), embedded_world.spec()) as app:  # type: ignore[arg-type]
        app.join()
        assert app.last == "idle" and Log_.opened == 1
        assert app.all[-1]["reason"] == "worker_lost"


def test_a_task_that_opens_its_producer_again_does_not_fence_its_successor(
    embedded_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a slow commit the producer is opened anew: not when another process took over meanwhile."""
    monkeypatch.setattr(task_module, "SLOW_COMMIT_S", 0.0)
    world = embedded_world
    spec = world.spec()

    class Slow(FaultyTransaction):
        def commit(self, group: str | None = None, offsets: Mapping[TopicPartition, int] | None = None) -> None:
            self._inner.commit(group, offsets)
            if offsets and any(offsets.values()) and not successors:
                successors.append(log.transaction(spec.transactional_id))

    class Log_(FaultyLog):
        def transaction(self, transactional_id: str, *, timeout_ms: int = 30_000) -> FaultyTransaction:
            return Slow(self._inner.transaction(transactional_id), self._faults)

    successors: list[Any] = []
    with world.place.open() as log, world.app(Log_(log, Faults(0)), spec) as app:  # type: ignore[arg-type]
        world.produce(log, 10)
        app.join()
        assert app.all[-1]["reason"] == "worker_lost"
        successors[0].commit(spec.group, {TopicPartition(f"{spec.sources[0]}.int", 0): 0})
        successors[0].close()


def test_a_text_that_does_not_compile_crashes_the_app_at_once(embedded_world: World) -> None:
    with embedded_world.place.open() as log:
        with embedded_world.app(log, embedded_world.spec("SELECT * FROM * WHERE nonsense = 'x';")) as app:
            app.join()
        assert app.last == "crashed"
        assert app.states == ["init", "starting", "failing", "crashed"]
        assert app.all[-1]["reason"] == "does_not_compile" and "nonsense" in app.all[-1]["message"]


def test_ten_failures_are_a_crash(embedded_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "BACK_OFF_S", (0.001,))
    world = embedded_world
    with world.place.open() as log:
        log.admin().delete_topics([f"{world.target}.ext"])
        with world.app(log, world.spec()) as app:
            app.join()
        assert app.last == "crashed"
        assert app.states.count("failing") == 10
        assert "does not exist" in app.all[-1]["message"] or world.target in app.all[-1]["message"]


def test_a_log_that_does_not_answer_is_waited_for(embedded_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "BACK_OFF_S", (0.001,))
    world = embedded_world

    class Away(FaultyLog):
        calls = 0

        def admin(self) -> Any:
            Away.calls += 1
            if 2 < Away.calls < 30:
                raise Unreachable("No answer.")
            return self._inner.admin()

    with world.place.open() as log:
        world.produce(log, 100)
        with world.app(Away(log, Faults(0)), world.spec()) as app:  # type: ignore[arg-type]
            world.wait_settled(log)
        assert app.states.count("failing") > 10
        world.check_exact(log)


def test_attributes_of_the_last_records_can_be_asked_for(embedded_world: World) -> None:
    world = embedded_world
    with world.place.open() as log:
        with world.app(log, world.spec("SELECT * FROM * WHERE speed > 3;")) as app:
            assert app.state("crashed")["reason"] == "does_not_compile"
        with_speed = world.value(1, 5).replace(b'"result":', b'"speed":4,"result":')
        producer = log.producer()
        producer.send(OutRecord(f"{world.source}.int", with_speed, world.log_key(1).encode()))
        producer.close()
        world.produce(log, 20, poison=0)
        with world.app(log, world.spec("SELECT * FROM * WHERE speed > 3;")):
            world.wait_settled(log)
        assert [v for _, v, _ in world.read(log, f"{world.target}.ext")] == [with_speed]


PARENT = """
import subprocess, sys
command = [sys.executable, "-m", "twinstack.streams.child"]
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(sys.argv[1].encode() + b"\\n")
child.stdin.flush()
for line in child.stdout:
    if b'"running"' in line:
        print(child.pid, flush=True)
        break
sys.stdin.read()
"""


def test_a_child_ends_with_its_parent(embedded_world: World) -> None:
    spec = embedded_world.spec().to_json().decode()
    parent = subprocess.Popen([sys.executable, "-c", PARENT, spec], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdin is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait(10)
    try:
        deadline = time.monotonic() + 15
        while _runs(child):
            assert time.monotonic() < deadline, "the child lives on"
            time.sleep(0.05)
    finally:
        if _runs(child):
            os.kill(child, signal.SIGKILL)
        parent.stdin.close()
        parent.stdout.close()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_obeys_orders(embedded_world: World) -> None:
    child = embedded_world.child(embedded_world.spec())
    child.state("running")
    child.order("pause")
    child.state("paused")
    child.order("resume")
    child.wait(lambda r: r["event"] == "state" and child.states[-1:] == ["running"] and "paused" in child.states)
    child.order("stop")
    assert child.wait_end() == 0


@pytest.mark.parametrize("line", ["", "{}", '{"uid":"abcdefghij"}'])
def test_a_child_without_a_spec_says_so(line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twinstack.streams.child"],
        input=line.encode(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    assert json.loads(done.stdout)["state"] == "crashed"


def test_no_thread_is_left_behind(embedded_world: World) -> None:
    with embedded_world.place.open() as log:
        before = threading.active_count()
        with embedded_world.app(log, embedded_world.spec()) as app:
            app.state("running")
        assert threading.active_count() <= before


def test_more_in_one_fetch_than_a_transaction_takes(embedded_world: World) -> None:
    """Few large records stand in a batch beside many small ones; strangers may pack a batch as large as they like."""
    world = embedded_world
    key = world.log_key(0).encode()
    values = [world.value(0, n)[:-1] + b', "x": "' + b"x" * (160 << 10) + b'"}' for n in range(100)]
    blob = pack(values, key, [()] * len(values), 1_700_000_000_000)
    with world.place.open() as log:
        partition = partition_for(key, log.admin().describe(f"{world.source}.int").partitions)
        for _ in range(2):
            log.append([Part(f"{world.source}.int", partition, blob)], "stranger", 1)
        with world.app(log, world.spec("SELECT * FROM *;")) as app:
            told = app.counted(200)
        assert told["counters"]["aborts"] == 0
        assert [v for _, v, _ in world.read(log, f"{world.target}.ext")] == [*values, *values]
