"""Dead letters: the raw bytes of a record that does not fit, with its place and what was wrong (`ts.<uid>.dead`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from twinstack.core import limits
from twinstack.log.seam import Batch, Headers, OutRecord
from twinstack.streams.headers import TS_DEAD, TS_ID, dead_header

if TYPE_CHECKING:
    from twinstack.streams.sources import Read


class Fault(NamedTuple):
    """What is wrong with the record at `place` of a batch; `error` is a stable word for counters and filters."""

    place: int
    error: str
    message: str


class DeadLetters:
    """Makes the letters of one app. The value is the record's, up to 64 KiB; a longer one is cut, and the header has
    the SHA-256 of the whole. The record's own headers are kept, for the replay."""

    def __init__(self, topic: str, revision: int) -> None:
        self._topic = topic
        self._revision = revision

    def of(self, read: Read) -> list[OutRecord]:
        """The letters of a batch: of an own source the records as they came, of a foreign one the view's rows."""
        if not read.faults:
            return []
        faults = sorted(read.faults)
        return self.letters(read.batch, faults) if read.source.view.own else self._rows_of_view(read, faults)

    def _rows_of_view(self, read: Read, faults: Sequence[Fault]) -> list[OutRecord]:
        """Without their place on the log, which would tell how much was withheld."""
        places = [fault.place for fault in faults]
        idents, _ = read.facts(places)
        keys = [read.source.context.keys[code] for code in read.codes[places].tolist()]
        made: list[OutRecord] = []
        for fault, ident, key in zip(faults, idents, keys, strict=True):
            value = read.batch.values[fault.place] or b""
            if not read.source.view.whole:
                value = _shown(read, fault.place, key)
            made.append(self.letter(value, key, {"error": fault.error, "message": fault.message}, ident))
        return made

    def letter(self, value: bytes, key: bytes, facts: dict[str, object], ident: bytes) -> OutRecord:
        """A letter of a row; `facts`: error, message and, of an own source, its place."""
        facts = {**facts, "revision": self._revision}
        if len(value) > limits.DEAD_LETTER_RAW_BYTES_MAX:
            facts |= {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
            value = value[: limits.DEAD_LETTER_RAW_BYTES_MAX]
        return OutRecord(self._topic, value, key, [(TS_ID, ident), dead_header(facts)])

    def letters(self, batch: Batch, faults: Iterable[Fault]) -> list[OutRecord]:
        values, keys, offsets = batch.values, batch.keys, batch.offsets
        headers, timestamps_ms = batch.headers, batch.timestamps_ms
        made: list[OutRecord] = []
        for fault in faults:
            i = fault.place
            value = values[i]
            facts: dict[str, object] = {
                "topic": batch.topic,
                "partition": batch.partition,
                "offset": offsets[i],
                "timestamp_ms": timestamps_ms[i],
                "error": fault.error,
                "message": fault.message,
                "revision": self._revision,
            }
            if value is not None and len(value) > limits.DEAD_LETTER_RAW_BYTES_MAX:
                facts |= {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
                value = value[: limits.DEAD_LETTER_RAW_BYTES_MAX]
            own: Headers = [h for h in headers[i] if h[0] != TS_DEAD][: limits.HEADERS_PER_RECORD_MAX - 1]
            made.append(OutRecord(self._topic, value, keys[i], [*own, dead_header(facts)]))
        return made


def _shown(read: Read, place: int, key: bytes) -> bytes:
    """What every view shows: time, result and Datastream."""
    fields = {name: read.decoded.column((name,))[place] for name in ("phenomenonTime", "result")}
    return msgspec.json.encode({**fields, "Datastream": {"name": key.decode()}})
