"""The headers of what an app writes: claims of the source become facts (binding: a record on `.int` and `.ext`).

    ts-id      the observation's id: the source's if it is a UUID, else derived from the record's place
    ts-app     "<uid>.<revision>"
    ts-source  JSON, one [log key, ts-id] for each input
    ts-meta    version of the Datastream's entity, passed on
    ts-dead    on dead letters: JSON with the place, the error and the revision
All other `ts-*` headers of an input are claims that nobody checked: they end here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from twinstack.core.ids import derived_id
from twinstack.log.seam import Headers

TS_ID, TS_APP, TS_SOURCE, TS_META, TS_GRANT, TS_DEAD = "ts-id", "ts-app", "ts-source", "ts-meta", "ts-grant", "ts-dead"

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_META_BYTES_MAX = 64
_MESSAGE_CHARS_MAX = 500
_encode = msgspec.json.encode


def app_header(uid: str, revision: int) -> tuple[str, bytes]:
    return TS_APP, f"{uid}.{revision}".encode()


def parse_app(value: bytes) -> tuple[str, int] | None:
    """(uid, revision), None for what is no such header."""
    uid, _, revision = value.decode("ascii", "replace").rpartition(".")
    return (uid, int(revision)) if uid and revision.isdecimal() else None


def parse_source(value: bytes) -> list[tuple[str, str]]:
    """(log key, ts-id) of each input; empty for what is no such header."""
    try:
        return msgspec.json.decode(value, type=list[tuple[str, str]])
    except msgspec.DecodeError:
        return []


def source_prefix(log_key: str) -> bytes:
    """ts-source of one input, up to its id: made once a Datastream."""
    return b"[[" + _encode(log_key) + b',"'


SOURCE_SUFFIX = b'"]]'


def passed_on(inputs: Sequence[Headers]) -> tuple[list[bytes | None], list[bytes | None]]:
    """ts-id and ts-meta of each input, None where it is missing or not well-formed."""
    idents: list[bytes | None] = []
    metas: list[bytes | None] = []
    for headers in inputs:
        ident = meta = None
        for name, value in headers:
            if name == TS_ID:
                ident = value if ident is None else ident
            elif name == TS_META and meta is None and len(value) <= _META_BYTES_MAX:
                meta = value
        idents.append(ident)
        metas.append(meta)
    if not _all_uuids(idents):
        idents = [ident if ident is not None and _UUID.fullmatch(ident) else None for ident in idents]
    return idents, metas


def _all_uuids(idents: list[bytes | None]) -> bool:
    """Whether each is a UUID, for a whole batch at a fifth of the cost of one by one."""
    if None in idents or set(map(len, idents)) != {len(_UUID_FORM)}:  # type: ignore[arg-type]
        return False
    joined = np.frombuffer(b"".join(idents), np.uint8)  # type: ignore[arg-type]
    return bool((_CLASSES[joined].reshape(len(idents), -1) == _UUID_FORM).all())


def _classes() -> npt.NDArray[np.uint8]:
    classes = np.zeros(256, np.uint8)
    classes[list(b"0123456789abcdef")] = 1
    classes[ord("-")] = 2
    return classes


_CLASSES = _classes()
_UUID_FORM = np.array([2 if i in (8, 13, 18, 23) else 1 for i in range(36)], np.uint8)


def placed_id(topic: str, partition: int, offset: int) -> bytes:
    """The id of an input that has none: the same after a replay."""
    return derived_id(topic, str(partition), str(offset)).encode()


def dead_header(facts: dict[str, object]) -> tuple[str, bytes]:
    """`facts`: topic, partition, offset, timestamp_ms, error, message, revision; bytes and sha256 of a cut value."""
    return TS_DEAD, _encode({**facts, "message": str(facts["message"])[:_MESSAGE_CHARS_MAX]})
