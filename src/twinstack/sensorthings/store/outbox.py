"""The outbox: what one commit adds to the log, packed into one row per shard (a large one into more), in commit order.

A row's `seq` comes from `outbox_head` inside the commit, so that each shard's rows are numbered gaplessly in the
order of the commits; a sequence of the database would be taken before the commit, and a poller would skip late rows.
"""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import sqlalchemy as sa
import zstandard

from twinstack.core import ids, limits, names
from twinstack.core.errors import InvalidRecord
from twinstack.sensorthings.store.prepared import Prepared
from twinstack.sensorthings.store.tables import outbox, outbox_head

TS_ID, TS_STORE = "ts-id", "ts-store"
_ZSTD_LEVEL = 1
_HMAC_BYTES = 16


def shard_of(system: str) -> int:
    """The shard of a system, 0 to 7: the same in every process and version (hash() is not)."""
    return zlib.crc32(names.collision_key(system).encode()) % limits.OUTBOX_SHARDS


class Payload(msgspec.Struct, array_like=True):
    """Columns of one packed row. `topics[i]` of record i is an index into `topic_names`.

    An empty `ts_ids[i]`: no client made one, it follows from the store and the Observation's id. `meta` are ids of
    Datastreams whose entity changed: (system, datastream id); the publisher renders them when it sends. `gone` are
    (system, log key) of deleted ones, sent as tombstones.
    """

    topic_names: list[str]
    topics: list[int]
    keys: list[str]
    values: list[bytes]
    observation_ids: list[int]
    ts_ids: list[str]
    meta: list[tuple[str, int]] = []
    gone: list[tuple[str, str]] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Payload).decode


def pack(payload: Payload) -> bytes:
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(_encode(payload))


def unpack(data: bytes) -> Payload:
    return _decode(zstandard.ZstdDecompressor().decompress(data))


class LogRecord(NamedTuple):
    """One Observation on its way to the log."""

    system: str
    key: str
    value: bytes
    observation_id: int
    ts_id: str


@dataclass(slots=True)
class Outgoing:
    """What the transaction under way will write to the outbox. `mark` and `back_to` follow its savepoints."""

    records: list[LogRecord] = field(default_factory=list)
    meta: list[tuple[str, int]] = field(default_factory=list)
    gone: list[tuple[str, str]] = field(default_factory=list)
    freed_bytes: dict[int, int] = field(default_factory=dict)
    """By shard: payloads that the log has. The heads are written last, all of them in one order."""

    def mark(self) -> tuple[int, int, int, dict[int, int]]:
        return len(self.records), len(self.meta), len(self.gone), dict(self.freed_bytes)

    def back_to(self, mark: tuple[int, int, int, dict[int, int]]) -> None:
        self.freed_bytes = mark[3]
        del self.records[mark[0] :]
        del self.meta[mark[1] :]
        del self.gone[mark[2] :]

    def payloads(self) -> list[tuple[int, Payload]]:
        """`(shard, payload)`, shards in order: every writer locks the heads in the same order. Each is sent in one
        transaction of the log, so a large commit is several."""
        filling: dict[int, _Filling] = {}
        shards: dict[str, _Filling] = {}
        for record in self.records:
            if (place := shards.get(record.system)) is None:
                place = shards[record.system] = filling.setdefault(shard_of(record.system), _Filling())
            place.add(record)
        for system, datastream_id in sorted(set(self.meta)):
            filling.setdefault(shard_of(system), _Filling()).last.meta.append((system, datastream_id))
        for system, key in self.gone:
            filling.setdefault(shard_of(system), _Filling()).last.gone.append((system, key))
        return [(shard, payload) for shard, place in sorted(filling.items()) for payload in place.payloads]


def _empty() -> Payload:
    return Payload([], [], [], [], [], [], [], [])


class _Filling:
    """The payloads of one shard: the last one takes what comes until it is full."""

    def __init__(self) -> None:
        self.payloads = [_empty()]
        self._bytes = 0
        self._topics: dict[str, int] = {}

    @property
    def last(self) -> Payload:
        return self.payloads[-1]

    def add(self, record: LogRecord) -> None:
        payload = self.payloads[-1]
        self._bytes += len(record.value)
        if len(payload.values) >= limits.GROUP_COMMIT_ROWS_MAX or (
            payload.values and self._bytes > limits.OUTBOX_TRANSACTION_BYTES_MAX
        ):
            payload = _empty()
            self.payloads.append(payload)
            self._bytes = len(record.value)
            self._topics.clear()
        topic = self._topics.get(record.system)
        if topic is None:
            topic = self._topics[record.system] = len(payload.topic_names)
            payload.topic_names.append(f"{record.system}.int")
        payload.topics.append(topic)
        payload.keys.append(record.key)
        payload.values.append(record.value)
        payload.observation_ids.append(record.observation_id)
        payload.ts_ids.append(record.ts_id)


