"""seam.Producer over a Transport: what waits is sent as soon as the previous request is answered.

One sender thread per producer. No lingering: while a request is under way the next records gather by themselves.
A request that failed for a passing reason is repeated with its sequence, so the log stores it once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import NamedTuple, TypeVar

from twinstack.core.errors import (
    FatalLogError,
    QueueFull,
    TimedOut,
    TwinstackError,
    Unavailable,
    Undelivered,
)
from twinstack.core.ids import new_uid
from twinstack.core.limits import (
    DELIVERY_TIMEOUT_MS,
    DERIVED_RECORD_BYTES_MAX,
    MIB,
    PRODUCER_BLOCK_MS_MAX,
    PRODUCER_QUEUE_BYTES_MAX,
    PRODUCER_QUEUE_RECORDS_MAX,
)
from twinstack.log.packed.format import check_record
from twinstack.log.packed.router import Columns, Router
from twinstack.log.packed.transport import Part, Transport
from twinstack.log.seam import Delivery, DeliveryCallback, Headers, OutRecord

T = TypeVar("T")

REQUEST_RECORDS_MAX = 20_000
REQUEST_BYTES_MAX = 4 * MIB
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 2.0


class _Chunk(NamedTuple):
    """Records that were handed over together."""

    topic: str
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    headers: Sequence[Headers]
    timestamp_ms: int
    partition: int | None
    callback: DeliveryCallback | None
    bytes: int


class _Report(NamedTuple):
    """The outcome of consecutive records of one part: the first's place, or the error of all."""

    callbacks: Sequence[DeliveryCallback | None]
    outcome: Delivery | Exception


