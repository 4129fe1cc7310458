"""A producer on Kafka: idempotent, in order, with back-pressure instead of loss.

librdkafka calls Python once per record only when somebody asks for the deliveries. Without `on_delivery` just failures
come back; the first record that wants a report makes the producer flush and open a client that reports all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Handle

from twinstack.core import limits
from twinstack.core.errors import FatalLogError, QueueFull, TwinstackError, Undelivered
from twinstack.log.kafka.calls import release
from twinstack.log.kafka.facade import Connection, KafkaHeaders, to_headers
from twinstack.log.kafka.sizes import RecordBytesMax, TopicLimits, check_sizes, size_of, too_large
from twinstack.log.seam import Delivery, DeliveryCallback, Headers, OutRecord

_BATCH_BYTES = 1_000_000
_POLL_EVERY = 500

SETTINGS: dict[str, Any] = {
    "enable.idempotence": True,
    # Java's default partitioner: everybody puts a key on the same partition.
    "partitioner": "murmur2_random",
    # Records without key are spread one by one, not in runs of some milliseconds.
    "sticky.partitioning.linger.ms": 0,
    "compression.type": "lz4",
    "batch.num.messages": 100_000,
    "queue.buffering.max.messages": limits.PRODUCER_QUEUE_RECORDS_MAX,
    "queue.buffering.max.kbytes": limits.PRODUCER_QUEUE_BYTES_MAX // limits.KIB,
    "message.max.bytes": limits.DERIVED_RECORD_BYTES_MAX + 64 * limits.KIB,
}


class KafkaProducer:
    def __init__(
        self, connection: Connection, record_bytes_max: RecordBytesMax, *, client_id: str, linger_ms: int
    ) -> None:
        self._connection = connection
        self._watch = connection.watch()
        self._client_id = client_id
        self._linger_ms = linger_ms
        self._limits = TopicLimits(record_bytes_max)
        self._batch_bytes = _BATCH_BYTES
        self._reports = False
        self._handle: Handle | None = None
        self._closed = False
        self._failed = 0
        self._first_error: TwinstackError | None = None
        self._callbacks_run = 0
        self._since_poll = 0

    def send(self, record: OutRecord, on_delivery: DeliveryCallback | None = None) -> None:
        topic, value, key, headers, timestamp_ms, partition = record
        limit = self._prepare(topic, reports=on_delivery is not None)
        size = size_of(value, key, headers)
        if size > limit:
            raise too_large(topic, size, limit)
        report = partial(self._report, on_delivery) if on_delivery else None
        place, own, when = -1 if partition is None else partition, to_headers(headers), timestamp_ms or 0
        try:
            # by place: names cost a quarter of the call
            self._open().produce(topic, value, key, place, report, None, when, own)
        except (BufferError, KafkaException):
            # The slow way knows how to wait and how to begin anew.
            self._produce(topic, value, key, place, on_delivery=report, timestamp=when, headers=own)
        self._since_poll += 1
        if self._since_poll >= _POLL_EVERY:
            self.poll()

    def send_many(
        self,
        topic: str,
        values: Sequence[bytes],
        *,
        key: bytes | None = None,
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Headers] | None = None,
        on_delivery: DeliveryCallback | None = None,
    ) -> None:
        if not values:
            return
        limit = self._prepare(topic, reports=on_delivery is not None)
        check_sizes(topic, values, keys if keys is not None else [key], headers, limit)
        report = partial(self._report, on_delivery) if on_delivery else None
        own_keys: Sequence[bytes | None] = [key] * len(values) if keys is None else keys
        own_headers = [None] * len(values) if headers is None else list(map(to_headers, headers))
        produce = self._open().produce
        for start in range(0, len(values), _POLL_EVERY):
            chunk = slice(start, start + _POLL_EVERY)
            for value, own_key, own in zip(values[chunk], own_keys[chunk], own_headers[chunk], strict=True):
                try:
                    if own is None and report is None:
                        produce(topic, value, own_key)
                    else:
                        # by place: names cost a quarter of the call
                        produce(topic, value, own_key, -1, report, None, 0, own)
                except (BufferError, KafkaException):
                    # The slow way knows how to wait and how to begin anew.
                    self._produce(topic, value, own_key, -1, on_delivery=report, timestamp=0, headers=own)
                    produce = self._open().produce
            self.poll()

    def poll(self) -> int:
        self._since_poll = 0
        before = self._callbacks_run
        if self._handle is not None:
            with suppress(KafkaException):  # a fatal error: its records are reported, the next one begins anew
                self._handle.poll(0)
        return self._callbacks_run - before

    def flush(self, timeout_s: float) -> None:
        waiting = self._flushed(max(0.0, timeout_s))
        count, first = self._failed + waiting, self._first_error
        self._failed, self._first_error = 0, None
        if count:
            cause = first.message if first else "no acknowledgement within the time."
            raise Undelivered(count, cause, fix=first.fix if first else "Check that the brokers answer, flush again.")

    def _flushed(self, timeout_s: float) -> int:
        """How many records are still under way after it."""
        if self._handle is None:
            return 0
        try:
            return self._handle.flush(timeout_s)
        except KafkaException as failure:
            self._first_error = self._first_error or self._watch.error(failure.args[0], "deliver records")
            return len(self._handle)

    def close(self, timeout_s: float = 10.0) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self.flush(timeout_s)
        finally:
            self._release()

    # Opening

    def _prepare(self, topic: str, *, reports: bool) -> int:
        """The topic's record limit, with a client that fits: one that reports, and whose batches the topic takes."""
        limit = self._limits.known.get(topic) or self._limits.of(topic)
        if (reports and not self._reports) or limit < self._batch_bytes:
            self._reports = self._reports or reports
            self._batch_bytes = min(self._batch_bytes, max(limit, 1))
            self._renew()
        return limit

    def _open(self) -> Handle:
        if self._closed:
            raise FatalLogError("The producer is closed.", fix="Open a new one.")
        if self._handle is None:
            own = {
                "linger.ms": self._linger_ms,
                "batch.size": self._batch_bytes,
                "delivery.timeout.ms": limits.DELIVERY_TIMEOUT_MS,
                "delivery.report.only.error": not self._reports,
                "on_delivery": self._failure,
            }
            self._handle = self._connection.producer(self._watch, SETTINGS | own, client_id=self._client_id)
        return self._handle

    def _renew(self) -> None:
        """A new client with other settings. The old one is flushed first: order is kept."""
        if self._handle is None:
            return
        if self._flushed(limits.PRODUCER_BLOCK_MS_MAX / 1000):
            raise self._queue_full()
        self._release()

    def _release(self) -> None:
        if self._handle is not None:
            box = [self._handle]
            self._handle = None
            release(box)

    # Sending

    def _produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        *,
        on_delivery: Callable[[KafkaError | None, Message], None] | None,
        timestamp: int,
        headers: KafkaHeaders | None,
    ) -> None:
        """Queues one record; waits for room; begins anew, once, with a client that broke for good."""
        deadline: float | None = None
        renewed = False
        while True:
            try:
                self._open().produce(
                    topic, value, key, partition, on_delivery=on_delivery, timestamp=timestamp, headers=headers
                )
                return
            except BufferError:
                now = time.monotonic()
                deadline = deadline or now + limits.PRODUCER_BLOCK_MS_MAX / 1000
                if now >= deadline:
                    raise self._queue_full() from None
                self._open().poll(0.05)
            except KafkaException as failure:
                error: KafkaError = failure.args[0]
                if renewed or error.code() != KafkaError._FATAL:
                    raise self._watch.error(error, f"send to '{topic}'", topic) from None
                renewed = True
                self._release()

    def _queue_full(self) -> QueueFull:
        return QueueFull(
            f"The queue to {self._connection.servers} is full and did not empty for "
            f"{limits.PRODUCER_BLOCK_MS_MAX // 1000} s.",
            fix="Check that the brokers answer; send the record again: it was not taken.",
        )

    # Reports; called by librdkafka inside produce, poll and flush, on the thread of the caller

    def _failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._note(error, message)

    def _report(self, callback: DeliveryCallback, error: KafkaError | None, message: Message) -> None:
        self._callbacks_run += 1
        if error is not None:
            callback(self._note(error, message))
            return
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None and partition is not None and offset is not None
        callback(Delivery(topic, partition, offset))

    def _note(self, error: KafkaError, message: Message) -> TwinstackError:
        topic = message.topic()
        mapped = self._watch.error(error, f"store a record on '{topic}'", topic)
        self._failed += 1
        self._first_error = self._first_error or mapped
        if topic is not None:
            self._limits.known.pop(topic, None)  # it may have been made anew with other limits
        return mapped
