"""How records travel between a client and the log: the seam of the client, and its implementation over a `Log`.

The producer is the log's own seam; a reader is the part of a consumer that a client needs, so that the Kafka REST
API, which knows no pause and no position, can be one as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from twinstack.log.seam import Batch, Log, Producer, Start, TopicPartition
from twinstack.log.starting import subscribe_pinned


class Reader(Protocol):
    """One thread at a time."""

    def poll(self, timeout_s: float, records_max: int = 5_000) -> list[Batch]: ...
    def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None: ...
    def close(self) -> None: ...


class Transport(Protocol):
    """Shared by the threads of a client; what it hands out belongs to one thread at a time."""

    def producer(self) -> Producer: ...

    def subscribed(self, topics: Sequence[str], group: str, start: Start) -> Reader:
        """A member of the group. A group without committed offsets begins at `start` as of this call."""
        ...

    def assigned(self, positions: Mapping[TopicPartition, int | Start]) -> Reader:
        """Reads these partitions, without a group."""
        ...

    def ping(self, timeout_s: float) -> None:
        """Errors: Unreachable that names the address, within the time-out."""
        ...

    def close(self) -> None: ...


class LogTransport:
    """Straight to a log: Kafka, or the embedded log of this process."""

    def __init__(self, log: Log, client_id: str, *, owns_log: bool) -> None:
        self._log = log
        self._client_id = client_id
        self._owns_log = owns_log

    def producer(self) -> Producer:
        return self._log.producer(client_id=self._client_id)

    def subscribed(self, topics: Sequence[str], group: str, start: Start) -> Reader:
        consumer = self._log.consumer(group=group, client_id=self._client_id, start=start)
        try:
            subscribe_pinned(self._log, consumer, topics, start)
        except BaseException:
            consumer.close()
            raise
        return consumer

    def assigned(self, positions: Mapping[TopicPartition, int | Start]) -> Reader:
        consumer = self._log.consumer(client_id=self._client_id)
        consumer.assign(positions)
        return consumer

    def ping(self, timeout_s: float) -> None:
        self._log.ping(timeout_s)

    def close(self) -> None:
        if self._owns_log:
            self._log.close()
