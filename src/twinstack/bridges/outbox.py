"""The outbox's publisher: history -> log. Each committed row is on the log exactly once, in commit order.

One log transaction holds a shard's records and a marker (key = the store's uuid, value = the last sequence number) on
the compacted topic `ts.outbox`, partition = shard. After any doubt (a crash, an unknown outcome) the publisher opens
the transactional id again, which fences whoever had it, reads the marker, and goes on behind it: the log itself says
what it has.

Rows are deleted a while after they were sent, not at once: an embedded log with `fsync=normal` may lose its last
seconds at a power loss, the marker with them, and the rows are then sent again.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from twinstack.bridges.process import Backoff, Report, Stop, main
from twinstack.bridges.topics import MARKER_TOPIC, specs_of
from twinstack.core import limits
from twinstack.core.errors import Fenced, RecordTooLarge, TimedOut, TwinstackError, UnknownTopic
from twinstack.core.failpoints import hit
from twinstack.log.seam import EARLIEST, Log, OutRecord, TopicPartition, Transaction
from twinstack.log.topics import ensure_topics
from twinstack.sensorthings.store import Store, outbox
from twinstack.sensorthings.store.outbox import Payload
from twinstack.sensorthings.store.tables import outbox_head

BUSY_S, IDLE_S = 0.01, 0.03
KEEP_S = limits.OUTBOX_KEEP_MS / 1000
REPORT_S = 5.0
MARKER_READ_S = limits.OUTBOX_MARKER_MS_MAX / 1000


@dataclass(slots=True)
class Counters:
    sent: int = 0
    meta: int = 0
    transactions: int = 0
    dropped: int = 0

    def as_dict(self) -> dict[str, int]:
        return {
            "sent": self.sent,
            "meta": self.meta,
            "transactions": self.transactions,
            "dropped": self.dropped,
        }


@dataclass(slots=True)
class Shard:
    """What the publisher knows of one shard; `sent` is the last sequence number on the log."""

    number: int
    transaction: Transaction | None = None
    sent: int = 0
    deleted: int = 0
    sent_at: deque[tuple[float, int]] = field(default_factory=deque)
    retry_at: float = 0.0
    backoff_s: float = 0.1


class Publisher:
    """All shards, one after the other, on one thread. `run` returns when `stop` is set."""

    def __init__(self, store: Store, log: Log, report: Report, *, keep_s: float = KEEP_S) -> None:
        self.counters = Counters()
        self._store = store
        self._log = log
        self._report = report
        self._keep_s = keep_s
        self._shards = [Shard(n) for n in range(limits.OUTBOX_SHARDS)]
        self._uuid = ""
        self._header_key = b""
        self._known_topics: set[str] = set()

    def run(self, stop: Stop) -> None:
        backoff = Backoff()
        reported_at = 0.0
        started = False
        while not stop:
            try:
                if not started:
                    self.start()
                    started = True
                    self._report("running", {})
                busy = self.step()
                backoff.reset()
            except TwinstackError as error:
                self._report("failing", {"error": str(error), "code": error.code})
                backoff.wait(stop)
                continue
            if time.monotonic() - reported_at >= REPORT_S:
                reported_at = time.monotonic()
                self._report("counters", self.counters.as_dict())
            stop.wait(BUSY_S if busy else IDLE_S)
        for shard in self._shards:
            self._drop(shard)
        self._report("counters", self.counters.as_dict())

    def start(self) -> None:
        self._uuid = self._store.info("uuid")
        self._header_key = bytes.fromhex(self._store.info("header_key"))
        ensure_topics(self._log.admin(), [MARKER_TOPIC])

    def step(self) -> bool:
        """Sends what waits, each shard once; whether there was anything."""
        heads = self._heads()
        now = time.monotonic()
        busy = False
        for shard in self._shards:
            if now < shard.retry_at:
                continue
            try:
                if shard.transaction is None and heads[shard.number][1]:
                    self._open(shard, heads[shard.number][0])
                if shard.transaction is not None:
                    if heads[shard.number][0] > shard.sent:
                        busy |= self._send(shard)
                    self._delete_old(shard)
                shard.backoff_s = 0.1
            except TwinstackError as error:
                event = "fenced" if isinstance(error, Fenced) else "failing"
                self._report(event, {"shard": shard.number, "error": str(error), "code": error.code})
                if isinstance(error, UnknownTopic):
                    self._known_topics.clear()
                self._drop(shard)
                shard.retry_at = time.monotonic() + shard.backoff_s
                shard.backoff_s = min(shard.backoff_s * 2, 5.0)
        return busy

    def _heads(self) -> dict[int, tuple[int, int]]:
        with self._store.reader() as connection:
            rows = connection.execute(sa.select(outbox_head.c.shard, outbox_head.c.seq, outbox_head.c.waiting_bytes))
            return {row.shard: (row.seq, row.waiting_bytes) for row in rows}

    # --- the transactional id ---------------------------------------------------------------------------------------
    def _open(self, shard: Shard, head: int) -> None:
        """Fences the predecessor, then learns from the log what it has of this store."""
        shard.transaction = self._log.transaction(f"ts.outbox.{self._uuid}.{shard.number}")
        hit("outbox.after_init")
        shard.sent = self._read_marker(shard.number)
        if shard.sent > head:
            # A backup was put back. Which of its rows the log has cannot be told: rather twice than never.
            self._report("store_is_older", {"shard": shard.number, "marker": shard.sent, "seq": head})
            shard.sent = 0
        shard.sent_at = deque([(time.monotonic(), shard.sent)])

    def _drop(self, shard: Shard) -> None:
        transaction, shard.transaction = shard.transaction, None
        if transaction is not None:
            with suppress(TwinstackError):
                transaction.abort()
            with suppress(TwinstackError):
                transaction.close()

    def _read_marker(self, number: int) -> int:
        """The last sequence number of this store on the log; 0 when it never sent anything. Errors: TimedOut."""
        tp = TopicPartition(MARKER_TOPIC.name, number)
        end = self._log.admin().end_offsets([tp])[tp]
        key = self._uuid.encode()
        last = 0
        consumer = self._log.consumer(client_id="twinstack-outbox", start=EARLIEST)
        try:
            consumer.assign({tp: EARLIEST})
            deadline = time.monotonic() + MARKER_READ_S
            position = self._log.admin().beginning_offsets([tp])[tp]
            while position < end:
                for batch in consumer.poll(0.1):
                    for found, value in zip(batch.keys, batch.values, strict=True):
                        if found == key and value is not None:
                            last = int(value)
                position = consumer.position(tp) or position
                if time.monotonic() > deadline:
                    raise TimedOut(
                        f"The marker of shard {number} could not be read in {MARKER_READ_S:g} s.",
                        fix="Check that the log answers; nothing is lost, sending goes on when it does.",
                    )
        finally:
            consumer.close()
        return last

    # --- sending ----------------------------------------------------------------------------------------------------
    def _send(self, shard: Shard) -> bool:
        rows = self._store.outbox_read(shard.number, shard.sent, limits.OUTBOX_READ_ROWS_MAX)
        if not rows:
            return False
        transaction = shard.transaction
        assert transaction is not None
        meta: dict[tuple[str, str], bytes | None] = {}
        records = size = 0
        last = shard.sent
        for seq, payload in rows:
            self._send_records(transaction, payload)
            self._gather_meta(payload, meta)
            last = seq
            records += len(payload.values)
            size += sum(map(len, payload.values))
            if records >= limits.GROUP_COMMIT_ROWS_MAX or size >= limits.OUTBOX_TRANSACTION_BYTES_MAX:
                break
        for (topic, key), value in meta.items():
            self._send_meta(transaction, topic, key, value)
        marker = OutRecord(MARKER_TOPIC.name, str(last).encode(), self._uuid.encode(), partition=shard.number)
        transaction.send(marker)
        hit("outbox.before_commit")
        transaction.commit()
        hit("outbox.after_commit")
        shard.sent = last
        shard.sent_at.append((time.monotonic(), last))
        self.counters.sent += records
        self.counters.meta += len(meta)
        self.counters.transactions += 1
        return True

    def _send_records(self, transaction: Transaction, payload: Payload) -> None:
        headers = outbox.headers_of(self._header_key, self._uuid, payload)
        for i, topic in enumerate(payload.topic_names):
            if not self._exists(topic):
                self._dropped(topic, payload.topics.count(i))
                continue
            at = [j for j, of in enumerate(payload.topics) if of == i]
            values = [payload.values[j] for j in at]
            keys = [payload.keys[j].encode() for j in at]
            try:
                transaction.send_many(topic, values, keys, [headers[j] for j in at])
            except RecordTooLarge:  # the topic takes less than we do: one refused record must not hold up the others
                for value, key, j in zip(values, keys, at, strict=True):
                    self._send_one(transaction, OutRecord(topic, value, key, headers[j]))

    def _send_one(self, transaction: Transaction, record: OutRecord) -> None:
        try:
            transaction.send(record)
        except RecordTooLarge:
            self._dropped(record.topic, 1)

    def _gather_meta(self, payload: Payload, into: dict[tuple[str, str], bytes | None]) -> None:
        """The last word on each entity wins; it is rendered as it is now, which may be newer than the row."""
        if payload.meta:
            entities = self._store.datastreams([datastream_id for _, datastream_id in payload.meta])
            for system, datastream_id in payload.meta:
                if (entity := entities.get(datastream_id)) is not None:
                    into[f"{system}.meta", entity["log_key"]] = _render(entity)
        for system, key in payload.gone:
            into[f"{system}.meta", key] = None

    def _send_meta(self, transaction: Transaction, topic: str, key: str, value: bytes | None) -> None:
        if not self._exists(topic):
            self._dropped(topic, 1)
        else:
            self._send_one(transaction, OutRecord(topic, value, key.encode()))

    def _dropped(self, topic: str, count: int) -> None:
        """Records of a system that was deleted, or that its topic does not take: the history has them."""
        self.counters.dropped += count
        self._report("dropped", {"topic": topic, "count": count})

    def _exists(self, topic: str) -> bool:
        """Whether the topic is there; topics of systems in the store are made when they are missing."""
        if topic in self._known_topics:
            return True
        admin = self._log.admin()
        with suppress(UnknownTopic):
            admin.describe(topic)
            self._known_topics.add(topic)
            return True
        for row in self._store.systems():
            for spec in specs_of(row):
                if spec.name == topic and row.state != "deleting":
                    ensure_topics(self._log.admin(), [spec])
                    self._known_topics.add(topic)
                    return True
        return False

    def _delete_old(self, shard: Shard) -> None:
        """Deletes rows that were sent long enough ago."""
        now = time.monotonic()
        upto = 0
        while shard.sent_at and now - shard.sent_at[0][0] >= self._keep_s:
            upto = shard.sent_at.popleft()[1]
        if upto > shard.deleted:
            self._store.outbox_delete(shard.number, upto).result()
            shard.deleted = upto
            hit("outbox.after_delete")


def _render(entity: dict[str, Any]) -> bytes:
    """The full entity as JSON; one that is too large loses its free `properties` first."""
    value = msgspec.json.encode(entity)
    if len(value) <= limits.RECORD_VALUE_BYTES_MAX:
        return value
    slim: dict[str, Any] = {k: v for k, v in entity.items() if k != "properties"}
    for link in ("Thing", "Sensor", "ObservedProperty"):
        if isinstance(slim.get(link), dict):
            slim[link] = {k: v for k, v in slim[link].items() if k not in ("properties", "metadata", "Locations")}
    return msgspec.json.encode({**slim, "shortened": True})


def run(store: Store, log: Log, stop: Stop, report: Report) -> None:
    Publisher(store, log, report).run(stop)


if __name__ == "__main__":
    sys.exit(main("outbox", run))
