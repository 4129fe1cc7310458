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
from functools import partial

from twinstack.bridges.history import Claim, Resolver, Unstorable, read
from twinstack.bridges.places import Places
from twinstack.bridges.process import Backoff, Report, Stop, main
from twinstack.core import limits
from twinstack.core.errors import NotFound, PositionLost, TwinstackError
from twinstack.core.failpoints import hit
from twinstack.core.names import split_topic
from twinstack.log.seam import Batch, Consumer, Headers, Log, TopicPartition
from twinstack.sensorthings.store import NewObservation, Store, outbox
from twinstack.sensorthings.store.archiving import Archived, ArchiveRow, DeadLetter, RawRecord
from twinstack.sensorthings.store.writer import Write

REPORT_S = 5.0
POLL_S = limits.ARCHIVE_POLL_MS / 1000
DISCOVER_S = limits.ARCHIVE_DISCOVER_MS / 1000
TS_APP = "ts-app"

MayCopy = Callable[[str], bool]
"""Whether received copies may be made at this system by the archive: in lab mode yes, with accounts a grant decides."""


@dataclass(slots=True)
class Counters:
    stored: int = 0
    dead: int = 0
    skipped: int = 0

    def as_dict(self) -> dict[str, int]:
        return {"stored": self.stored, "dead": self.dead, "skipped": self.skipped}


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
        self._places = Places(store, log, report)
        self._pending: list[tuple[_Work, Write[Archived]]] = []
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
                self._pending = []
                self._discover(consumer, afresh=True)
                while not stop:
                    if not running:
                        running = True
                        self._report("running", {"partitions": len(self._places)})
                    self.step(consumer)
                    backoff.reset()
                self._finish()
            except TwinstackError as error:
                running = False
                self._report("failing", {"error": str(error), "code": error.code, **self.counters.as_dict()})
                backoff.wait(stop)
            finally:
                with suppress(TwinstackError):
                    consumer.close()
        self._report("counters", self.counters.as_dict())

    def step(self, consumer: Consumer) -> None:
        """Reads what is there, up to POLL_S, and gives it to the store; meanwhile the step before is committed. Looks
        for new systems every DISCOVER_S."""
        now = time.monotonic()
        if now - self._looked_at >= DISCOVER_S:
            self._finish()
            self._discover(consumer)
        if now - self._reported_at >= REPORT_S:
            self._reported_at = now
            self._report("counters", self.counters.as_dict())
        try:
            batches = consumer.poll(POLL_S, limits.ARCHIVE_POLL_RECORDS_MAX) if len(self._places) else self._idle()
        except PositionLost as error:
            self._report("position_lost", {"error": error.message})
            self._finish()
            self._discover(consumer, afresh=True)
            return
        works = self._read_all(batches)
        self._finish()
        if works:
            self._learn(works)  # not before: finishing may have made the resolver forget
            hit("archive.before_write")
            self._pending = [(work, self._submit(work, strict=True)) for work in works]

    def _idle(self) -> list[Batch]:
        time.sleep(POLL_S)
        return []

    def _identity(self) -> None:
        self._uuid = self._store.info("uuid")
        self._header_key = bytes.fromhex(self._store.info("header_key"))

    def _discover(self, consumer: Consumer, *, afresh: bool = False) -> None:
        self._looked_at = time.monotonic()
        positions = self._places.discover(afresh=afresh)
        if positions is not None:
            consumer.assign(positions)

    # --- storing ----------------------------------------------------------------------------------------------------
    def _read_all(self, batches: Sequence[Batch]) -> list[_Work]:
        works: dict[TopicPartition, _Work] = {}
        for batch in batches:
            tp = TopicPartition(batch.topic, batch.partition)
            if tp not in works:
                system, suffix = split_topic(batch.topic) or ("", "")
                works[tp] = _Work(tp, system, suffix == "ext")
            self._read(works[tp], batch)
        return list(works.values())

    def _learn(self, works: Sequence[_Work]) -> None:
        claims: dict[tuple[str, bool], list[Claim]] = {}
        for work in works:
            claims.setdefault((work.system, work.received), []).extend(work.claims)
        for (name, received), some in claims.items():
            self._resolver.learn(name, some, received=received)

    def _finish(self) -> None:
        """Waits for what the step before gave to the store; all of it, also when one write fails: what is still under
        way would move positions while they are read anew."""
        pending, self._pending = self._pending, []
        failed: TwinstackError | None = None
        for work, write in pending:
            try:
                self._done(work, self._stored(work, write))
            except TwinstackError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        if pending:
            hit("archive.after_commit")

    def _stored(self, work: _Work, write: Write[Archived]) -> Archived:
        try:
            return write.result()
        except NotFound:
            # A Datastream that was known has gone meanwhile, and may have been registered anew under another id.
            self._resolver.forget(work.system)
            self._learn([work])
            return self._submit(work, strict=False).result()

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
                rows.append(ArchiveRow(NewObservation(datastream_id, *row[1:]), partial(_raw, batch, i)))
        place = self._places[work.tp]
        return self._store.archive_batch(
            work.tp.topic,
            work.tp.partition,
            place.topic_uuid,
            place.stored,
            work.next_offset,
            rows,
            dead,
            keep_all=not work.received or self._places.keeps_all(work.system),
            strict=strict,
        )

    def _copy(self, work: _Work, claim: Claim, headers: Headers) -> int | None:
        """An app may forward a Datastream that was registered after the app's copies were made: its history begins
        with the first record."""
        if not work.received or not any(name == TS_APP for name, _ in headers) or not self._may_copy(work.system):
            return None
        wanted = claim.decisive
        keys, number = ([wanted], None) if isinstance(wanted, str) else ([], wanted)
        copy = self._store.ensure_copy(work.system, keys, number).result()
        if copy is not None:
            self._resolver.learn(work.system, [claim], received=True)
        return copy

    def _done(self, work: _Work, archived: Archived) -> None:
        self._places.stored(work.tp, work.next_offset)
        self.counters.stored += archived.stored
        self.counters.skipped += work.skipped
        self.counters.dead += archived.dead
        if archived.dead:
            self._report("dead_letters", {"topic": work.tp.topic, "count": archived.dead})


def _foreign(work: _Work, raw: RawRecord, claim: Claim) -> DeadLetter:
    shown = claim.name or claim.key or claim.id
    return DeadLetter(raw, "foreign_datastream", f"'{shown}' is no Datastream of {work.system}.")


def run(store: Store, log: Log, stop: Stop, report: Report) -> None:
    Archive(store, log, report).run(stop)


if __name__ == "__main__":
    sys.exit(main("archive", run))
