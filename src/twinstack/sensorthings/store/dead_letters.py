"""The archive's dead letters: records that could not become Observations, kept with their bytes.

open --replay stored it--> done        open --replay failed again--> open (the new error)
open --discard--> discarded            done, discarded: final
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.core.errors import Conflict, NotFound, TwinstackError
from twinstack.sensorthings.store import observations
from twinstack.sensorthings.store.tables import archive_dead
from twinstack.sensorthings.store.transaction import Tx
from twinstack.sensorthings.store.values import NewObservation


class Letter(NamedTuple):
    """`value` is the first 64 KiB of `value_bytes`. Instants in us since 1970 UTC, `timestamp_ms` is the log's."""

    id: int
    topic: str
    partition: int
    topic_uuid: str
    offset: int
    timestamp_ms: int
    reason: str
    message: str
    key: bytes | None
    value: bytes | None
    value_bytes: int
    headers: list[list[str]] | None
    state: str
    version: int
    created_at: int
    updated_at: int

    @property
    def whole(self) -> bool:
        return self.value_bytes == len(self.value or b"")


_d = archive_dead.c


def letters(
    connection: sa.Connection,
    *,
    topic: str | None = None,
    state: str | None = "open",
    after_id: int = 0,
    limit: int = 50,
) -> list[Letter]:
    """By id, from behind `after_id`."""
    query = (
        sa.select(archive_dead)
        .where(_d.id > after_id)
        .order_by(_d.id)
        .limit(min(limit, limits.DEAD_LETTERS_LISTED_MAX))
    )
    if topic is not None:
        query = query.where(_d.topic == topic)
    if state is not None:
        query = query.where(_d.state == state)
    return [Letter(*row) for row in connection.execute(query)]


def get(connection: sa.Connection, letter_id: int) -> Letter:
    """Errors: NotFound."""
    row = connection.execute(sa.select(archive_dead).where(_d.id == letter_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no dead letter {letter_id}.", fix="Look at the list of them.", id=letter_id)
    return Letter(*row)


def _open(connection: sa.Connection, letter_id: int) -> Letter:
    letter = get(connection, letter_id)
    if letter.state != "open":
        raise Conflict(
            f"The dead letter {letter_id} is {letter.state}.", fix="Only open ones can be replayed or discarded."
        )
    return letter


def _set(tx: Tx, letter_id: int, **values: str) -> None:
    tx.connection.execute(
        sa.update(archive_dead).where(_d.id == letter_id).values(**values, version=_d.version + 1, updated_at=tx.now_us)
    )


def store_again(tx: Tx, letter_id: int, row: NewObservation) -> str:
    """Stores the letter's Observation and closes the letter, or keeps it with the new error; its state now.
    Errors: NotFound, Conflict (not open)."""
    _open(tx.connection, letter_id)
    outcome = observations.insert_requests(tx, [([row], True)], received=True)[0][0]
    if isinstance(outcome, TwinstackError):
        return keep(tx, letter_id, outcome.code, str(outcome))
    _set(tx, letter_id, state="done")
    return "done"


def keep(tx: Tx, letter_id: int, reason: str, message: str) -> str:
    """A replay failed: the letter stays open with its new error."""
    _open(tx.connection, letter_id)
    _set(tx, letter_id, reason=reason, message=message)
    return "open"


def discard(tx: Tx, letter_id: int) -> str:
    """Errors: NotFound, Conflict (not open)."""
    _open(tx.connection, letter_id)
    _set(tx, letter_id, state="discarded")
    return "discarded"
