"""seam.Producer over HTTP: what waits is sent as soon as the request before is answered.

One sender thread, one request under way, so the order is kept. A request without an answer is repeated with the same
`ts-id` headers until DELIVERY_TIMEOUT_MS, and the server stores each id once: a lost answer is no second record.
"""

from __future__ import annotations

import base64
import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import repeat
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from twinstack.client.http import HttpServer
from twinstack.core import limits
from twinstack.core.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PermissionDenied,
    QueueFull,
    RecordTooLarge,
    TwinstackError,
    Unavailable,
    Undelivered,
    UnknownTopic,
)
from twinstack.log.seam import Delivery, DeliveryCallback, Headers, OutRecord

REQUEST_RECORDS_MAX = 2_000
REQUEST_BYTES_MAX = 1 * limits.MIB
RETRY_FIRST_S, RETRY_MAX_S = 0.1, 2.0
_TYPE = {"Content-Type": "application/vnd.kafka.json.v2+json", "Accept": "application/vnd.kafka.v2+json"}
_RETRIABLE = 2
_FINAL_KINDS = (InvalidInput, NotFound, PermissionDenied, Conflict)

_encode = msgspec.json.Encoder().encode


class _Entry(NamedTuple):
    topic: str
    body: bytes
    callback: DeliveryCallback | None
    give_up_s: float


class RestProducer:
    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._changed = threading.Condition()
        self._waiting: deque[_Entry] = deque()
        self._reports: deque[tuple[DeliveryCallback, Delivery | Exception]] = deque()
        self._outstanding = 0
        self._outstanding_bytes = 0
        self._failed = 0
        self._first_error = ""
        self._trouble = ""  # why the request under way is being repeated
        self._closed = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # What the seam promises

    def send(self, record: OutRecord, on_delivery: DeliveryCallback | None = None) -> None:
        body = encode_record(record.value, record.key, record.headers, record.partition)
        self._queue([_Entry(record.topic, body, on_delivery, _give_up_s())])
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
        all_keys = repeat(key, len(values)) if keys is None else keys
        all_headers: Any = repeat((), len(values)) if headers is None else headers
        give_up_s = _give_up_s()
        entries = [
            _Entry(topic, encode_record(value, one_key, some, None), on_delivery, give_up_s)
            for value, one_key, some in zip(values, all_keys, all_headers, strict=True)
        ]
        for at in range(0, len(entries), REQUEST_RECORDS_MAX):
            self._queue(entries[at : at + REQUEST_RECORDS_MAX])
        self.poll()

    def poll(self) -> int:
        ran = 0
        while self._reports:
            callback, outcome = self._reports.popleft()
            callback(outcome)
            ran += 1
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
            self._stop.set()
            if self._thread is not None:
                self._thread.join(limits.HTTP_TIMEOUT_MS / 1000)
            self._server.close()

    def _queue(self, entries: list[_Entry]) -> None:
        size = sum(len(entry.body) for entry in entries)
        with self._changed:
            if self._closed:
                raise Conflict("This producer is closed.", fix="Open another one.")
            if not self._changed.wait_for(lambda: self._fits(len(entries), size), limits.PRODUCER_BLOCK_MS_MAX / 1000):
                raise QueueFull(
                    f"{self._outstanding} records wait to be sent{f': {self._trouble}' if self._trouble else '.'}",
                    fix="Send more slowly, or see why the server does not take them.",
                )
            self._waiting.extend(entries)
            self._outstanding += len(entries)
            self._outstanding_bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="twinstack-rest-producer", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _fits(self, records: int, size: int) -> bool:
        """A batch larger than the whole queue may enter an empty one."""
        return not self._outstanding or (
            self._outstanding + records <= limits.PRODUCER_QUEUE_RECORDS_MAX
            and self._outstanding_bytes + size <= limits.PRODUCER_QUEUE_BYTES_MAX
        )

    # The sender thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                batch = self._take()
            outcomes = self._deliver(batch)
            with self._changed:
                for entry, outcome in zip(batch, outcomes, strict=True):
                    if isinstance(outcome, Exception):
                        self._failed += 1
                        self._first_error = self._first_error or str(outcome)
                    if entry.callback is not None:
                        self._reports.append((entry.callback, outcome))
                self._outstanding -= len(batch)
                self._outstanding_bytes -= sum(len(entry.body) for entry in batch)
                self._trouble = ""
                self._changed.notify_all()

    def _take(self) -> list[_Entry]:
        """The next records of one topic that fit into one request."""
        batch = [self._waiting.popleft()]
        size = len(batch[0].body)
        while self._waiting and len(batch) < REQUEST_RECORDS_MAX:
            following = self._waiting[0]
            size += len(following.body)
            if following.topic != batch[0].topic or size > REQUEST_BYTES_MAX:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _deliver(self, batch: list[_Entry]) -> list[Delivery | Exception]:
        """Repeats what may succeed until it is stored, refused, or too late."""
        outcomes: list[Delivery | Exception | None] = [None] * len(batch)
        pause_s = RETRY_FIRST_S
        while open_places := [place for place, outcome in enumerate(outcomes) if outcome is None]:
            trouble = self._attempt(batch, open_places, outcomes)
            if trouble is None:
                continue
            self._trouble = str(trouble)
            now_s = time.monotonic()
            for place in open_places:
                if outcomes[place] is None and (self._stop.is_set() or now_s >= batch[place].give_up_s):
                    outcomes[place] = trouble
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)
        return [outcome for outcome in outcomes if outcome is not None]

    def _attempt(
        self, batch: list[_Entry], places: list[int], outcomes: list[Delivery | Exception | None]
    ) -> TwinstackError | None:
        """One request for the records at `places`; fills in what is decided. Returns why the rest has to wait."""
        topic = batch[0].topic
        body = b'{"records":[' + b",".join(batch[place].body for place in places) + b"]}"
        try:
            answer = self._server.request("POST", f"/topics/{quote(topic)}", body=body, headers=_TYPE)
            told = msgspec.json.decode(answer.content)["offsets"]
            if len(told) != len(places):
                raise ValueError("another number of offsets than of records")
        except _FINAL_KINDS as error:
            refused = _of_topic(error, topic)
            for place in places:
                outcomes[place] = refused
            return None
        except TwinstackError as error:
            return error
        except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
            return Unavailable(f"The answer of {self._server.shown} is not understood: {error}")
        trouble: TwinstackError | None = None
        for place, line in zip(places, told, strict=True):
            if line.get("error_code") is None:
                outcomes[place] = Delivery(topic, line["partition"], line["offset"])
            elif line["error_code"] == _RETRIABLE:
                trouble = Unavailable(str(line.get("error")))
            else:
                outcomes[place] = _refusal(line, topic)
        return trouble


