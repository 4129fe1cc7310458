"""The archive: log -> history. Each committed record of every `.int` and `.ext` becomes one Observation.

Rows, dead letters and a partition's next offset are one database transaction, so a record is stored once whatever
happens between reading and committing. Records that came from the store (their `ts-store` header verifies) are skipped.
Partitions of one poll go to the store as separate writes of one group commit: one that fails holds up no other.

Where things go wrong: the log or the store does not answer -> back off, read the stored positions, go on from there;
the stored position moved (another archive) -> the same; a topic was made again -> start at 0; a position beyond the end
(power loss under `fsync=normal`) -> set to the end, reported; before the beginning (retention) -> the beginning,
reported with the number of lost records.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from twinstack.bridges.history import Claim, Resolver, Unstorable, read
from twinstack.bridges.process import Backoff, Report, Stop, main
from twinstack.core.errors import NotFound, PositionLost, TwinstackError
from twinstack.core.failpoints import hit
from twinstack.core.names import split_topic
from twinstack.log.seam import Batch, Consumer, Headers, Log, TopicPartition
from twinstack.sensorthings.store import NewObservation, Store, outbox
from twinstack.sensorthings.store.archiving import Archived, ArchiveRow, DeadLetter, RawRecord
from twinstack.sensorthings.store.writer import Write

POLL_S = 0.25
DISCOVER_S = 0.5
REPORT_S = 5.0
RECORDS_MAX = 5_000
TS_APP = "ts-app"

MayCopy = Callable[[str], bool]
"""Whether received copies may be made at this system by the archive: in lab mode yes, with accounts a grant decides."""


class Place(NamedTuple):
    """One partition: the topic's identity and the next offset in the store (None: nothing yet)."""

    topic_uuid: str
    stored: int | None


@dataclass(slots=True)
class Counters:
    stored: int = 0
    dead: int = 0
    skipped: int = 0
    lost: int = 0

    def as_dict(self) -> dict[str, int]:
        return {"stored": self.stored, "dead": self.dead, "skipped": self.skipped, "lost": self.lost}


@dataclass(slots=True)
class _Work:
    """What one poll gave of one partition, on its way to the store."""

    tp: TopicPartition
    system: str
    received: bool
    next_offset: int = 0
    good: list[tuple[Batch, int, Claim, NewObservation]] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    skipped: int = 0

    @property
    def claims(self) -> list[Claim]:
        return [claim for _, _, claim, _ in self.good]


def _raw(batch: Batch, i: int) -> RawRecord:
    return RawRecord(batch.offsets[i], batch.timestamps_ms[i], batch.keys[i], batch.values[i], batch.headers_at([i])[0])


