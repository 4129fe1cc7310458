"""The store's side of the archive: records of one partition become rows, together with the next offset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.core.errors import Fenced, NotFound, TwinstackError
from twinstack.core.failpoints import hit
from twinstack.sensorthings.store import aggregates, observations
from twinstack.sensorthings.store.tables import archive_dead, archive_offset, observation
from twinstack.sensorthings.store.transaction import Tx, insert_or_ignore, take_ids
from twinstack.sensorthings.store.values import NewObservation


class RawRecord(NamedTuple):
    """A record as it stands on the log."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class ArchiveRow(NamedTuple):
    """`raw` gives the record itself, for the case that it becomes a dead letter."""

    observation: NewObservation
    raw: Callable[[], RawRecord]


class DeadLetter(NamedTuple):
    """What cannot be stored: `reason` is a stable word for counters."""

    raw: RawRecord
    reason: str
    message: str


class Archived(NamedTuple):
    """How many records became Observations, and how many dead letters."""

    stored: int
    dead: int


class Position(NamedTuple):
    topic_uuid: str
    next_offset: int


def positions(connection: sa.Connection, topics: Sequence[str]) -> dict[tuple[str, int], Position]:
    c = archive_offset.c
    rows = connection.execute(sa.select(c.topic, c.partition, c.topic_uuid, c.next_offset).where(c.topic.in_(topics)))
    return {(row.topic, row.partition): Position(row.topic_uuid, row.next_offset) for row in rows}


def archive(
    tx: Tx,
    topic: str,
    partition: int,
    topic_uuid: str,
    expected_next: int | None,
    next_offset: int,
    rows: Sequence[ArchiveRow],
    dead: Sequence[DeadLetter],
    *,
    keep_all: bool = True,
    strict: bool = False,
) -> Archived:
    """Stores rows, dead letters and the next offset.

    `expected_next` is the stored next offset (None: there is none yet). `keep_all` False (a system's
    `archive_received` is off): of each Datastream only the newest Observation is kept. `strict`: a row whose
    Datastream is gone is no dead letter but the error NotFound, so that the caller looks for it again.
    Errors: Fenced when the stored offset is another one: another archive owns the partition.
    """
    _advance(tx, topic, partition, topic_uuid, expected_next, next_offset)
    letters = list(dead)
    kept = rows if keep_all else _newest(tx, rows)
    outcomes = observations.insert_requests(tx, [([row.observation for row in kept], True)], received=True)[0]
    stored = 0
    for row, outcome in zip(kept, outcomes, strict=True):
        if isinstance(outcome, TwinstackError):
            if strict and isinstance(outcome, NotFound):
                raise outcome
            reason = "foreign_datastream" if isinstance(outcome, NotFound) else outcome.code
            letters.append(DeadLetter(row.raw(), reason, str(outcome)))
        else:
            stored += 1
    if not keep_all:
        _drop_older(tx, sorted({row.observation.datastream_id for row in kept}))
    _bury(tx, topic, partition, topic_uuid, letters)
    hit("archive.before_commit")
    return Archived(stored, len(letters))


def _advance(tx: Tx, topic: str, partition: int, topic_uuid: str, expected_next: int | None, next_offset: int) -> None:
    c = archive_offset.c
    values = {"topic_uuid": topic_uuid, "next_offset": next_offset}
    if expected_next is None:
        statement = insert_or_ignore(tx.connection, archive_offset).returning(c.next_offset)
        done = tx.connection.execute(statement, {"topic": topic, "partition": partition, **values}).first()
    else:
        where = (c.topic == topic) & (c.partition == partition) & (c.next_offset == expected_next)
        moved = sa.update(archive_offset).where(where).values(values).returning(c.next_offset)
        done = tx.connection.execute(moved).first()
    if done is None:
        raise Fenced(
            f"Another archive has moved on with {topic}/{partition}.",
            fix="Nothing is lost: read the stored offset again.",
            topic=topic,
            partition=partition,
        )


def _newest(tx: Tx, rows: Sequence[ArchiveRow]) -> list[ArchiveRow]:
    newest: dict[int, ArchiveRow] = {}
    for row in rows:
        o = row.observation
        if o.datastream_id not in newest or o.t > newest[o.datastream_id].observation.t:
            newest[o.datastream_id] = row
    known = aggregates.streams(tx.connection, sorted(newest))
    return [
        row
        for datastream_id, row in newest.items()
        if (stream := known.get(datastream_id)) is None
        or stream.latest_t is None
        or row.observation.t > stream.latest_t
    ]


def _drop_older(tx: Tx, datastream_ids: Sequence[int]) -> None:
    for datastream_id, stream in aggregates.streams(tx.connection, datastream_ids).items():
        o = observation.c
        tx.connection.execute(sa.delete(observation).where(o.datastream_id == datastream_id, o.id != stream.latest_id))
        aggregates.recompute(tx.connection, datastream_id)


def _bury(tx: Tx, topic: str, partition: int, topic_uuid: str, letters: Sequence[DeadLetter]) -> None:
    if not letters:
        return
    first = take_ids(tx.connection, "archive_dead", len(letters))
    raw_max = limits.DEAD_LETTER_RAW_BYTES_MAX
    rows = []
    for i, letter in enumerate(sorted(letters, key=lambda x: x.raw.offset)):
        raw = letter.raw
        value = raw.value or b""
        message = letter.message
        if len(value) > raw_max:
            message = f"{message} (SHA-256 of the whole value: {hashlib.sha256(value).hexdigest()})"
        rows.append(
            {
                "id": first + i,
                "topic": topic,
                "partition": partition,
                "topic_uuid": topic_uuid,
                "offset": raw.offset,
                "timestamp_ms": raw.timestamp_ms,
                "reason": letter.reason,
                "message": message,
                "key": None if raw.key is None else raw.key[: limits.RECORD_KEY_BYTES_MAX],
                "value": None if raw.value is None else value[:raw_max],
                "value_bytes": len(value),
                "headers": [[name, _text(content)] for name, content in raw.headers] or None,
                "created_at": tx.now_us,
                "updated_at": tx.now_us,
            }
        )
    tx.connection.execute(insert_or_ignore(tx.connection, archive_dead), rows)


def _text(content: bytes | None) -> str:
    return (content or b"")[: limits.HEADER_BYTES_MAX].decode("utf-8", "backslashreplace").replace("\0", "\\x00")
