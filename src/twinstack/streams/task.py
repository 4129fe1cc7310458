"""The task: reads the partitions of its shard, writes what passes, each input exactly once, on every log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import TypeVar

from twinstack.core import failpoints, limits
from twinstack.core.errors import (
    FatalLogError,
    Fenced,
    QueueFull,
    RetriableLogError,
    TimedOut,
    TransactionAborted,
    TwinstackError,
    Unreachable,
)
from twinstack.log.seam import Batch, Consumer, Log, TopicPartition, Transaction
from twinstack.streams.operator import Operator, Output
from twinstack.streams.spec import AppSpec, group_of
from twinstack.streams.states import Counters

T = TypeVar("T")

MOMENTARY = (RetriableLogError, TimedOut, Unreachable)
IDLE_POLL_S = 0.5
PAUSED_TURN_S = 0.1
RETRY_PAUSE_S = 0.1
REPEAT_S_MAX = 60.0
"""How long a call is repeated before the task starts again."""
SLOW_COMMIT_S = 10.0
LAG_EVERY_S = 2.0
LAG_IDLE_EVERY_S = 0.25
"""Until the task has caught up: who waits for that should not wait for the figure."""
STOP_BUDGET_S = 5.0


@dataclass(slots=True)
class Control:
    """What the task's owner wants. `on_turn` is called after every poll and while paused: the place for reports."""

    stop: Event = field(default_factory=Event)
    pause: Event = field(default_factory=Event)
    on_turn: Callable[[], None] = lambda: None


