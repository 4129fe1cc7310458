"""The one writer: a thread that owns the write connection and commits whatever waits as soon as it is free.

Waiting writes merge into one transaction by themselves (at most LOG_TRANSACTION_BYTES_MAX; a larger one commits
alone). Everything is checked and laid out before BEGIN; inside stand only INSERTs. Memory follows the file: it
changes after COMMIT, so a failed transaction leaves both as they were.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import apsw
import msgspec

from twinstack.core.errors import FatalLogError, Fenced, InvalidInput, QueueFull, TwinstackError
from twinstack.core.failpoints import hit
from twinstack.core.limits import LOG_QUEUE_BYTES_MAX, LOG_TRANSACTION_BYTES_MAX, PRODUCER_BLOCK_MS_MAX
from twinstack.log.embedded.calls import Action, Done, Owner, Plan, Retry, Row, Write
from twinstack.log.embedded.catalog import Catalog, Partition
from twinstack.log.embedded.database import OFFSET_BITS, Database, as_log_error, every
from twinstack.log.embedded.groups import Groups

SMALL_RECORDS = 250
"""Rows of fewer records are joined in the background."""
INSERT_ROWS_MAX = 256
ONE_STATEMENT_ROWS_MAX = 16

_INSERT = "INSERT INTO batch VALUES (?, ?, ?, ?, ?)"
_INSERTS = [", ".join([_INSERT] + ["(?, ?, ?, ?, ?)"] * more) for more in range(ONE_STATEMENT_ROWS_MAX)]
"""One statement for one row, two rows, ..."""

_encode_answer = msgspec.msgpack.Encoder().encode
_decode_answer = msgspec.msgpack.Decoder(list[int]).decode


class Writer:
    def __init__(self, database: Database, catalog: Catalog, groups: Groups, now_ms: Callable[[], int]) -> None:
        self._database = database
        self.connection = database.writer
        self._catalog = catalog
        self._groups = groups
        self._now_ms = now_ms
        self._waiting: deque[Write | Action] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._stopping = False
        self.transaction_lock = threading.Lock()
        """Held while a transaction is open: a checkpoint that must wait for writers takes it instead."""
        self.on_commit: Callable[[Sequence[int]], None] = lambda partitions: None
        self.after_transaction: Callable[[], None] = lambda: None
        self._producers: dict[str, tuple[int, list[int], int]] = {
            uid: (sequence, _decode_answer(answer), time_ms)
            for uid, sequence, answer, time_ms in every(self.connection, "SELECT * FROM producer")
        }
        self._owners: dict[str, tuple[int, int]] = {
            uid: (epoch, sequence)
            for uid, epoch, sequence in every(self.connection, "SELECT id, epoch, sequence FROM owner")
        }
        self._thread = threading.Thread(target=self._run, name="twinstack-log-writer", daemon=True)
        self._thread.start()

    # From any thread

    def submit(self, call: Write | Action, *, block: bool = True) -> None:
        """Queues a call. A full queue blocks up to PRODUCER_BLOCK_MS_MAX (or not at all), then QueueFull."""
        with self._changed:
            if self._stopping:
                raise FatalLogError("The log is closed.", fix="Open it again.")
            if self._waiting_bytes and self._waiting_bytes + call.bytes > LOG_QUEUE_BYTES_MAX:
                fits = block and self._changed.wait_for(
                    lambda: not self._waiting_bytes or self._waiting_bytes + call.bytes <= LOG_QUEUE_BYTES_MAX,
                    PRODUCER_BLOCK_MS_MAX / 1000,
                )
                if not fits:
                    raise QueueFull("The log's queue is full.", fix="Send more slowly; repeating the call is safe.")
            self._waiting.append(call)
            self._waiting_bytes += call.bytes
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def call(self, make: Callable[[Done], Write | Action]) -> Any:
        """Submits and waits for the result on this thread."""
        ready = threading.Lock()
        ready.acquire()
        result: list[Any] = []

        def done(outcome: Any) -> None:
            result.append(outcome)
            ready.release()

        self.submit(make(done))
        ready.acquire()
        if isinstance(result[0], BaseException):
            raise result[0]
        return result[0]

    def stop(self) -> None:
        """What waits is committed first."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    # The thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
                calls = self._take()
            if isinstance(calls[0], Action):
                self._act(calls[0])
            else:
                self._write([call for call in calls if isinstance(call, Write)])
            self.after_transaction()

    def _take(self) -> list[Write | Action]:
        """An action alone, or the writes in front that fit into one transaction."""
        calls = [self._waiting.popleft()]
        size = calls[0].bytes
        if isinstance(calls[0], Write):
            while self._waiting and isinstance(self._waiting[0], Write):
                size += self._waiting[0].bytes
                if size > LOG_TRANSACTION_BYTES_MAX:
                    break
                calls.append(self._waiting.popleft())
        self._waiting_bytes -= sum(call.bytes for call in calls)
        self._changed.notify_all()
        return calls

    def _act(self, action: Action) -> None:
        try:
            with self.transaction_lock, self.connection:
                after = action.run(self.connection)
            result = after() if callable(after) else after
        except apsw.Error as error:
            result = as_log_error(error)
        except Exception as error:
            result = error
        action.done(result)

    def _write(self, calls: list[Write]) -> None:
        plan = self._lay_out(calls)
        try:
            if plan.batches or plan.offsets or plan.owners or plan.producers:
                self._commit(plan)
        except apsw.Error as error:
            self._roll_back()
            if len(calls) > 1 and isinstance(error, apsw.FullError):
                for call in calls:  # one that is too large for the disk must not take the others with it
                    self._write([call])
                return
            failure = as_log_error(error)
            for call, outcome in plan.outcomes:
                call.done(outcome if isinstance(outcome, TwinstackError) else failure)
            return
        except Exception as error:  # a mistake of ours must not end the only writer: callers would wait for ever
            self._roll_back()
            for call, _ in plan.outcomes:
                call.done(FatalLogError(f"The log could not write: {error!r}.", fix="Please report this."))
            return
        self._publish(plan)
        for call, outcome in plan.outcomes:
            call.done(outcome)

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            with contextlib.suppress(apsw.Error):  # what cannot be rolled back makes the next BEGIN fail, which is said
                self.connection.execute("ROLLBACK")

    def _lay_out(self, calls: list[Write]) -> Plan:
        plan = Plan()
        now_ms = self._now_ms()
        for call in calls:
            try:
                outcome: Any = self._lay_out_one(plan, call, now_ms)
            except TwinstackError as error:
                outcome = error
            plan.outcomes.append((call, outcome))
        return plan

    def _lay_out_one(self, plan: Plan, call: Write, now_ms: int) -> list[int]:
        """Checks everything first: a call that is refused leaves nothing in the plan."""
        identity = call.identity
        if isinstance(identity, Retry):
            last, answer, _ = plan.producers.get(identity.producer) or self._producers.get(
                identity.producer, (0, [], 0)
            )
            if identity.sequence == last:
                return answer
            if identity.sequence < last:
                raise InvalidInput(
                    f"Sequence {identity.sequence} of producer '{identity.producer}' comes after {last}.",
                    fix="Count up; repeat only the last request.",
                )
        elif isinstance(identity, Owner):
            epoch, last = plan.owners.get(identity.id) or self._owners.get(identity.id, (0, 0))
            if identity.epoch != epoch:
                raise Fenced(
                    f"'{identity.id}' has a newer owner: epoch {identity.epoch} is over, {epoch} is current.",
                    fix="Stop; the newer owner goes on from the committed offsets.",
                )
            if identity.sequence <= last:
                if identity.sequence == last:
                    return []
                raise InvalidInput(f"Sequence {identity.sequence} of '{identity.id}' comes after {last}.")
        partitions = [self._catalog.partition(row.topic, row.partition) for row in call.rows]
        if call.offsets is not None:
            if not isinstance(identity, Owner):
                self._groups.check(call.offsets.group, call.offsets.membership)
            for partition_id, following in call.offsets.next.items():
                plan.offsets[call.offsets.group, partition_id] = following
        answer = [self._place(plan, row, partition) for row, partition in zip(call.rows, partitions, strict=True)]
        if isinstance(identity, Retry):
            plan.producers[identity.producer] = (identity.sequence, answer, now_ms)
        elif isinstance(identity, Owner):
            plan.owners[identity.id] = (identity.epoch, identity.sequence)
        return answer

    def _place(self, plan: Plan, row: Row, partition: Partition) -> int:
        uid = partition.id
        base = plan.next.get(uid, partition.next)
        peak_ms = max(plan.peak_ms.get(uid, partition.peak_ms), row.newest_ms)
        plan.next[uid] = base + row.records
        plan.peak_ms[uid] = peak_ms
        if row.records < SMALL_RECORDS:
            plan.loose[uid] = plan.loose.get(uid, 0) + 1
        plan.batches.append((uid << OFFSET_BITS | base, row.records, row.newest_ms, peak_ms, row.blob))
        return base

    def _commit(self, plan: Plan) -> None:
        rows_only = not (plan.offsets or plan.producers or plan.owners)
        if rows_only and 0 < len(plan.batches) <= ONE_STATEMENT_ROWS_MAX:
            # one statement is its own transaction: a third of the calls, each of which gives the interpreter away
            hit("log.writer.before_commit")
            with self.transaction_lock:
                self.connection.execute(_INSERTS[len(plan.batches) - 1], [item for row in plan.batches for item in row])
            hit("log.writer.after_commit")
            return
        connection = self.connection
        now_ms = self._now_ms()
        with self.transaction_lock:
            connection.execute("BEGIN IMMEDIATE")
            for at in range(0, len(plan.batches), INSERT_ROWS_MAX):
                connection.executemany(_INSERT, plan.batches[at : at + INSERT_ROWS_MAX])
                hit("log.writer.between_parts")
            if plan.offsets:
                connection.executemany(
                    "INSERT OR REPLACE INTO committed VALUES (?, ?, ?)",
                    [(group, uid, following) for (group, uid), following in plan.offsets.items()],
                )
            if plan.producers:
                connection.executemany(
                    "INSERT OR REPLACE INTO producer VALUES (?, ?, ?, ?)",
                    [(uid, last, _encode_answer(answer), when) for uid, (last, answer, when) in plan.producers.items()],
                )
            if plan.owners:
                connection.executemany(
                    "INSERT OR REPLACE INTO owner VALUES (?, ?, ?, ?)",
                    [(uid, epoch, last, now_ms) for uid, (epoch, last) in plan.owners.items()],
                )
            hit("log.writer.before_commit")
            connection.execute("COMMIT")
        hit("log.writer.after_commit")

    def _publish(self, plan: Plan) -> None:
        for uid, following in plan.next.items():
            partition = self._catalog.by_id[uid]
            partition.peak_ms = plan.peak_ms[uid]
            partition.loose_rows += plan.loose.get(uid, 0)
            partition.next = following
            if not partition.loose_rows:
                partition.joined = following
        self._producers.update(plan.producers)
        self._owners.update(plan.owners)
        if plan.next:
            self.on_commit(list(plan.next))

    # Actions on what only the writer knows

    def init(self, connection: apsw.Connection, transactional_id: str) -> Callable[[], int]:
        epoch = self._owners.get(transactional_id, (0, 0))[0] + 1
        connection.execute(
            "INSERT OR REPLACE INTO owner VALUES (?, ?, 0, ?)", (transactional_id, epoch, self._now_ms())
        )

        def publish() -> int:
            self._owners[transactional_id] = (epoch, 0)
            return epoch

        return publish

    def forget_producers(self, connection: apsw.Connection, before_ms: int) -> Callable[[], None]:
        connection.execute("DELETE FROM producer WHERE time_ms < ?", (before_ms,))

        def publish() -> None:
            for uid in [uid for uid, (_, _, time_ms) in self._producers.items() if time_ms < before_ms]:
                del self._producers[uid]

        return publish
