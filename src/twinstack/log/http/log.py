"""HttpLog: the seam over the server's embedded log. Producer, consumer and transaction are the shared ones.

A request is repeated with its sequence after a lost answer, so nothing is stored twice. A server that does not answer
the first call is Unreachable (which names host and port) within five seconds; later a restart of it is bridged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from twinstack.core.errors import RetriableLogError, TimedOut, Unavailable, Unreachable
from twinstack.core.ids import new_uid
from twinstack.core.limits import BROKER_PROBE_MS_MAX, TRANSACTION_TIMEOUT_MS
from twinstack.log.http import wire
from twinstack.log.http.connection import RETRY_FIRST_S, RETRY_MAX_S, Connections
from twinstack.log.http.heartbeat import Heartbeats
from twinstack.log.packed.consumer import PackedConsumer
from twinstack.log.packed.producer import PackedProducer
from twinstack.log.packed.transaction import PackedTransaction
from twinstack.log.packed.transport import Assignment, Fetched, Membership, Part, Resolved, TopicLayout, Want
from twinstack.log.seam import (
    LATEST,
    Admin,
    Consumer,
    Producer,
    Start,
    TopicInfo,
    TopicPartition,
    TopicSpec,
    Transaction,
)

LAYOUT_S_MAX = 60.0
FETCH_S_MAX = BROKER_PROBE_MS_MAX / 1000
"""What a fetch may take beside its waiting."""


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class HttpLog:
    """`url` as http://host:port; `token` is sent as a bearer token. Nothing is contacted before the first call."""

    def __init__(
        self,
        url: str,
        *,
        client_id: str = "twinstack",
        token: str | None = None,
        now_ms: Callable[[], int] = _wall_clock_ms,
    ) -> None:
        self.now_ms = now_ms
        self._connections = Connections(url, client_id, token)
        self._heartbeats = Heartbeats(self._connections)
        self._layouts: dict[str, tuple[TopicLayout, float]] = {}

    # seam.Log

    def producer(self, *, client_id: str = "twinstack", linger_ms: int = 5) -> Producer:
        """`linger_ms` is not needed here: records that come while a request is under way gather by themselves."""
        return PackedProducer(self)

    def consumer(self, *, group: str | None = None, client_id: str = "twinstack", start: Start = LATEST) -> Consumer:
        return PackedConsumer(_Poller(self), group, start)

    def transaction(self, transactional_id: str, *, timeout_ms: int = TRANSACTION_TIMEOUT_MS) -> Transaction:
        """`timeout_ms` bounds how long one commit is repeated before RetriableLogError."""
        return PackedTransaction(_Patient(self, timeout_ms / 1000), transactional_id)

    def admin(self) -> Admin:
        return HttpAdmin(self._connections)

    def ping(self, timeout_s: float = 5.0) -> None:
        try:
            self._connections.request(wire.Ping(), None, timeout_s)
        except TimedOut as error:
            raise Unreachable(error.message, fix=error.fix) from error

    def close(self) -> None:
        self._heartbeats.close()
        self._connections.close()

    @property
    def patience_s(self) -> float:
        return self._connections.patience_s

    # Transport

    def layout(self, topic: str) -> TopicLayout:
        known = self._layouts.get(topic)
        if known is not None and time.monotonic() - known[1] < LAYOUT_S_MAX:
            return known[0]
        layout: TopicLayout = self._connections.patient(wire.Layout(topic), TopicLayout)
        self._layouts[topic] = (layout, time.monotonic())
        return layout

    def append(self, parts: Sequence[Part], producer: str, sequence: int) -> list[int]:
        try:
            request = wire.Append(list(parts), producer, sequence)
            answer: list[int] = self._connections.request(request, list[int])
        except Unavailable:
            raise
        except Exception:
            for part in parts:  # perhaps deleted and made again
                self._layouts.pop(part.topic, None)
            raise
        return answer

    def init(self, transactional_id: str) -> int:
        epoch: int = self._connections.patient(wire.Init(transactional_id), int)
        return epoch

    def commit(
        self,
        transactional_id: str,
        epoch: int,
        sequence: int,
        parts: Sequence[Part],
        group: str | None,
        offsets: Mapping[TopicPartition, int],
        patience_s: float = TRANSACTION_TIMEOUT_MS / 1000,
    ) -> None:
        request = wire.Commit(transactional_id, epoch, sequence, list(parts), group, _triples(offsets))
        try:
            self._connections.patient(request, None, patience_s)
        except (Unreachable, TimedOut) as error:
            raise RetriableLogError(
                f"The outcome of the commit is not known: {error.message}", fix="Repeat the commit, or abort."
            ) from error

    def fetch(
        self, wants: Sequence[Want], wait_ms: int, records_max: int, bytes_max: int, membership: Membership | None
    ) -> Fetched:
        request = wire.Fetch(list(wants), wait_ms, records_max, bytes_max, membership)
        fetched: Fetched = self._connections.request(request, Fetched, FETCH_S_MAX + wait_ms / 1000)
        return fetched

    def resolve(self, positions: Mapping[TopicPartition, int | Start]) -> dict[TopicPartition, Resolved]:
        wanted = [(tp.topic, tp.partition, position) for tp, position in positions.items()]
        found = self._connections.patient(wire.Resolve(wanted), list[Resolved]) if wanted else []
        return dict(zip(positions, found, strict=True))

    def join(self, group: str, topics: Sequence[str], member: str) -> Assignment:
        """The name is made here, so that a repeated request does not make a second member."""
        request = wire.Join(group, list(topics), member or new_uid())
        assignment: Assignment = self._connections.patient(request, Assignment)
        self._heartbeats.start(Membership(group, assignment.member, assignment.generation))
        return assignment

    def moved(self, membership: Membership) -> Assignment | None:
        return self._heartbeats.polled(membership)

    def leave(self, group: str, member: str) -> None:
        self._heartbeats.end(member)
        self._connections.patient(wire.Leave(group, member), None)

    def commit_offsets(self, group: str, membership: Membership | None, offsets: Mapping[TopicPartition, int]) -> None:
        self._connections.patient(wire.CommitOffsets(group, membership, _triples(offsets)), None)

    def committed(self, group: str) -> dict[TopicPartition, int]:
        return _committed(self._connections, group)


