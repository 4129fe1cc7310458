"""EmbeddedLog: the whole log of one machine in one SQLite file that one process opens.

It is a seam.Log for callers in this process (each waits on its own thread), a Transport below the shared producer,
consumer and transaction, and the ground of `aio.AsyncLog` for a server's event loop.

Durability: with fsync="normal" whatever was acknowledged survives the death of the process (kill -9) at any instant;
when the machine loses power or its kernel dies, the last seconds before it may be lost, never torn: the log is then as
it was after some earlier commit. fsync="full" waits for the disk at each commit and loses nothing acknowledged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from twinstack.log.embedded.admin import EmbeddedAdmin
from twinstack.log.embedded.calls import Action, Offsets, Owner, Row, Step, Write
from twinstack.log.embedded.catalog import Catalog
from twinstack.log.embedded.checkpoint import Checkpointer
from twinstack.log.embedded.database import Database, Fsync, every, mapped_errors
from twinstack.log.embedded.groups import Groups
from twinstack.log.embedded.housekeeping import Housekeeping
from twinstack.log.embedded.reader import Reader
from twinstack.log.embedded.writer import Writer
from twinstack.log.packed.consumer import PackedConsumer
from twinstack.log.packed.format import Head, head
from twinstack.log.packed.producer import PackedProducer
from twinstack.log.packed.transaction import PackedTransaction
from twinstack.log.packed.transport import Assignment, Fetched, Membership, Part, Resolved, TopicLayout, Want
from twinstack.log.seam import (
    EARLIEST,
    LATEST,
    Admin,
    Consumer,
    Producer,
    Start,
    TopicPartition,
    Transaction,
)

Listener = Callable[[Sequence[int] | None], None]
"""Called by the writer after each COMMIT with the partition ids that grew; None: groups may have moved on."""


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class EmbeddedLog:
    """`path`: the file, or a folder that holds `log.sqlite`. Errors: Conflict when another process has it open."""

    def __init__(self, path: str | Path, *, fsync: Fsync = "normal", now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self.now_ms = now_ms
        self._closed = False
        self._grown = threading.Condition()
        self._database = Database(Path(path), fsync)
        with mapped_errors():
            self.catalog = Catalog(self._database.writer)
            self.groups = Groups(self._database.writer, self._partition_count, now_ms)
        self.path = self._database.path
        self.reader = Reader(self._database, self.catalog)
        self._listeners: tuple[Listener, ...] = (self._wake_threads,)
        self.writer = Writer(self._database, self.catalog, self.groups, now_ms)
        self.writer.on_commit = self.notify
        self._checkpointer = Checkpointer(self._database, self.writer)
        self.writer.after_transaction = self._checkpointer.after_transaction
        self.housekeeping = Housekeeping(self._database, self.catalog, self.groups, self.writer, now_ms)
        self.housekeeping.leave = lambda group, members: self.act(self.leaving(group, members))
        self.housekeeping.start()

    def _partition_count(self, topic: str) -> int | None:
        found = self.catalog.topics.get(topic)
        return found.info.partitions if found else None

    # seam.Log

    def producer(self, *, client_id: str = "twinstack", linger_ms: int = 5) -> Producer:
        """`linger_ms` is not needed here: records that come while a commit is under way gather by themselves."""
        return PackedProducer(self)

    def consumer(self, *, group: str | None = None, client_id: str = "twinstack", start: Start = LATEST) -> Consumer:
        return PackedConsumer(self, group, start)

    def transaction(self, transactional_id: str, *, timeout_ms: int = 30_000) -> Transaction:
        """`timeout_ms` is not needed here: an open transaction is nothing that others could wait for."""
        return PackedTransaction(self, transactional_id)

    def admin(self) -> Admin:
        return EmbeddedAdmin(self)

    def ping(self, timeout_s: float = 5.0) -> None:
        """Answers when the writer does."""
        self.writer.call(lambda done: Action(lambda connection: None, done))

    def close(self) -> None:
        """What waits is committed; calls after this get FatalLogError."""
        if self._closed:
            return
        self._closed = True
        self.housekeeping.stop()
        self.writer.stop()
        self._checkpointer.stop()
        self._database.close()
        self.notify(None)

    # Listening to commits

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Adds a listener; the returned function removes it. It runs on the writer thread and must not block."""
        self._listeners = (*self._listeners, listener)

        def remove() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

        return remove

    def notify(self, partitions: Sequence[int] | None) -> None:
        for listener in self._listeners:
            listener(partitions)

    def _wake_threads(self, partitions: Sequence[int] | None) -> None:
        with self._grown:
            self._grown.notify_all()

    # Transport: calls that wait on the caller's thread

    def layout(self, topic: str) -> TopicLayout:
        return self.catalog.topic(topic).layout

    def append(self, parts: Sequence[Part], producer: str, sequence: int) -> list[int]:
        """In process no answer is lost, so nothing is kept for a retry."""
        rows = self.rows(parts)
        answer: list[int] = self.writer.call(lambda done: Write(rows, done))
        return answer

    def init(self, transactional_id: str) -> int:
        epoch: int = self.act(lambda connection: self.writer.init(connection, transactional_id))
        return epoch

    def commit(
        self,
        transactional_id: str,
        epoch: int,
        sequence: int,
        parts: Sequence[Part],
        group: str | None,
        offsets: Mapping[TopicPartition, int],
    ) -> None:
        rows = self.rows(parts)
        owner = Owner(transactional_id, epoch, sequence)
        stored = self.offsets(group, None, offsets)
        self.writer.call(lambda done: Write(rows, done, owner, stored))

    def fetch(
        self, wants: Sequence[Want], wait_ms: int, records_max: int, bytes_max: int, membership: Membership | None
    ) -> Fetched:
        end = time.monotonic() + wait_ms / 1000
        while True:
            moved = self.groups.moved(membership) if membership else None
            if moved is not None:
                return Fetched([], [], moved)
            fetched = self.reader.fetch(wants, records_max, bytes_max)
            if fetched.batches or fetched.lost:
                return fetched
            with self._grown:
                left = end - time.monotonic()
                if self.reader.ready(wants):
                    continue
                if left <= 0 or self._closed or not self._grown.wait(left):
                    return fetched

    def resolve(self, positions: Mapping[TopicPartition, int | Start]) -> dict[TopicPartition, Resolved]:
        found: dict[TopicPartition, Resolved] = {}
        for tp, position in positions.items():
            partition = self.catalog.place(tp)
            if position == EARLIEST:
                found[tp] = Resolved(partition.begin, partition.id)
            elif position == LATEST:
                found[tp] = Resolved(partition.next, partition.id)
            else:
                found[tp] = Resolved(int(position), partition.id)
        return found

    def join(self, group: str, topics: Sequence[str], member: str) -> Assignment:
        assignment: Assignment = self.act(self.joining(group, topics, member, local=True))
        return assignment

    def moved(self, membership: Membership) -> Assignment | None:
        return self.groups.moved(membership)

    def leave(self, group: str, member: str) -> None:
        if not self._closed:
            self.act(self.leaving(group, [member]))

    def commit_offsets(self, group: str, membership: Membership | None, offsets: Mapping[TopicPartition, int]) -> None:
        stored = self.offsets(group, membership, offsets)
        self.writer.call(lambda done: Write([], done, None, stored))

    def committed(self, group: str) -> dict[TopicPartition, int]:
        with self._database.reading() as connection:
            rows = every(connection, "SELECT partition, next FROM committed WHERE grp = ?", group)
        places = ((self.catalog.by_id.get(uid), following) for uid, following in rows)
        return {TopicPartition(place.topic, place.number): following for place, following in places if place}

    # The pieces of a call, for callers that wait in their own way

    def act(self, run: Callable[[apsw.Connection], Any]) -> Any:
        return self.writer.call(lambda done: Action(run, done))

    def rows(self, parts: Sequence[Part], check: Callable[[bytes, int], Head] | None = None) -> list[Row]:
        """Parts as rows; `check` takes batch and largest record (packed.format.verify for those of strangers)."""
        rows = []
        for topic, partition, blob in parts:
            found = check(blob, self.layout(topic).record_bytes_max) if check else head(blob)
            self.catalog.partition(topic, partition)
            rows.append(Row(topic, partition, found.records, found.newest_ms, blob))
        return rows

    def offsets(
        self, group: str | None, membership: Membership | None, offsets: Mapping[TopicPartition, int]
    ) -> Offsets | None:
        if not offsets or group is None:
            return None
        return Offsets(group, membership, {self.catalog.place(tp).id: following for tp, following in offsets.items()})

    def joining(self, group: str, topics: Sequence[str], member: str, *, local: bool) -> Step[Assignment]:
        """An action: the group moves on with this member in it."""

        def run(connection: apsw.Connection) -> Callable[[], Assignment]:
            for topic in topics:
                self.catalog.topic(topic)
            publish = self.groups.join(connection, group, topics, member, local)

            def published() -> Assignment:
                assignment = publish()
                self.notify(None)
                return assignment

            return published

        return run

    def leaving(self, group: str, members: Sequence[str]) -> Step[None]:
        def run(connection: apsw.Connection) -> Callable[[], None]:
            publish = self.groups.leave(connection, group, members)

            def published() -> None:
                publish()
                self.notify(None)

            return published

        return run