def _refusal(line: dict[str, Any], topic: str) -> TwinstackError:
    said = str(line.get("error"))
    kinds = {"record_too_large": RecordTooLarge, "unknown_topic": UnknownTopic, "permission_denied": PermissionDenied}
    return kinds.get(str(line.get("code")), InvalidInput)(said, topic=topic)


def _of_topic(error: TwinstackError, topic: str) -> TwinstackError:
    if isinstance(error, NotFound):
        return UnknownTopic(f"The topic '{topic}' does not exist: {error.message}", fix=error.fix, topic=topic)
    return error


def _give_up_s() -> float:
    return time.monotonic() + limits.DELIVERY_TIMEOUT_MS / 1000


def encode_record(value: bytes | None, key: bytes | None, headers: Headers, partition: int | None) -> bytes:
    """One record of a request in the format `json`: the value's bytes stand in it as they are."""
    parts = [b'{"value":', b"null" if value is None else value]
    if key is not None:
        parts += [b',"key":', _encode(key.decode("utf-8", "replace"))]
    if headers:
        shaped = [{"name": name, "value": base64.b64encode(content).decode("ascii")} for name, content in headers]
        parts += [b',"headers":', _encode(shaped)]
    if partition is not None:
        parts += [b',"partition":', str(partition).encode()]
    parts.append(b"}")
    return b"".join(parts)