class Archive:
    """Use from one thread. `run` returns when `stop` is set."""

    def __init__(self, store: Store, log: Log, report: Report, *, may_copy: MayCopy = lambda system: True) -> None:
        self.counters = Counters()
        self._store = store
        self._log = log
        self._report = report
        self._may_copy = may_copy
        self._resolver = Resolver(store)
        self._places: dict[TopicPartition, Place] = {}
        self._keep_all: dict[str, bool] = {}
        self._uuid = ""
        self._header_key = b""
        self._looked_at = self._reported_at = 0.0

    def run(self, stop: Stop) -> None:
        backoff = Backoff()
        running = False
        while not stop:
            consumer = self._log.consumer(client_id="twinstack-archive")
            try:
                self._identity()
                self._places = {}
                self._discover(consumer)
                while not stop:
                    if not running:
                        running = True
                        self._report("running", {"partitions": len(self._places)})
                    self.step(consumer)
                    backoff.reset()
            except TwinstackError as error:
                running = False
                self._report("failing", {"error": str(error), "code": error.code, **self.counters.as_dict()})
                backoff.wait(stop)
            finally:
                with suppress(TwinstackError):
                    consumer.close()
        self._report("counters", self.counters.as_dict())

    def step(self, consumer: Consumer) -> None:
        """Reads what is there, up to POLL_S, and stores it; looks for new systems every DISCOVER_S."""
        now = time.monotonic()
        if now - self._looked_at >= DISCOVER_S:
            self._discover(consumer)
        if now - self._reported_at >= REPORT_S:
            self._reported_at = now
            self._report("counters", self.counters.as_dict())
        try:
            batches = consumer.poll(POLL_S, RECORDS_MAX) if self._places else self._idle()
        except PositionLost as error:
            self._report("position_lost", {"error": error.message})
            self._places = {}
            self._discover(consumer)
            return
        if batches:
            hit("archive.before_write")
            self._store_batches(batches)
            hit("archive.after_commit")

    def _idle(self) -> list[Batch]:
        time.sleep(POLL_S)
        return []

    def _identity(self) -> None:
        self._uuid = self._store.info("uuid")
        self._header_key = bytes.fromhex(self._store.info("header_key"))

    # --- where to read ----------------------------------------------------------------------------------------------
    def _discover(self, consumer: Consumer) -> None:
        """Assigns all `.int` and `.ext` topics of all systems; partitions that are read already keep their place."""
        self._looked_at = time.monotonic()
        systems = {row.name: row for row in self._store.systems()}
        self._keep_all = {name: row.archive_received for name, row in systems.items()}
        wanted: dict[TopicPartition, str] = {}
        for info in self._log.admin().topics().values():
            parts = split_topic(info.name)
            if parts is not None and parts[0] in systems and parts[1] in ("int", "ext"):
                wanted.update({TopicPartition(info.name, p): info.uuid for p in range(info.partitions)})
        if {tp: place.topic_uuid for tp, place in self._places.items()} == wanted:
            return
        positions = {}
        kept = {tp: place for tp, place in self._places.items() if wanted.get(tp) == place.topic_uuid}
        for tp, place in kept.items():
            positions[tp] = place.stored or 0
        fresh = sorted(wanted.keys() - kept.keys())
        self._places = kept
        positions |= self._first_positions(fresh, wanted)
        consumer.assign(self._inside(positions))

    def _first_positions(
        self, fresh: Sequence[TopicPartition], wanted: dict[TopicPartition, str]
    ) -> dict[TopicPartition, int]:
        stored = self._store.archive_positions(sorted({tp.topic for tp in fresh})) if fresh else {}
        positions = {}
        for tp in fresh:
            position = stored.get((tp.topic, tp.partition))
            if position is None:
                self._places[tp] = Place(wanted[tp], None)
            else:
                self._places[tp] = Place(wanted[tp], position.next_offset)
                if position.topic_uuid != wanted[tp]:
                    self._report("topic_made_again", {"topic": tp.topic, "partition": tp.partition})
                    self._move(tp, 0)
            positions[tp] = self._places[tp].stored or 0
        return positions

    def _inside(self, positions: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """The positions, moved to where the log has something."""
        tps = sorted(positions)
        ends = self._log.admin().end_offsets(tps)
        begins = self._log.admin().beginning_offsets(tps)
        for tp in tps:
            place = {"topic": tp.topic, "partition": tp.partition, "position": positions[tp]}
            if positions[tp] > ends[tp]:
                self._report("position_beyond_end", {**place, "end": ends[tp]})
                positions[tp] = ends[tp]
            elif positions[tp] < begins[tp]:
                if self._places[tp].stored is not None:
                    lost = begins[tp] - positions[tp]
                    self.counters.lost += lost
                    self._report("records_lost", {**place, "beginning": begins[tp], "count": lost})
                positions[tp] = begins[tp]
            if self._places[tp].stored not in (None, positions[tp]):
                self._move(tp, positions[tp])
        return positions

    def _move(self, tp: TopicPartition, position: int) -> None:
        """Stores a position without records, at once: records that come while no archive runs would otherwise be
        taken for read ones."""
        topic_uuid, stored = self._places[tp]
        self._store.archive_batch(tp.topic, tp.partition, topic_uuid, stored, position, (), ()).result()
        self._places[tp] = Place(topic_uuid, position)

    # --- storing ----------------------------------------------------------------------------------------------------
    def _store_batches(self, batches: Sequence[Batch]) -> None:
        works: dict[TopicPartition, _Work] = {}
        for batch in batches:
            tp = TopicPartition(batch.topic, batch.partition)
            if tp not in works:
                system, suffix = split_topic(batch.topic) or ("", "")
                works[tp] = _Work(tp, system, suffix == "ext")
            self._read(works[tp], batch)
        for received in (False, True):
            by_system: dict[str, list[Claim]] = {}
            for work in works.values():
                if work.received is received:
                    by_system.setdefault(work.system, []).extend(work.claims)
            for name, claims in by_system.items():
                self._resolver.learn(name, claims, received=received)
        pending = [(work, self._submit(work, strict=True)) for work in works.values()]
        for work, write in pending:
            try:
                archived = write.result()
            except NotFound:
                # A Datastream that was known has gone meanwhile, and may have been registered anew under another id.
                self._resolver.forget(work.system)
                self._resolver.learn(work.system, work.claims, received=work.received)
                archived = self._submit(work, strict=False).result()
            self._done(work, archived)

    def _read(self, work: _Work, batch: Batch) -> None:
        work.next_offset = batch.next_offset
        keys, values, stamps, headers = batch.keys, batch.values, batch.timestamps_ms, batch.headers
        for i, (key, value, stamp) in enumerate(zip(keys, values, stamps, strict=True)):
            if headers[i] and self._is_ours(headers[i], key, value):
                work.skipped += 1
                continue
            try:
                claim, row = read(key, value, stamp)
            except Unstorable as error:
                work.dead.append(DeadLetter(_raw(batch, i), error.reason, error.message))
            else:
                work.good.append((batch, i, claim, row))

    def _is_ours(self, headers: Headers, key: bytes | None, value: bytes | None) -> bool:
        return any(
            name == outbox.TS_STORE and outbox.verify(self._header_key, self._uuid, content, key, value)
            for name, content in headers
        )

    def _submit(self, work: _Work, *, strict: bool) -> Write[Archived]:
        rows: list[ArchiveRow] = []
        dead = list(work.dead)
        nowhere: set[Claim] = set()
        for batch, i, claim, row in work.good:
            datastream_id = self._resolver.find(work.system, claim, received=work.received)
            if datastream_id is None and claim not in nowhere:
                datastream_id = self._copy(work, claim, batch.headers[i])
            if datastream_id is None:
                nowhere.add(claim)
                dead.append(_foreign(work, _raw(batch, i), claim))
            else:
                rows.append(ArchiveRow(row._replace(datastream_id=datastream_id), _raw(batch, i)))
        place = self._places[work.tp]
        return self._store.archive_batch(
            work.tp.topic,
            work.tp.partition,
            place.topic_uuid,
            place.stored,
            work.next_offset,
            rows,
            dead,
            keep_all=not work.received or self._keep_all.get(work.system, True),
            strict=strict,
        )

    def _copy(self, work: _Work, claim: Claim, headers: Headers) -> int | None:
        """An app may forward a Datastream that was registered after the app's copies were made: its history begins
        with the first record."""
        if not work.received or not any(name == TS_APP for name, _ in headers) or not self._may_copy(work.system):
            return None
        keys = [text for text in (claim.name, claim.key) if text is not None]
        copy = self._store.ensure_copy(work.system, keys, claim.id).result()
        if copy is not None:
            self._resolver.learn(work.system, [claim], received=True)
        return copy

    def _done(self, work: _Work, archived: Archived) -> None:
        self._places[work.tp] = Place(self._places[work.tp].topic_uuid, work.next_offset)
        self.counters.stored += archived.stored
        self.counters.skipped += work.skipped
        self.counters.dead += archived.dead
        if archived.dead:
            self._report("dead_letters", {"topic": work.tp.topic, "count": archived.dead})


def _foreign(work: _Work, raw: RawRecord, claim: Claim) -> DeadLetter:
    shown = claim.name or claim.key or claim.id
    reason = "foreign_datastream" if work.received else "unknown_datastream"
    return DeadLetter(raw, reason, f"'{shown}' is no Datastream of {work.system}.")


def run(store: Store, log: Log, stop: Stop, report: Report) -> None:
    Archive(store, log, report).run(stop)


if __name__ == "__main__":
    sys.exit(main("archive", run))
