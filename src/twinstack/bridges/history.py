"""From a record on the log to an Observation of the history: its values, and the Datastream it belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa

from twinstack.core import observations, timestamps
from twinstack.core.errors import InvalidInput, InvalidRecord, InvalidTimestamp
from twinstack.core.observations import RESERVED_KEYS
from twinstack.sensorthings.store import NewObservation, Store
from twinstack.sensorthings.store.tables import datastream, system
from twinstack.sensorthings.validate import check_nul

_REGISTRY_MAGIC = 0
_REGISTRY_PREFIX_BYTES = 5
_IDS_MAX = 2**31
_EARLIEST_US, _LATEST_US = timestamps.parse_us("0001-01-01T00:00:00Z"), timestamps.parse_us("9999-12-31T23:59:59Z")


_NO_ID = -1
"""Something stands there that is no id of a Datastream."""


class Claim(NamedTuple):
    """What a record says of its Datastream: the record's key, the name and the id in its value."""

    key: str | None
    name: str | None
    id: int | None

    @property
    def decisive(self) -> str | int | None:
        """The name where there is one, else the id, else the key: as stream apps and clients judge it. Whatever a
        record says, all of them must take it for the same Datastream's, or for nobody's."""
        if self.name is not None:
            return self.name
        return self.key if self.id is None else self.id


class Unstorable(Exception):
    """Why a record is a dead letter: a stable `reason` and a message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def read(key: bytes | None, value: bytes | None, timestamp_ms: int) -> tuple[Claim, NewObservation]:
    """The claim, and the Observation with `datastream_id` still 0. Errors: Unstorable.

    A missing phenomenonTime is the time of arrival, as in a POST. Additional attributes (`longitude`, ...) have no
    place in SensorThings but `parameters`, so they join them there.
    """
    if value is None:
        raise Unstorable("empty", "The record has no value.")
    if len(value) > _REGISTRY_PREFIX_BYTES and value[0] == _REGISTRY_MAGIC:
        value = value[_REGISTRY_PREFIX_BYTES:]
    try:
        record = observations.decode(value)
        if "result" not in record:
            raise Unstorable("missing_result", "The record has no 'result'.")
        start, end = _time(record.get("phenomenonTime"), "phenomenonTime") or (timestamp_ms * 1000, None)
        instant = _time(record.get("resultTime"), "resultTime")
        extra = _extra(record)
        if b"\\u0000" in value:  # no other way leads to a NUL: strict JSON has no raw control characters
            check_nul(record["result"])
            check_nul(extra)
    except InvalidRecord as error:
        raise Unstorable(error.reason, error.message) from None
    except InvalidTimestamp as error:
        raise Unstorable("timestamp", error.message) from None
    except InvalidInput as error:
        raise Unstorable(error.code, error.message) from None
    row = NewObservation(0, start, record["result"], end, instant and instant[0], None, extra or None)
    return _claim(key, record.get("Datastream")), row


def _time(value: Any, name: str) -> tuple[int, int | None] | None:
    if value is None:
        return None
    try:
        if isinstance(value, str) and "/" in value:
            start, end = timestamps.parse_interval_us(value)
        else:
            start, end = timestamps.parse_us(value), None
        if start < _EARLIEST_US or (end or start) > _LATEST_US:
            timestamps.format_interval_us(start, end)  # what cannot be written back cannot be read by anyone
    except InvalidTimestamp as error:
        raise InvalidTimestamp(f"'{name}': {error.message}") from None
    return start, end


def _extra(record: dict[str, Any]) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if record.get("resultQuality") is not None:
        extra["resultQuality"] = record["resultQuality"]
    if (valid := _time(record.get("validTime"), "validTime")) is not None:
        extra["validTime"] = list(valid)
    attributes = {k: v for k, v in record.items() if k not in RESERVED_KEYS}
    parameters = record.get("parameters")
    if attributes:
        own = parameters if isinstance(parameters, dict) else {} if parameters is None else {"parameters": parameters}
        parameters = {**attributes, **own}
    if parameters is not None:
        extra["parameters"] = parameters
    return extra


def _claim(key: bytes | None, link: Any) -> Claim:
    name = link.get("name") if isinstance(link, dict) else None
    number = link.get("@iot.id") if isinstance(link, dict) else None
    text: str | None
    try:
        text = key.decode() if key is not None else None
    except UnicodeDecodeError:
        text = None
    plain = isinstance(number, int) and not isinstance(number, bool) and 0 < number < _IDS_MAX
    wrong = None if number is None else _NO_ID
    return Claim(text, name if isinstance(name, str) else None, number if plain else wrong)


class _Known(NamedTuple):
    """Datastreams of one system: log key or name -> id, ids, and for received copies the source's id -> id."""

    own_keys: dict[str, int]
    own_names: dict[str, int]
    own: dict[int, int]
    copy_keys: dict[str, int]
    copy_names: dict[str, int]
    copies: dict[int, int]


class Resolver:
    """Finds Datastreams among those of the topic's system. What is found is kept; what is not found is looked up
    again with the next batch, because it may be registered by then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._systems: dict[str, _Known] = {}

    def forget(self, system_name: str) -> None:
        self._systems.pop(system_name, None)

    def learn(self, system_name: str, claims: Iterable[Claim], *, received: bool) -> None:
        """Looks up what of `claims` is not known yet, in one query."""
        known = self._systems.setdefault(system_name, _Known({}, {}, {}, {}, {}, {}))
        keys: set[str] = set()
        ids: set[int] = set()
        for claim in claims:
            if self.find(system_name, claim, received=received) is None:
                wanted = claim.decisive
                if isinstance(wanted, str):
                    keys.add(wanted)
                elif wanted is not None:
                    ids.add(wanted)
        if not keys and not ids:
            return
        d = datastream.c
        query = (
            sa.select(d.id, d.log_key, d.name, d.copy_of)
            .join(system, system.c.id == d.system_id)
            .where(system.c.name == system_name)
            .where(
                sa.or_(
                    d.log_key.in_(sorted(keys)),
                    d.name.in_(sorted(keys)),
                    d.id.in_(sorted(ids)),
                    d.copy_of.in_(sorted(ids)),
                )
            )
        )
        with self._store.reader() as connection:
            for row in connection.execute(query):
                if row.copy_of is None:
                    known.own_names.setdefault(row.name, row.id)
                    known.own_keys[row.log_key] = known.own[row.id] = row.id
                else:
                    known.copy_names.setdefault(row.name, row.id)
                    known.copy_keys[row.log_key] = known.copies[row.copy_of] = row.id

    def find(self, system_name: str, claim: Claim, *, received: bool) -> int | None:
        """The Datastream of a claim. On `.int` only the system's own count; on `.ext` (`received`) its derived ones
        and its received copies, whose records carry the source's id."""
        known = self._systems.get(system_name)
        if known is None:
            return None
        own = (known.own_keys, known.own_names)
        copied = (known.copy_keys, known.copy_names) if received else ()
        if claim.name is not None:
            return next((found for names in (*own, *copied) if (found := names.get(claim.name)) is not None), None)
        if claim.id is not None:
            return known.copies.get(claim.id) if received else known.own.get(claim.id)
        if claim.key is None:
            return None
        found = known.own_keys.get(claim.key)
        return known.copy_keys.get(claim.key) if found is None and received else found