class _Poller:
    """The transport of one consumer: an outage that is bridged only looks like silence."""

    def __init__(self, log: HttpLog) -> None:
        self._log = log
        self._away_since: float | None = None
        self._pause_s = RETRY_FIRST_S

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def fetch(
        self, wants: Sequence[Want], wait_ms: int, records_max: int, bytes_max: int, membership: Membership | None
    ) -> Fetched:
        try:
            fetched = self._log.fetch(wants, wait_ms, records_max, bytes_max, membership)
        except Unavailable:
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since >= self._log.patience_s:
                raise
            time.sleep(min(self._pause_s, wait_ms / 1000))
            self._pause_s = min(self._pause_s * 2, RETRY_MAX_S)
            return Fetched([], [])
        self._away_since, self._pause_s = None, RETRY_FIRST_S
        return fetched


class _Patient:
    """The transport of one transaction: its commit is repeated for the transaction's time-out."""

    def __init__(self, log: HttpLog, patience_s: float) -> None:
        self._log = log
        self._patience_s = patience_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def commit(
        self,
        transactional_id: str,
        epoch: int,
        sequence: int,
        parts: Sequence[Part],
        group: str | None,
        offsets: Mapping[TopicPartition, int],
    ) -> None:
        self._log.commit(transactional_id, epoch, sequence, parts, group, offsets, self._patience_s)


class HttpAdmin:
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def create_topics(self, specs: Sequence[TopicSpec]) -> dict[str, Literal["created", "exists"]]:
        wanted = [
            wire.Spec(s.name, s.partitions, s.cleanup, s.retention_ms, s.max_record_bytes, dict(s.config))
            for s in specs
        ]
        outcome: dict[str, Literal["created", "exists"]] = self._connections.patient(
            wire.CreateTopics(wanted), dict[str, Literal["created", "exists"]]
        )
        return outcome

    def delete_topics(self, names: Sequence[str]) -> None:
        self._connections.patient(wire.DeleteTopics(list(names)), None)

    def topics(self) -> dict[str, TopicInfo]:
        return self._infos(None)

    def describe(self, topic: str) -> TopicInfo:
        return self._infos(topic)[topic]

    def _infos(self, name: str | None) -> dict[str, TopicInfo]:
        found = self._connections.patient(wire.Topics(name), list[tuple[str, int, str, str]])
        return {info[0]: TopicInfo(*info) for info in found}

    def beginning_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self._resolve(tps, "earliest")

    def end_offsets(self, tps: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        """Open transactions are not on this log: both ends are the same."""
        return self._resolve(tps, "latest")

    def _resolve(self, tps: Sequence[TopicPartition], where: Start) -> dict[TopicPartition, int]:
        wanted: list[tuple[str, int, int | Start]] = [(tp.topic, tp.partition, where) for tp in tps]
        found = self._connections.patient(wire.Resolve(wanted), list[Resolved])
        return {tp: place.offset for tp, place in zip(tps, found, strict=True)}

    def offsets_at(self, tps: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        request = wire.OffsetsAt([(tp.topic, tp.partition) for tp in tps], timestamp_ms)
        return dict(zip(tps, self._connections.patient(request, list[int]), strict=True))

    def delete_records(self, before: Mapping[TopicPartition, int]) -> None:
        self._connections.patient(wire.DeleteRecords(_triples(before)), None)

    def delete_group(self, group: str) -> None:
        self._connections.patient(wire.DeleteGroup(group), None)

    def group_offsets(self, group: str) -> dict[TopicPartition, int]:
        return _committed(self._connections, group)


def _triples(offsets: Mapping[TopicPartition, int]) -> list[tuple[str, int, int]]:
    return [(tp.topic, tp.partition, offset) for tp, offset in offsets.items()]


def _committed(connections: Connections, group: str) -> dict[TopicPartition, int]:
    triples = connections.patient(wire.Committed(group), list[tuple[str, int, int]])
    return {TopicPartition(topic, partition): following for topic, partition, following in triples}
