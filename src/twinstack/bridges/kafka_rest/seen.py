"""Which observations came already: a repeated `ts-id` of the same caller, topic and key is not stored again.

Two memories. Ids that this process stored are kept for 24 h, at most REST_SEEN_IDS_MAX of them (the oldest go first),
with where each was stored. And when a topic is first written to after a start, the ids at the end of the log itself
(REST_SEEN_TAIL_RECORDS of each partition) are read, so that a retry across a restart of the server is found too; their
caller is not known, so they count for every caller. An id that is being stored is waited for.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from twinstack.core import limits
from twinstack.core.errors import PositionLost
from twinstack.log.seam import Delivery, Log, TopicPartition

Outcome = Delivery | Exception
_ANYBODY = ""


class _Stored(NamedTuple):
    partition: int
    offset: int
    at_ms: int


def fingerprint(caller: str, topic: str, key: bytes | None, ts_id: str) -> bytes:
    """16 bytes that stand for the four; NUL cannot occur in a topic or an id."""
    text = b"\0".join((caller.encode(), topic.encode(), ts_id.encode(), key or b""))
    return hashlib.blake2b(text, digest_size=16).digest()


class Seen:
    """Used on the event loop only."""

    def __init__(self, clock_ms: Callable[[], int], ids_max: int = limits.REST_SEEN_IDS_MAX) -> None:
        self._clock_ms = clock_ms
        self._ids_max = ids_max
        self._stored: OrderedDict[bytes, _Stored] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[Outcome]] = {}

    def __len__(self) -> int:
        return len(self._stored)

    def find(self, caller: str, topic: str, key: bytes | None, ts_id: str) -> Delivery | asyncio.Future[Outcome] | None:
        """Where the record was stored, the outcome to come, or None for a new one."""
        own = fingerprint(caller, topic, key, ts_id)
        if (future := self._under_way.get(own)) is not None:
            return future
        for mark in (own, fingerprint(_ANYBODY, topic, key, ts_id)):
            stored = self._stored.get(mark)
            if stored is not None and self._clock_ms() - stored.at_ms < limits.IDEMPOTENCE_WINDOW_MS:
                return Delivery(topic, stored.partition, stored.offset)
        return None

    def begin(self, caller: str, topic: str, key: bytes | None, ts_id: str) -> asyncio.Future[Outcome]:
        """Notes that the record is being stored; `finish` its fingerprint."""
        mark = fingerprint(caller, topic, key, ts_id)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._under_way[mark] = future
        future.add_done_callback(lambda done: self._finish(mark, done))
        return future

    def _finish(self, mark: bytes, done: asyncio.Future[Outcome]) -> None:
        self._under_way.pop(mark, None)
        if not done.cancelled() and isinstance(outcome := done.result(), Delivery):
            self._remember(mark, outcome.partition, outcome.offset)

    def add_tail(self, topic: str, tail: list[tuple[bytes | None, str, int, int]]) -> None:
        """Ids found on the log: key, id, partition, offset."""
        for key, ts_id, partition, offset in tail:
            self._remember(fingerprint(_ANYBODY, topic, key, ts_id), partition, offset)

    def _remember(self, mark: bytes, partition: int, offset: int) -> None:
        self._stored[mark] = _Stored(partition, offset, self._clock_ms())
        self._stored.move_to_end(mark)
        oldest_ms = self._clock_ms() - limits.IDEMPOTENCE_WINDOW_MS
        while len(self._stored) > self._ids_max or next(iter(self._stored.values())).at_ms < oldest_ms:
            self._stored.popitem(last=False)


def read_tail(log: Log, topic: str, partitions: int) -> list[tuple[bytes | None, str, int, int]]:
    """The ids among the last records of each partition, oldest first. Blocks. Errors: those of a consumer."""
    tps = [TopicPartition(topic, partition) for partition in range(partitions)]
    admin = log.admin()
    ends, begins = admin.end_offsets(tps), admin.beginning_offsets(tps)
    starts = {tp: max(begins[tp], ends[tp] - limits.REST_SEEN_TAIL_RECORDS) for tp in tps}
    missing = {tp for tp in tps if starts[tp] < ends[tp]}
    found: list[tuple[bytes | None, str, int, int]] = []
    if not missing:
        return found
    consumer = log.consumer(client_id="kafka-rest-tail")
    try:
        consumer.assign({tp: starts[tp] for tp in missing})
        while missing and (batches := consumer.poll(1.0)):
            for batch in batches:
                for key, headers, offset in zip(batch.keys, batch.headers, batch.offsets, strict=True):
                    ids = [v.decode("ascii", "replace") for n, v in headers if n == "ts-id"]
                    found.extend((key, ts_id, batch.partition, offset) for ts_id in ids[:1])
                if batch.next_offset >= ends[TopicPartition(topic, batch.partition)]:
                    missing.discard(TopicPartition(topic, batch.partition))
    except PositionLost:
        # retention moved the beginning meanwhile: what it dropped is no retry of now
        return found
    finally:
        consumer.close()
    return found