class Task:
    """One shard of one revision of a single-stage, stateless app: a state machine in seven steps.

    1. fence      open the transaction of `ts.<uid>.<stage>.<k>`: the predecessor is fenced, what it left is aborted
    2. position   read the committed offsets of group `ts.<uid>.<rev>`, which nobody joins; a first start commits where
                  it begins, so that a crash before the first commit begins there again
    3. read       poll up to the records that still fit into the transaction, at most until its end is due
    4. process    whole batches: outputs and dead letters go into the transaction, which begins by itself
    5. commit     at 5,000 inputs, 20,000 outputs, 16 MiB or the commit interval: outputs, letters and next offsets,
                  all or nothing; then back to 3
    6. start over after an abort, or a commit that was slow or repeated: throw everything away, back to 1
    7. stop       commit what is open within a budget, else abort

    Errors that leave `run`: Fenced (a newer owner runs: stop for good), PositionLost, and whatever lasts longer than
    REPEAT_S_MAX. Calls that fail for a moment are repeated with the same arguments.
    """

    def __init__(
        self,
        log: Log,
        spec: AppSpec,
        operator: Operator,
        counters: Counters,
        control: Control,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.spec = spec
        self.operator = operator
        self.counters = counters
        self.control = control
        self.clock = clock
        self.sleep = sleep
        self.admin = log.admin()
        self._log = log

    def run(self) -> None:
        """Until the owner wants it to stop."""
        while not self.control.stop.is_set():
            transaction = self.again(lambda: self._log.transaction(self.spec.transactional_id))  # 1
            try:
                if self._read(transaction):  # 2 to 5, 7
                    return
            except TransactionAborted:  # 6
                self.counters.aborts += 1
                self._abort(transaction)
                self.sleep(RETRY_PAUSE_S)
            finally:
                # An open transaction would hold up every reader behind it until it times out.
                with contextlib.suppress(TwinstackError):
                    transaction.abort()
                with contextlib.suppress(TwinstackError):
                    transaction.close()

    def _abort(self, transaction: Transaction) -> None:
        """What looks like an abort may be the work of a successor, and only this call tells: opening the transaction
        again without it would fence that one. Errors: Fenced."""
        try:
            self.again(transaction.abort)
        except Fenced:
            raise
        except TwinstackError:
            return  # the next opening settles it

    def _read(self, transaction: Transaction) -> bool:
        """True when it was stopped, False when the task must start over."""
        consumer = self.again(lambda: self._log.consumer(group=self.spec.group, client_id=self.spec.transactional_id))
        try:
            positions = self._positions(transaction, consumer)  # 2
            consumer.assign(positions)
            if _Session(self, transaction, consumer, positions).run():
                return True
            # A successor may have come while the commit took its time, and opening the transaction again would fence
            # it. Storing the positions once more, with the epoch of now, is refused when there is one.
            self.again(lambda: transaction.commit(self.spec.group, positions))
            return False
        finally:
            with contextlib.suppress(TwinstackError):
                consumer.close()

    def _positions(self, transaction: Transaction, consumer: Consumer) -> dict[TopicPartition, int]:
        """The next offset of each partition of this shard."""
        partitions: list[TopicPartition] = []
        for topic in self.operator.topics:
            info = self.again(partial(self.admin.describe, topic))
            mine = range(self.spec.shard, info.partitions, self.spec.shards)
            partitions.extend(TopicPartition(topic, p) for p in mine)
        committed = self.again(lambda: consumer.committed(partitions))
        missing = [tp for tp in partitions if tp not in committed]
        if missing:
            first = self._first_positions(missing, committed)
            self.again(lambda: transaction.commit(self.spec.group, first))
            committed = {**committed, **first}
        return {tp: committed[tp] for tp in partitions}

    def _first_positions(
        self, missing: Sequence[TopicPartition], committed: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Where partitions begin that this revision never read: where the last revision that read them stopped (step 1
        fenced it, so its offsets are final); a partition that was added to a topic in use at its beginning; else as
        the app was told."""
        before: dict[TopicPartition, int] = {}
        for revision in range(self.spec.revision - 1, 0, -1):
            if before.keys() >= set(missing):
                break
            # One that was deployed and never ran has positions only in what it would have read as the first.
            before = self.again(partial(self.admin.group_offsets, group_of(self.spec.uid, revision))) | before
        topics_in_use = {tp.topic for tp in (*committed, *before)}
        beginning = self.again(lambda: self.admin.beginning_offsets(missing))
        end = self.again(lambda: self.admin.end_offsets(missing, committed=False))
        first: dict[TopicPartition, int] = {}
        for tp in missing:
            if tp in before:
                first[tp] = before[tp]
            elif tp.topic in topics_in_use or self.spec.start == "earliest":
                first[tp] = beginning[tp]
            else:
                first[tp] = end[tp]
        return first

    def again(self, call: Callable[[], T]) -> T:
        """The same call with the same arguments until it succeeds. Errors: the last one, after REPEAT_S_MAX or once
        the task has to stop and the budget for that is over."""
        began = self.clock()
        stopping: float | None = None
        while True:
            try:
                return call()
            except MOMENTARY:
                now = self.clock()
                if stopping is None and self.control.stop.is_set():
                    stopping = now
                if now - began > REPEAT_S_MAX or (stopping is not None and now - stopping > STOP_BUDGET_S):
                    raise
                self.sleep(RETRY_PAUSE_S)


class _Session:
    """Between two starts of a task: one transaction after the other by one producer."""

    def __init__(
        self, task: Task, transaction: Transaction, consumer: Consumer, positions: dict[TopicPartition, int]
    ) -> None:
        self._task = task
        self._transaction = transaction
        self._consumer = consumer
        self._positions = positions
        self._interval_s = task.spec.commit_interval_ms / 1000
        self._lag_due_s = self._lag_idle_due_s = 0.0
        self._clear()

    def _clear(self) -> None:
        self._next: dict[TopicPartition, int] = {}
        self._inputs = self._outputs = self._dead = self._bytes = self._arithmetic = 0
        self._due_s = 0.0

    def run(self) -> bool:
        task, control = self._task, self._task.control
        while not control.stop.is_set():
            if control.pause.is_set():
                if self._next and not self._commit():
                    return False
                task.sleep(PAUSED_TURN_S)
            elif not self._turn():
                return False
            self._measure_lag()
            control.on_turn()
        if self._next:  # 7
            self._commit()
        return True

    def _turn(self) -> bool:
        """One poll and what it brought; False when the task must start over."""
        wait_s = max(0.0, self._due_s - self._task.clock()) if self._next else IDLE_POLL_S
        records_max = limits.TASK_INPUT_RECORDS_MAX - self._inputs
        for batch in self._task.again(lambda: self._consumer.poll(wait_s, records_max)):  # 3
            if self._next and self._overflows(batch) and not self._commit():
                return False
            self._process(batch)  # 4
            if self._full() and not self._commit():
                return False
        return not (self._next and self._task.clock() >= self._due_s) or self._commit()  # 5

    def _process(self, batch: Batch) -> None:
        if not self._next:
            self._due_s = self._task.clock() + self._interval_s
        output = self._task.operator.process(batch)
        try:
            self._send(output)
        except (*MOMENTARY, QueueFull) as error:
            # Some of the records may be under way: only the whole transaction can be repeated.
            raise TransactionAborted("The log took a part of a batch only.", fix="Start the task again.") from error
        self._next[TopicPartition(batch.topic, batch.partition)] = batch.next_offset
        self._inputs += len(batch)
        self._dead += len(output.letters)
        self._arithmetic += output.arithmetic

    def _send(self, output: Output) -> None:
        if output.values:
            self._transaction.send_many(self._task.spec.target_topic, output.values, output.keys, output.headers)
            self._outputs += len(output.values)
            self._bytes += sum(map(len, output.values))
            failpoints.hit("streams.task.between_sends")
        for letter in output.letters:
            self._transaction.send(letter)
            self._bytes += len(letter.value or b"")

    def _overflows(self, batch: Batch) -> bool:
        """Whether what is open and all of the batch could be more than one transaction takes."""
        size = sum([len(value) for value in batch.values if value is not None])
        return self._bytes + size > limits.TASK_OUTPUT_BYTES_MAX

    def _full(self) -> bool:
        return (
            self._inputs >= limits.TASK_INPUT_RECORDS_MAX
            or self._outputs + self._dead >= limits.TASK_OUTPUT_RECORDS_MAX
            or self._bytes >= limits.TASK_OUTPUT_BYTES_MAX
        )

    def _commit(self) -> bool:
        """False when the producer must be opened anew: a commit whose answer was late or lost leaves librdkafka
        unsure of its epoch (KAFKA-17754), and opening it settles that."""
        offsets = dict(self._next)
        if any(offset < 0 for offset in offsets.values()):
            raise FatalLogError(f"A next offset is negative: {offsets}.", fix="Report this as a defect.")
        calls = 0

        def commit() -> None:
            nonlocal calls
            calls += 1
            self._transaction.commit(self._task.spec.group, offsets)

        failpoints.hit("streams.task.before_commit")
        began = self._task.clock()
        self._task.again(commit)
        failpoints.hit("streams.task.after_commit")
        self._positions |= offsets
        counters = self._task.counters
        counters.records_in += self._inputs
        counters.records_out += self._outputs
        counters.dead += self._dead
        counters.arithmetic += self._arithmetic
        counters.commits += 1
        self._clear()
        return calls == 1 and self._task.clock() - began < SLOW_COMMIT_S

    def _measure_lag(self) -> None:
        """Now and then. A log that does not answer now leaves the last figure."""
        now = self._task.clock()
        if now < self._lag_due_s and (self._next or self._task.counters.lag == 0 or now < self._lag_idle_due_s):
            return
        self._lag_due_s, self._lag_idle_due_s = now + LAG_EVERY_S, now + LAG_IDLE_EVERY_S
        with contextlib.suppress(TwinstackError):
            ends = self._task.admin.end_offsets(list(self._positions))
            self._task.counters.lag = sum(max(0, end - self._positions[tp]) for tp, end in ends.items())
