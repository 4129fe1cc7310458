"""Observations of an export: as the archive stores what the log brings, but with the features they had."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from twinstack.core.errors import InvalidInput
from twinstack.sensorthings import validate
from twinstack.sensorthings.store import NewObservation, aggregates, observations
from twinstack.sensorthings.store.transaction import ObservationIds, Tx
from twinstack.sensorthings.transfer import ids
from twinstack.sensorthings.transfer.mapping import Transfer

_INTEGERS = ("id", "datastream_id", "t", "t_end", "result_time", "feature_id")
_KNOWN = frozenset({*_INTEGERS, "result", "extra"})


class _Given(ObservationIds):
    """Ids that are fixed already."""

    def __init__(self, given: list[int]) -> None:
        super().__init__()
        self._given = given

    def take(self, connection: sa.Connection | sa.Engine, n: int) -> list[int]:
        taken, self._given = self._given[:n], self._given[n:]
        return taken


class History:
    def __init__(self, transfer: Transfer, *, keep_ids: bool) -> None:
        self._transfer = transfer
        self._keep_ids = keep_ids

    def store(self, tx: Tx, rows: list[Any]) -> tuple[int, int]:
        """Stores rows in ascending order of ids: how many are new, how many were here. Errors: InvalidInput."""
        for row in rows:
            _check(row)
        numbers = [row["id"] for row in rows]
        if any(b <= a for a, b in pairwise(numbers)):
            raise InvalidInput("The Observations are not in the order of their ids.", fix="Export it again.")
        known = self._transfer.known_range(tx.connection, numbers[0], numbers[-1])
        new = [row for row in rows if row["id"] not in known]
        if new:
            self._insert(tx, new)
        return len(new), len(rows) - len(new)

    def _insert(self, tx: Tx, rows: list[dict[str, Any]]) -> None:
        streams = self._own(tx, "datastream", {row["datastream_id"] for row in rows})
        features = self._own(tx, "feature", {row["feature_id"] for row in rows if row.get("feature_id") is not None})
        theirs = [row["id"] for row in rows]
        if self._keep_ids:
            ids.reserve(tx.connection, "observation", theirs[-1])
            ours = theirs
        else:
            ours = tx.observation_ids.take(tx.connection, len(rows))
        accepted = [
            NewObservation(
                streams[row["datastream_id"]],
                row["t"],
                row["result"],
                row.get("t_end"),
                row.get("result_time"),
                None if row.get("feature_id") is None else features[row["feature_id"]],
                row.get("extra"),
            )
            for row in rows
        ]
        known = aggregates.streams(tx.connection, sorted(set(streams.values())))
        given = Tx(tx.connection, tx.now_us, _Given(list(ours)), tx.outgoing)
        observations.store_rows(given, [(row, b"") for row in accepted], known, received=True)
        self._transfer.add_range(tx.connection, theirs, ours)

    def _own(self, tx: Tx, kind: str, wanted: set[int]) -> dict[int, int]:
        known = self._transfer.known(tx.connection, kind, wanted)
        missing = [i for i in wanted if str(i) not in known]
        if missing:
            raise InvalidInput(f"An Observation refers to {kind} {missing[0]}, which is not in the export.", fix="")
        return {i: known[str(i)] for i in wanted}


def _check(row: Any) -> None:
    if not isinstance(row, dict) or not row.keys() <= _KNOWN or "result" not in row:
        raise InvalidInput("A row is no Observation.", fix="Was it written by a newer version?")
    for name in _INTEGERS:
        value = row.get(name)
        if value is None and name in ("t_end", "result_time", "feature_id"):
            continue
        if type(value) is not int or not -(2**63) <= value < 2**63:
            raise InvalidInput(f"'{name}' of an Observation is no integer of 64 bits.", fix="Export it again.")
    validate.check_value(row["result"])
    extra = row.get("extra")
    if extra is not None:
        if not isinstance(extra, dict):
            raise InvalidInput("'extra' of an Observation is no object.", fix="Export it again.")
        validate.check_value(extra)
