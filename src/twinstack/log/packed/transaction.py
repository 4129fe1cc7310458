"""seam.Transaction over a Transport: records gather here, one request commits them with the offsets.

Nothing lies on the log before the commit, so there is nothing to abort on it and readers never wait.

    state     send     commit                      abort
    open      gathers  ok -> open (next sequence)  drops -> open
                       answer lost -> unsure       .
                       fenced -> over              .
    unsure    refused  the same request again      a new epoch shuts the request out -> open
    over      refused  refused                     nothing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from twinstack.core.errors import (
    Fenced,
    InvalidInput,
    LogError,
    RecordTooLarge,
    RetriableLogError,
    TransactionAborted,
    Unavailable,
)
from twinstack.core.limits import LOG_COMMIT_BYTES_MAX, MIB
from twinstack.log.packed.format import check_record
from twinstack.log.packed.router import Columns, Router
from twinstack.log.packed.transport import Part, Transport
from twinstack.log.seam import Headers, OutRecord, TopicPartition

GATHERED_BYTES_MAX = LOG_COMMIT_BYTES_MAX - 4 * MIB
"""Room for what a packed request adds to the records."""
RECORD_OVERHEAD_BYTES = 32


class _State(Enum):
    OPEN = "open"
    UNSURE = "unsure"
    OVER = "over"


class PackedTransaction:
    def __init__(self, transport: Transport, transactional_id: str) -> None:
        self._transport = transport
        self._id = transactional_id
        self._epoch = transport.init(transactional_id)
        self._sequence = 1
        self._router = Router(lambda topic: transport.layout(topic).partitions)
        self._gathered: dict[tuple[str, int], Columns] = {}
        self._bytes = 0
        self._request: list[Part] | None = None
        self._state = _State.OPEN

    def send(self, record: OutRecord) -> None:
        topic, value, key, headers, timestamp_ms, partition = record
        self._check_open()
        check_record(value, key, headers, self._transport.layout(topic).record_bytes_max)
        when = self._transport.now_ms() if timestamp_ms is None else timestamp_ms
        size = _size(value, key, headers)
        self._make_room(size)
        self._gather(topic, self._router.one(topic, key, partition), value, key, headers, when, size)

    def send_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        headers: Sequence[Headers],
    ) -> None:
        self._check_open()
        if not len(values) == len(keys) == len(headers):
            raise ValueError("values, keys and headers have different lengths")
        record_bytes_max = self._transport.layout(topic).record_bytes_max
        when = self._transport.now_ms()
        partitions = self._router.many(topic, keys)
        sizes: list[int] = []
        for value, key, some in zip(values, keys, headers, strict=True):
            check_record(value, key, some, record_bytes_max)
            sizes.append(_size(value, key, some))
        self._make_room(sum(sizes))  # for all or for none
        for partition, value, key, some, size in zip(partitions, values, keys, headers, sizes, strict=True):
            self._gather(topic, partition, value, key, some, when, size)

    def _make_room(self, size: int) -> None:
        if self._bytes + size > GATHERED_BYTES_MAX:
            raise RecordTooLarge(
                f"This transaction would have more than {GATHERED_BYTES_MAX // MIB} MiB.", fix="Commit more often."
            )

    def _gather(
        self, topic: str, partition: int, value: bytes | None, key: bytes | None, headers: Headers, when: int, size: int
    ) -> None:
        columns = self._gathered.get((topic, partition))
        if columns is None:
            columns = self._gathered[topic, partition] = Columns()
        columns.values.append(value)
        columns.keys.append(key)
        columns.headers.append(headers)
        columns.timestamps_ms.append(when)
        columns.bytes += size
        self._bytes += size

    def commit(self, group: str | None = None, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        if self._state is _State.OVER:
            raise self._fenced()
        offsets = offsets or {}
        if any(offset < 0 for offset in offsets.values()):
            raise InvalidInput(
                f"Offsets to commit are at least 0, not {min(offsets.values())}.", fix="Track next offsets yourself."
            )
        if offsets and not group:
            raise InvalidInput("Offsets are committed for a group.", fix="Give commit the group's name.")
        if self._request is None:
            if not self._gathered and not offsets:
                return
            self._request = [
                part
                for (topic, partition), columns in self._gathered.items()
                for part, _ in columns.parts(topic, partition)
            ]
        self._state = _State.UNSURE
        try:
            self._transport.commit(self._id, self._epoch, self._sequence, self._request, group, offsets)
        except Fenced:
            self._state = _State.OVER
            raise
        except (RetriableLogError, Unavailable):
            raise  # unsure: the same call again, or abort
        except LogError:
            raise
        except Exception as error:
            # refused as it is: nothing was stored, and repeating it would not help
            self._state = _State.OPEN
            self._drop()
            raise TransactionAborted(f"The log refused this transaction: {error}") from error
        self._state = _State.OPEN
        self._sequence += 1
        self._drop()

    def abort(self) -> None:
        if self._state is _State.UNSURE:
            self._epoch = self._transport.init(self._id)
            self._sequence = 1
            self._state = _State.OPEN
        self._drop()

    def close(self) -> None:
        self._state = _State.OVER
        self._drop()

    def _drop(self) -> None:
        self._gathered = {}
        self._bytes = 0
        self._request = None

    def _check_open(self) -> None:
        if self._state is _State.OVER:
            raise self._fenced()
        if self._state is _State.UNSURE:
            raise TransactionAborted(
                f"The outcome of the last commit of '{self._id}' is not known.", fix="Repeat the commit, or abort."
            )

    def _fenced(self) -> Fenced:
        return Fenced(
            f"'{self._id}' is closed or has a newer owner.",
            fix="Stop; the newer owner goes on from the committed offsets.",
        )


def _size(value: bytes | None, key: bytes | None, headers: Headers) -> int:
    size = len(value or b"") + len(key or b"") + RECORD_OVERHEAD_BYTES
    for name, content in headers:
        size += len(name) + len(content)
    return size
