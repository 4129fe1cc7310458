"""seam.Consumer over a Transport, assigned or subscribed; what was fetched but not yet given is kept by partition."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

from twinstack.core.errors import InvalidInput, PositionLost
from twinstack.core.limits import LOG_FETCH_BYTES_MAX, LOG_LONG_POLL_MS_MAX
from twinstack.log.packed.batch import PackedBatch
from twinstack.log.packed.format import Columns
from twinstack.log.packed.transport import Assignment, Fetched, Membership, Resolved, Transport, Want
from twinstack.log.seam import Batch, Start, TopicPartition


class _Place:
    """One assigned partition."""

    __slots__ = ("fetch_at", "moved", "position", "ready", "uid")

    def __init__(self, resolved: Resolved) -> None:
        self.go(resolved)
        self.moved = False  # whether poll or seek has set the position

    def go(self, resolved: Resolved) -> None:
        self.position, self.uid = resolved  # what poll gives next
        self.fetch_at = self.position  # what is asked for next; `ready` lies between the two
        self.ready: deque[PackedBatch] = deque()


class PackedConsumer:
    def __init__(self, transport: Transport, group: str | None, start: Start) -> None:
        self._transport = transport
        self._group = group
        self._start = start
        self._places: dict[TopicPartition, _Place] = {}
        self._paused: set[TopicPartition] = set()
        self._turn = 0
        self._topics: list[str] = []
        self._membership: Membership | None = None
        self._closed = False

    # Assignment

    def assign(self, positions: Mapping[TopicPartition, int | Start]) -> None:
        self._leave()
        self._topics = []
        resolved = self._transport.resolve(positions)
        self._places = {tp: _Place(resolved[tp]) for tp in positions}
        self._paused &= set(positions)

    def subscribe(self, topics: Sequence[str]) -> None:
        if self._group is None:
            raise InvalidInput("Only a consumer with a group can subscribe.", fix="Give it a group, or use assign.")
        self._leave()
        self._topics = list(topics)
        self._places, self._paused = {}, set()
        self._take_over(self._transport.join(self._group, self._topics, ""))

    def _take_over(self, assignment: Assignment) -> None:
        """Partitions that stayed ours without a gap between generations keep their position; all others start at
        the committed offset."""
        assert self._group is not None
        if not assignment.member:
            known = self._membership.member if self._membership else ""
            self._membership = None
            assignment = self._transport.join(self._group, self._topics, known)
        before = self._membership
        unbroken = before is not None and assignment.generation == before.generation + 1
        kept = {tp: place for tp, place in self._places.items() if unbroken}
        fresh = [tp for tp in assignment.partitions if tp not in kept]
        committed = self._transport.committed(self._group) if fresh else {}
        starts = self._transport.resolve({tp: committed.get(tp, self._start) for tp in fresh})
        self._places = {tp: kept.get(tp) or _Place(starts[tp]) for tp in assignment.partitions}
        self._paused &= set(self._places)
        self._membership = Membership(self._group, assignment.member, assignment.generation)

    def _leave(self) -> None:
        membership, self._membership = self._membership, None
        if membership is not None:
            self._transport.leave(membership.group, membership.member)

    def assignment(self) -> list[TopicPartition]:
        return sorted(self._places)

    # Reading

    def poll(self, timeout_s: float, records_max: int = 5_000) -> list[Batch]:
        end = time.monotonic() + timeout_s
        while True:
            moved = self._transport.moved(self._membership) if self._membership else None
            if moved is not None:
                self._take_over(moved)
            batches = self._ready(records_max)
            if batches:
                return batches
            fetched = self._fetch(max(0, int((end - time.monotonic()) * 1000)), records_max)
            if fetched.moved is not None:
                self._take_over(fetched.moved)
                continue
            self._keep(fetched)
            batches = self._ready(records_max)
            if batches or time.monotonic() >= end:
                return batches

    def _fetch(self, wait_ms: int, records_max: int) -> Fetched:
        wants = self._wants()
        wait_ms = min(wait_ms, LOG_LONG_POLL_MS_MAX)
        if not wants and self._membership is None:
            time.sleep(wait_ms / 1000)
            return Fetched([], [])
        return self._transport.fetch(wants, wait_ms, records_max, LOG_FETCH_BYTES_MAX, self._membership)

    def _wants(self) -> list[Want]:
        """The partitions in turn, so that a busy one does not starve the others."""
        active = [tp for tp in self._places if tp not in self._paused]
        self._turn += 1
        middle = self._turn % len(active) if active else 0
        turned = active[middle:] + active[:middle]
        return [Want(*tp, place.fetch_at, place.uid) for tp in turned for place in (self._places[tp],)]

    def _keep(self, fetched: Fetched) -> None:
        for topic, partition, base, span, blob in fetched.batches:
            place = self._places[TopicPartition(topic, partition)]
            fetch_at, place.fetch_at = place.fetch_at, base + span
            batch = PackedBatch(topic, partition, base, span, Columns(blob)).since(fetch_at) if blob else None
            if batch is not None and len(batch):
                place.ready.append(batch)
            elif not place.ready:
                place.position, place.moved = place.fetch_at, True  # compaction left nothing there
        for tp, reason in fetched.lost:
            if self._membership is None:
                raise PositionLost(
                    reason, fix="Seek to a position on the log: its beginning, its end or a time.", partition=tp
                )
            self._places[tp].go(self._transport.resolve({tp: self._start})[tp])

    def _ready(self, records_max: int) -> list[Batch]:
        batches: list[Batch] = []
        for tp, place in self._places.items():
            while place.ready and records_max > 0 and tp not in self._paused:
                batch = place.ready.popleft()
                if len(batch) > records_max:
                    batch, rest = batch.split(records_max)
                    place.ready.appendleft(rest)
                records_max -= len(batch)
                place.position, place.moved = batch.next_offset, True
                batches.append(batch)
        return batches

    # Positions

    def seek(self, tp: TopicPartition, offset: int | Start) -> None:
        place = self._place(tp)
        place.go(self._transport.resolve({tp: offset})[tp])
        place.moved = True

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        self._paused |= {tp for tp in tps if self._place(tp)}

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        self._paused -= set(tps)

    def position(self, tp: TopicPartition) -> int | None:
        place = self._place(tp)
        return place.position if place.moved else None

    def _place(self, tp: TopicPartition) -> _Place:
        try:
            return self._places[tp]
        except KeyError:
            raise InvalidInput(
                f"Partition {tp.partition} of '{tp.topic}' is not assigned to this consumer.", fix="Assign it first."
            ) from None

    # The group

    def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        if self._group is None:
            raise InvalidInput("Only a consumer with a group can commit.", fix="Give it a group.")
        if offsets is None:
            offsets = {tp: place.position for tp, place in self._places.items() if place.moved}
        if any(offset < 0 for offset in offsets.values()):
            raise InvalidInput("Offsets to commit are at least 0.", fix="Commit the next offset of each partition.")
        if offsets:
            self._transport.commit_offsets(self._group, self._membership, offsets)

    def committed(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        if self._group is None:
            return {}
        found = self._transport.committed(self._group)
        return {tp: found[tp] for tp in tps if tp in found}

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._leave()