class PackedProducer:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._producer = new_uid()
        self._sequence = 0
        self._router = Router(lambda topic: transport.layout(topic).partitions)
        self._waiting: deque[_Chunk] = deque()
        self._reports: deque[_Report] = deque()
        self._changed = threading.Condition()
        self._outstanding = 0  # records sent but not yet settled
        self._outstanding_bytes = 0
        self._failed = 0
        self._first_error = ""
        self._trouble = ""  # why the request under way is being repeated
        self._closed = False
        self._sender: threading.Thread | None = None

    # What the seam promises

    def send(self, record: OutRecord, on_delivery: DeliveryCallback | None = None) -> None:
        topic, value, key, headers, timestamp_ms, partition = record
        check_record(value, key, headers, DERIVED_RECORD_BYTES_MAX)
        when = self._transport.now_ms() if timestamp_ms is None else timestamp_ms
        size = len(value or b"") + len(key or b"")
        self._queue(_Chunk(topic, (value,), (key,), (headers,), when, partition, on_delivery, size))
        if self._reports:
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
        count = len(values)
        all_keys = [key] * count if keys is None else keys
        all_headers: Sequence[Headers] = [()] * count if headers is None else headers
        if not len(all_keys) == len(all_headers) == count:
            raise ValueError("values, keys and headers have different lengths")
        for value, one_key, some in zip(values, all_keys, all_headers, strict=True):
            if len(value) > DERIVED_RECORD_BYTES_MAX or one_key is not None or some:
                check_record(value, one_key, some, DERIVED_RECORD_BYTES_MAX)
        when = self._transport.now_ms()
        size_each = sum(map(len, values)) // max(1, count) + 1
        step = max(1, min(REQUEST_RECORDS_MAX // 4, REQUEST_BYTES_MAX // size_each))
        for at in range(0, count, step):
            window = slice(at, at + step)
            part = values[window]
            chunk = _Chunk(
                topic, part, all_keys[window], all_headers[window], when, None, on_delivery, size_each * len(part)
            )
            self._queue(chunk)
        self.poll()

    def poll(self) -> int:
        ran = 0
        while self._reports:
            callbacks, outcome = self._reports.popleft()
            for index, callback in enumerate(callbacks):
                if callback is not None:
                    ran += 1
                    if isinstance(outcome, Delivery):
                        callback(Delivery(outcome.topic, outcome.partition, outcome.offset + index))
                    else:
                        callback(outcome)
        return ran

    def flush(self, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._outstanding == 0, timeout_s)
            missing, first = self._failed + self._outstanding, self._first_error or self._trouble
            self._failed, self._first_error = 0, ""
        self.poll()
        if missing:
            raise Undelivered(missing, first, fix="Those still under way go on being sent: call flush again.")

    def close(self, timeout_s: float = 10.0) -> None:
        if self._closed:
            return
        try:
            self.flush(timeout_s)
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            if self._sender is not None:
                self._sender.join(timeout_s)

    def _queue(self, chunk: _Chunk) -> None:
        count = len(chunk.values)
        with self._changed:
            if self._closed:
                raise FatalLogError("This producer is closed.", fix="Open another one.")
            if not self._fits(count, chunk.bytes) and not self._changed.wait_for(
                lambda: self._fits(count, chunk.bytes), PRODUCER_BLOCK_MS_MAX / 1000
            ):
                raise QueueFull(
                    f"{self._outstanding} records wait to be sent{': ' + self._trouble if self._trouble else '.'}",
                    fix="Send more slowly, or see why the log does not take them.",
                )
            self._waiting.append(chunk)
            self._outstanding += count
            self._outstanding_bytes += chunk.bytes
            if self._sender is None:
                self._sender = threading.Thread(target=self._run, name="twinstack-producer", daemon=True)
                self._sender.start()
            self._changed.notify_all()

    def _fits(self, records: int, size: int) -> bool:
        """A chunk larger than the whole queue may enter an empty one."""
        return not self._outstanding or (
            self._outstanding + records <= PRODUCER_QUEUE_RECORDS_MAX
            and self._outstanding_bytes + size <= PRODUCER_QUEUE_BYTES_MAX
        )

    # The sender thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                chunks = self._take()
            reports = self._deliver(chunks)
            with self._changed:
                self._reports.extend(reports)
                for report in reports:
                    if isinstance(report.outcome, Exception):
                        self._failed += len(report.callbacks)
                        self._first_error = self._first_error or str(report.outcome)
                self._outstanding -= sum(len(chunk.values) for chunk in chunks)
                self._outstanding_bytes -= sum(chunk.bytes for chunk in chunks)
                self._trouble = ""
                self._changed.notify_all()

    def _take(self) -> list[_Chunk]:
        chunks = [self._waiting.popleft()]
        records, size = len(chunks[0].values), chunks[0].bytes
        while self._waiting:
            records, size = records + len(self._waiting[0].values), size + self._waiting[0].bytes
            if records > REQUEST_RECORDS_MAX or size > REQUEST_BYTES_MAX:
                break
            chunks.append(self._waiting.popleft())
        return chunks

    def _deliver(self, chunks: list[_Chunk]) -> list[_Report]:
        """Every record of the chunks is in exactly one report."""
        reports: list[_Report] = []
        targets: dict[tuple[str, int], Columns] = {}
        for chunk in chunks:
            self._sort(chunk, targets, reports)
        self._router.rotate()
        parts: list[Part] = []
        callbacks: list[Sequence[DeliveryCallback | None]] = []
        for (topic, partition), columns in targets.items():
            at = 0
            try:
                for part, count in columns.parts(topic, partition):
                    parts.append(part)
                    callbacks.append(columns.callbacks[at : at + count])
                    at += count
            except TwinstackError as error:
                reports.append(_Report(columns.callbacks[at:], error))
        if parts:
            outcome = self._append(parts)
            for index, (part, waiting) in enumerate(zip(parts, callbacks, strict=True)):
                place = (
                    outcome if isinstance(outcome, Exception) else Delivery(part.topic, part.partition, outcome[index])
                )
                reports.append(_Report(waiting, place))
        return reports

    def _sort(self, chunk: _Chunk, targets: dict[tuple[str, int], Columns], reports: list[_Report]) -> None:
        """Adds the chunk's records to the columns of their partitions; those that cannot be sent to the reports."""
        try:
            record_bytes_max = self._retrying(lambda: self._transport.layout(chunk.topic)).record_bytes_max
            if len(chunk.values) == 1:
                partitions = [self._router.one(chunk.topic, chunk.keys[0], chunk.partition)]
            else:
                partitions = self._router.many(chunk.topic, chunk.keys)
        except TwinstackError as error:
            reports.append(_Report([chunk.callback] * len(chunk.values), error))
            return
        bytes_each = chunk.bytes // len(chunk.values) + 1
        for partition, value, key, headers, callback in zip(
            partitions, chunk.values, chunk.keys, chunk.headers, repeat(chunk.callback), strict=False
        ):
            if value is not None and len(value) > record_bytes_max:
                try:
                    check_record(value, key, headers, record_bytes_max)
                except TwinstackError as error:
                    reports.append(_Report([callback], error))
                continue
            columns = targets.get((chunk.topic, partition))
            if columns is None:
                columns = targets[chunk.topic, partition] = Columns()
            columns.values.append(value)
            columns.keys.append(key)
            columns.headers.append(headers)
            columns.timestamps_ms.append(chunk.timestamp_ms)
            columns.callbacks.append(callback)
            columns.bytes += bytes_each

    def _append(self, parts: list[Part]) -> list[int] | Exception:
        self._sequence += 1
        sequence = self._sequence
        try:
            return self._retrying(lambda: self._transport.append(parts, self._producer, sequence))
        except TwinstackError as error:
            self._router.forget()
            return error

    def _retrying(self, call: Callable[[], T]) -> T:
        """Repeats a call that is safe to repeat until the delivery time-out."""
        give_up = time.monotonic() + DELIVERY_TIMEOUT_MS / 1000
        pause_s = RETRY_FIRST_S
        while True:
            try:
                return call()
            except Unavailable as error:
                self._trouble = str(error)
                if time.monotonic() + pause_s > give_up:
                    raise TimedOut(
                        f"Not delivered within {DELIVERY_TIMEOUT_MS // 1000} s: {error.message}", fix=error.fix
                    ) from error
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, pause_s):
                    raise FatalLogError("The producer was closed before this was delivered.")
            pause_s = min(pause_s * 2, RETRY_MAX_S)