_NEXT_SEQ = Prepared(
    sa.update(outbox_head)
    .where(outbox_head.c.shard == sa.bindparam("of_shard"))
    .values(
        seq=outbox_head.c.seq + 1,
        waiting_bytes=outbox_head.c.waiting_bytes + sa.bindparam("more", type_=sa.BigInteger()),
    )
    .returning(outbox_head.c.seq)
)


_INSERT = Prepared(sa.insert(outbox))
_WAITING = Prepared(sa.select(sa.func.coalesce(sa.func.sum(outbox_head.c.waiting_bytes), 0)))


_FREE = Prepared(
    sa.update(outbox_head)
    .where(outbox_head.c.shard == sa.bindparam("of_shard"))
    .values(waiting_bytes=outbox_head.c.waiting_bytes - sa.bindparam("less", type_=sa.BigInteger()))
)


def write(connection: sa.Connection, outgoing: Outgoing) -> None:
    """Writes what waits, one row per shard, or more of a large commit. Heads are locked in the order of shards."""
    payloads: dict[int, list[bytes]] = {shard: [] for shard in outgoing.freed_bytes}
    for shard, payload in outgoing.payloads():
        payloads.setdefault(shard, []).append(pack(payload))
    for shard in sorted(payloads):
        if less := outgoing.freed_bytes.get(shard):
            _FREE.run(connection, of_shard=shard, less=less)
        for data in payloads[shard]:
            ((seq,),) = _NEXT_SEQ.rows(connection, of_shard=shard, more=len(data))
            _INSERT.run(connection, shard=shard, seq=seq, payload=data)


def waiting_bytes(connection: sa.Connection) -> int:
    return int(_WAITING.rows(connection)[0][0])


def read(connection: sa.Connection, shard: int, after_seq: int, limit: int) -> list[tuple[int, Payload]]:
    """Up to `limit` rows behind `after_seq`, in order."""
    rows = connection.execute(
        sa.select(outbox.c.seq, outbox.c.payload)
        .where(outbox.c.shard == shard, outbox.c.seq > after_seq)
        .order_by(outbox.c.seq)
        .limit(limit)
    )
    return [(seq, unpack(payload)) for seq, payload in rows]


def delete(connection: sa.Connection, outgoing: Outgoing, shard: int, upto: int) -> int:
    """Deletes the rows up to `upto`; returns how many. Their bytes are free when `outgoing` is written."""
    where = (outbox.c.shard == shard) & (outbox.c.seq <= upto)
    count, size = connection.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(sa.func.length(outbox.c.payload)), 0)).where(where)
    ).one()
    if count:
        connection.execute(sa.delete(outbox).where(where))
        outgoing.freed_bytes[shard] = outgoing.freed_bytes.get(shard, 0) + int(size)
    return int(count)


def sign(header_key: bytes, store_uuid: str, observation_id: int, key: bytes, value: bytes) -> bytes:
    """The `ts-store` header: `<store uuid> <observation id> <HMAC>`. The HMAC covers key and value, so that nobody
    keeps another record out of the history with a header he has seen."""
    message = b"%d\0%b\0%b" % (observation_id, key, value)
    mac = hmac.digest(header_key, message, "sha256")[:_HMAC_BYTES].hex()
    return f"{store_uuid} {observation_id} {mac}".encode()


def verify(header_key: bytes, store_uuid: str, header: bytes, key: bytes | None, value: bytes | None) -> bool:
    """Whether `header` is this store's own signature of the record."""
    try:
        uuid, number, _ = header.decode("ascii").split(" ")
        expected = sign(header_key, store_uuid, int(number), key or b"", value or b"")
    except (ValueError, UnicodeDecodeError):
        return False
    return uuid == store_uuid and hmac.compare_digest(header, expected)


def headers_of(header_key: bytes, store_uuid: str, payload: Payload) -> list[Sequence[tuple[str, bytes]]]:
    """The headers of each record of a payload, in order."""
    if not len(payload.keys) == len(payload.values) == len(payload.observation_ids) == len(payload.ts_ids):
        raise InvalidRecord("An outbox row has columns of different lengths.", reason="outbox")
    return [
        (
            (TS_ID, (ts_id or ids.derived_id(store_uuid, str(number))).encode()),
            (TS_STORE, sign(header_key, store_uuid, number, key.encode(), value)),
        )
        for key, value, number, ts_id in zip(
            payload.keys, payload.values, payload.observation_ids, payload.ts_ids, strict=True
        )
    ]
