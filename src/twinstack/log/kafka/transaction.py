"""A transactional producer on Kafka, as a small state machine.

    READY --send, commit--> OPEN --commit--> READY          what librdkafka says decides where an error leads:
    OPEN --error--> BROKEN --abort--> READY                 retriable          the same call again
    any --slow commit or abort--> STALE --abort--> READY    and again without end STALE (TransactionAborted)
                                                            txn_requires_abort BROKEN (TransactionAborted)
    any --fenced or fatal--> LOST --close--> CLOSED         fatal              LOST (Fenced, FatalLogError)

STALE: a request of the transaction before may still be on its way to the broker and would end the next one (Kafka's
KAFKA-17754; librdkafka does not speak KIP-890 yet). Only a new producer epoch keeps it out. Taking a new epoch would
fence a successor too, so `abort` first looks whether there is one, by storing the last offsets once more with the old
epoch. It may have come and gone, so the owner must go back to the committed positions: it is told by
TransactionAborted, calls `abort`, and reads them after that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from twinstack.core import limits
from twinstack.core.errors import (
    FatalLogError,
    Fenced,
    InvalidInput,
    QueueFull,
    RetriableLogError,
    TransactionAborted,
    TwinstackError,
    Unreachable,
)
from twinstack.log.kafka.calls import Caller, NoReturn, release
from twinstack.log.kafka.facade import Connection, KafkaHeaders, to_headers, to_kafka
from twinstack.log.kafka.producer import SETTINGS, RecordBytesMax, TopicLimits, check_sizes, size_of, too_large
from twinstack.log.seam import Headers, OutRecord, TopicPartition

_CALL_S = 5.0
_GRACE_S = 5.0
_POLL_EVERY = 2_000
_RETRY_PAUSE_S = 0.1
_CLOSE_S = 2.0


class State(Enum):
    READY = "ready"
    OPEN = "open"
    BROKEN = "broken"
    STALE = "stale"
    LOST = "lost"
    CLOSED = "closed"


class KafkaTransaction:
    """Errors of every call: TransactionAborted, Fenced, FatalLogError; of abort also RetriableLogError: no broker
    answers now, abort again later. Opening raises Unreachable when none answers."""

    def __init__(
        self, connection: Connection, record_bytes_max: RecordBytesMax, transactional_id: str, *, timeout_ms: int
    ) -> None:
        self._connection = connection
        self._watch = connection.watch()
        self._id = transactional_id
        self._timeout_ms = timeout_ms
        self._limits = TopicLimits(record_bytes_max)
        self._groups: dict[str, Any] = {}
        self._state = State.READY
        self._since_poll = 0
        self._stored: tuple[list[KafkaPartition], Any] | None = None
        """The offsets that were committed last, with their group's metadata."""
        self._lost: TwinstackError | None = None
        self._caller = Caller()
        try:
            self._open()
        except RetriableLogError as error:
            raise Unreachable(error.message, fix="Check that Kafka runs there and is well, then repeat.") from None

    # Sending

    def send(self, record: OutRecord) -> None:
        limit = self._limits.known.get(record.topic) or self._limits.of(record.topic)
        size = size_of(record.value, record.key, record.headers)
        if size > limit:
            raise too_large(record.topic, size, limit)
        self._begin()
        partition = -1 if record.partition is None else record.partition
        self._produce(
            record.topic,
            record.value,
            record.key,
            partition,
            timestamp=record.timestamp_ms or 0,
            headers=to_headers(record.headers),
        )
        self._since_poll += 1
        if self._since_poll >= _POLL_EVERY:
            self._poll()

    def send_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        headers: Sequence[Headers],
    ) -> None:
        if not values:
            return
        limit = self._limits.known.get(topic) or self._limits.of(topic)
        any_headers = any(headers)
        check_sizes(topic, values, keys, headers if any_headers else None, limit)
        self._begin()
        produce = self._handle.produce
        try:
            for start in range(0, len(values), _POLL_EVERY):
                for i in range(start, min(start + _POLL_EVERY, len(values))):
                    own_headers = to_headers(headers[i]) if any_headers else None
                    try:
                        if own_headers is None:
                            produce(topic, values[i], keys[i])
                        else:
                            produce(topic, values[i], keys[i], headers=own_headers)
                    except (BufferError, KafkaException):
                        # The slow way knows how to wait and what an error means.
                        self._produce(topic, values[i], keys[i], -1, timestamp=0, headers=own_headers)
                self._poll()
        finally:
            del produce  # see _drop

    def _produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        *,
        timestamp: int,
        headers: KafkaHeaders | None,
    ) -> None:
        deadline: float | None = None
        while True:
            try:
                self._handle.produce(topic, value, key, partition, timestamp=timestamp, headers=headers)
                return
            except BufferError:
                now = time.monotonic()
                deadline = deadline or now + limits.PRODUCER_BLOCK_MS_MAX / 1000
                if now >= deadline:
                    raise QueueFull(
                        f"The queue to {self._connection.servers} is full and does not empty.",
                        fix="Check that the brokers answer; abort and repeat.",
                    ) from None
                self._handle.poll(0.05)
            except KafkaException as failure:
                raise self._failed(failure.args[0], f"send to '{topic}'") from None

    def _poll(self) -> None:
        self._since_poll = 0
        self._handle.poll(0)

    # Ending

    def commit(self, group: str | None = None, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        for tp, offset in (offsets or {}).items():
            if offset < 0:  # librdkafka would leave it out silently
                raise InvalidInput(f"The offset {offset} of {tp.topic}[{tp.partition}] is below 0: nothing was stored.")
        if offsets and not group:
            raise InvalidInput("Offsets are stored for a group.", fix="Name the group.")
        if self._state is State.READY and not offsets:
            return
        started, timeouts = time.monotonic(), self._watch.timeouts
        self._begin()
        if offsets:
            assert group is not None
            metadata = self._group_metadata(group)
            positions = to_kafka(offsets)
            self._until_done(
                lambda: self._handle.send_offsets_to_transaction(positions, metadata, _CALL_S),
                f"send offsets of the group '{group}'",
            )
        self._until_done(lambda: self._handle.commit_transaction(_CALL_S), "commit")
        if offsets:
            self._stored = positions, metadata
        self._ended(started, timeouts)

    def abort(self) -> None:
        """After it nothing of a transaction before is pending and the id is this producer's: committed positions read
        now are the last."""
        if self._state is State.READY:
            return
        if self._state in (State.OPEN, State.BROKEN) and self._abort_cleanly():
            return
        self._check_usable()
        if self._state is State.STALE:
            self._look_for_successor()
        self._renew()

    def _look_for_successor(self) -> None:
        """Errors: Fenced. Where it cannot be told (the client hangs, nobody answers) only a new epoch helps. A late
        request of the transaction before would do no harm here: it ends one that changes nothing."""
        if self._stored is None or "_handle" not in self.__dict__:
            return
        positions, metadata = self._stored
        try:
            self._repeat(self._handle.begin_transaction, "begin a transaction")
            self._repeat(
                lambda: self._handle.send_offsets_to_transaction(positions, metadata, _CALL_S), "store offsets again"
            )
            self._repeat(lambda: self._handle.commit_transaction(_CALL_S), "commit")
        except Fenced:
            raise
        except (RetriableLogError, TransactionAborted, FatalLogError):
            self._lost = None

    def _abort_cleanly(self) -> bool:
        """Whether a transaction without errors was aborted in time: the producer can begin the next one at once."""
        clean = self._state is State.OPEN
        started, timeouts = time.monotonic(), self._watch.timeouts
        try:
            self._until_done(lambda: self._handle.abort_transaction(_CALL_S), "abort")
        except TransactionAborted:
            return False
        return self._ended(started, timeouts) and clean

    def close(self) -> None:
        if self._state is State.CLOSED:
            return
        if self._state in (State.OPEN, State.BROKEN):
            # Without an answer the opening of a successor aborts it.
            with suppress(KafkaException, NoReturn):
                self._caller.call(lambda: self._handle.abort_transaction(_CLOSE_S), _CLOSE_S + _GRACE_S)
        self._state = State.CLOSED
        self._caller.end()
        self._drop()

    # State

    def _check_usable(self) -> None:
        if self._state is State.CLOSED:
            raise FatalLogError("The transactional producer is closed.", fix="Open a new one.")
        if self._lost is not None:
            raise self._lost

    def _begin(self) -> None:
        self._check_usable()
        if self._state is State.READY:
            try:
                self._handle.begin_transaction()
            except KafkaException as failure:
                raise self._failed(failure.args[0], "begin a transaction") from None
            self._state = State.OPEN
        elif self._state is not State.OPEN:
            raise TransactionAborted(
                f"The transaction of '{self._id}' cannot go on ({self._state.value}).",
                fix="Abort, go back to the last committed positions and repeat.",
            )

    def _ended(self, started: float, timeouts: int) -> bool:
        with suppress(KafkaException):
            self._handle.poll(0)  # lets error_cb tell of requests that timed out
        slow = time.monotonic() - started > limits.KAFKA_REQUEST_MS / 1000 or self._watch.timeouts != timeouts
        self._state = State.STALE if slow else State.READY
        return not slow

    def _until_done(self, call: Callable[[], None], action: str) -> None:
        """Runs a call until its outcome is known. When it stays unknown only a new client helps; whether a commit took
        place is then told by the committed positions."""
        try:
            self._repeat(call, action)
        except RetriableLogError as error:
            self._state = State.STALE
            raise TransactionAborted(
                error.message,
                fix="Abort, go back to the last committed positions (they tell whether it took place) and repeat.",
            ) from None

    def _repeat(self, call: Callable[[], None], action: str) -> None:
        """Repeats a call while librdkafka says it may be repeated. Errors: RetriableLogError when that takes too long
        or when a call does not come back at all."""
        deadline = time.monotonic() + limits.KAFKA_COMMIT_MS_MAX / 1000
        while True:
            try:
                self._caller.call(call, _CALL_S + _GRACE_S)
                return
            except NoReturn:
                self._caller.end()
                self._caller = Caller()
                raise self._unknown(action, "no answer") from None
            except KafkaException as failure:
                error: KafkaError = failure.args[0]
                if not error.retriable() or error.txn_requires_abort() or error.fatal():
                    raise self._failed(error, action) from None
                if time.monotonic() > deadline:
                    raise self._unknown(action, error.name()) from None
                time.sleep(_RETRY_PAUSE_S)

    def _unknown(self, action: str, reason: str) -> RetriableLogError:
        return RetriableLogError(
            f"Kafka at {self._connection.servers} could not {action} for '{self._id}' in time ({reason}).",
            fix="Repeat the same call.",
        )

    def _failed(self, error: KafkaError, action: str) -> TwinstackError:
        """The error to raise; the state follows from it."""
        mapped = self._watch.error(error, f"{action} for '{self._id}'")
        if isinstance(mapped, Fenced) or error.fatal():
            if not isinstance(mapped, Fenced) and error.code() == KafkaError._FATAL:
                mapped = FatalLogError(mapped.message, fix=mapped.fix)
            self._state, self._lost = State.LOST, mapped
            return mapped
        self._state = State.BROKEN
        if isinstance(mapped, TransactionAborted):
            return mapped
        return TransactionAborted(
            mapped.message, fix="Abort, go back to the last committed positions and repeat.", cause=mapped.code
        )

    # Opening

    def _renew(self) -> None:
        self._drop()
        try:
            self._open()
        except TwinstackError:
            if self._lost is None:
                self._state = State.STALE  # abort may be repeated
            raise
        self._state = State.READY

    def _drop(self) -> None:
        """The client's threads end with the last reference to it, so nothing else may hold one: no variable either of
        a call that raised (its error keeps the variables)."""
        if "_handle" in self.__dict__:
            release([self.__dict__.pop("_handle")])

    def _open(self) -> None:
        own = {
            "transactional.id": self._id,
            "transaction.timeout.ms": self._timeout_ms,
            "socket.timeout.ms": limits.KAFKA_REQUEST_MS,
            # The markers of a commit follow its answer by some milliseconds, and the next transaction is refused until
            # then: librdkafka's pause of 100 ms before it asks again would be the length of every short transaction.
            "retry.backoff.ms": 5,
            "retry.backoff.max.ms": 1_000,
            "linger.ms": 5,
        }
        self._handle = self._connection.producer(self._watch, SETTINGS | own)
        try:
            self._repeat(lambda: self._handle.init_transactions(_CALL_S), "open the transactional producer")
        except TwinstackError:
            self._drop()
            raise

    def _group_metadata(self, group: str) -> Any:
        """Of a group that nobody joins: made by a consumer that never speaks with a broker."""
        if group not in self._groups:
            consumer = Consumer({"group.id": group})
            self._groups[group] = consumer.consumer_group_metadata()
            consumer.close()
        return self._groups[group]
