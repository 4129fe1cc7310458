"""The packed batch: consecutive records of one partition as columns, one form for wire and disk.

A batch is packed once by its producer and unpacked once by its consumer; what lies between passes it on.

    head      28 + 8 bytes, little endian: version u8, flags u8, reserved u16, count u32, newest timestamp i64,
              then the sizes of the five sections before compression, u32 each
    sections  values | keys | headers | timestamps | offsets, each MessagePack, all of them in one zstd frame if ZSTD

An absent section (size 0) has a default: keys all None, headers all (), timestamps all the newest, offsets dense.
With SAME_KEY the keys section is one key for all. Offsets count from the batch's first; only compaction makes gaps.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import zstandard

from twinstack.core.errors import InvalidInput, RecordTooLarge
from twinstack.core.limits import (
    HEADER_BYTES_MAX,
    HEADERS_PER_RECORD_MAX,
    LOG_BATCH_BYTES_MAX,
    LOG_BATCH_RECORDS_MAX,
    LOG_COMMIT_BYTES_MAX,
    LOG_COMPRESS_RECORDS_MIN,
    RECORD_KEY_BYTES_MAX,
)
from twinstack.log.seam import Headers

VERSION = 1
ZSTD, SAME_KEY = 1, 2
ZSTD_LEVEL = 1

_HEAD = struct.Struct("<BBHIq5I")
_encode = msgspec.msgpack.Encoder().encode
_VALUES = msgspec.msgpack.Decoder(list[bytes | None])
_KEY = msgspec.msgpack.Decoder(bytes)
_HEADERS = msgspec.msgpack.Decoder(list[tuple[tuple[str, bytes], ...]])
_INTEGERS = msgspec.msgpack.Decoder(list[int])


class Head(NamedTuple):
    flags: int
    records: int
    newest_ms: int
    sizes: tuple[int, int, int, int, int]

    @property
    def raw_bytes(self) -> int:
        """Size of the sections before compression."""
        return sum(self.sizes)


class _Codecs(threading.local):
    """zstd contexts are not to be used by two threads at once."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_codecs = _Codecs()


def pack(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | bytes | None = None,
    headers: Sequence[Headers] | None = None,
    timestamps_ms: Sequence[int] | int = 0,
    offsets: Sequence[int] | None = None,
) -> bytes:
    """One batch. `keys` as bytes is one key for all; `timestamps_ms` as int one time for all; columns have one length.

    Errors: InvalidInput when something is not bytes, text or an integer that the format can hold."""
    flags = 0
    try:
        _only_bytes(values)
        packed_keys = b""
        if isinstance(keys, bytes):
            flags, packed_keys = SAME_KEY, _encode(keys)
        elif keys is not None and any(key is not None for key in keys):
            _only_bytes(keys)
            packed_keys = _encode(keys)
        packed_times = b""
        if isinstance(timestamps_ms, int):
            newest_ms = timestamps_ms
        else:
            newest_ms = max(timestamps_ms)
            if min(timestamps_ms) != newest_ms:
                packed_times = _encode(timestamps_ms)
        packed_headers = b""
        if headers is not None and any(headers):
            for each in headers:
                _only_pairs(each)
            packed_headers = _encode(headers)
        packed_offsets = _encode(offsets) if offsets is not None else b""
        sections = (_encode(values), packed_keys, packed_headers, packed_times, packed_offsets)
        body = b"".join(sections)
        if len(values) >= LOG_COMPRESS_RECORDS_MIN:
            smaller = _codecs.compress(body)
            if len(smaller) < len(body):
                flags, body = flags | ZSTD, smaller
        return _HEAD.pack(VERSION, flags, 0, len(values), newest_ms, *map(len, sections)) + body
    except (TypeError, ValueError, OverflowError, struct.error, msgspec.MsgspecError) as error:
        raise InvalidInput(
            f"These records cannot be written: {error}.",
            fix="Values and keys are bytes (or None), headers pairs of text and bytes, timestamps milliseconds.",
        ) from error


def _only_bytes(column: Sequence[bytes | None]) -> None:
    if not set(map(type, column)) <= {bytes, type(None)}:
        found = next(type(item).__name__ for item in column if type(item) not in (bytes, type(None)))
        raise TypeError(f"{found} is not bytes")


def _only_pairs(headers: Headers) -> None:
    for name, content in headers:
        if type(name) is not str or type(content) is not bytes:
            raise TypeError("a header is a pair of text and bytes")


def head(blob: bytes) -> Head:
    """The head, checked against the length and the limits. Errors: InvalidInput."""
    if len(blob) < _HEAD.size:
        raise _malformed("it is shorter than its head")
    version, flags, _, count, newest_ms, *sizes = _HEAD.unpack_from(blob)
    if version != VERSION:
        raise _malformed(f"its version is {version}, this side speaks {VERSION}")
    found = Head(flags, count, newest_ms, (sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]))
    if found.raw_bytes > LOG_COMMIT_BYTES_MAX:
        raise _malformed(f"it claims {found.raw_bytes} bytes, at most {LOG_COMMIT_BYTES_MAX} are allowed")
    if not flags & ZSTD and len(blob) != _HEAD.size + found.raw_bytes:
        raise _malformed("its length is not what the head says")
    if not 0 < count <= min(LOG_BATCH_RECORDS_MAX, found.sizes[0]):
        raise _malformed(f"it claims {count} records, allowed are 1 to {LOG_BATCH_RECORDS_MAX}")
    return found


class Columns:
    """The columns of a batch, each decoded when asked for and then kept."""

    def __init__(self, blob: bytes) -> None:
        self.head = head(blob)
        body = memoryview(blob)[_HEAD.size :]
        self._body = memoryview(_inflate(body, self.head.raw_bytes)) if self.head.flags & ZSTD else body
        self._kept: list[Any] = [None] * 5

    def __len__(self) -> int:
        return self.head.records

    def _column(self, index: int, decoder: msgspec.msgpack.Decoder[Any], default: Any = None) -> list[Any]:
        column = self._kept[index]
        if column is None:
            sizes = self.head.sizes
            start = sum(sizes[:index])
            section = self._body[start : start + sizes[index]]
            if not section:
                column = range(self.head.records) if index == 4 else [default] * self.head.records
            elif index == 1 and self.head.flags & SAME_KEY:
                column = [_decode(_KEY, section)] * self.head.records
            else:
                column = _decode(decoder, section)
            if len(column) != self.head.records:
                raise _malformed(f"it has {len(column)} entries in a column of {self.head.records} records")
            self._kept[index] = column
        return column  # type: ignore[no-any-return]

    @property
    def values(self) -> list[bytes | None]:
        return self._column(0, _VALUES)

    @property
    def keys(self) -> list[bytes | None]:
        return self._column(1, _VALUES)

    @property
    def headers(self) -> list[Headers]:
        return self._column(2, _HEADERS, ())

    @property
    def timestamps_ms(self) -> list[int]:
        return self._column(3, _INTEGERS, self.head.newest_ms)

    @property
    def offsets(self) -> list[int]:
        """Counted from the batch's first offset."""
        return self._column(4, _INTEGERS)

    @property
    def dense(self) -> bool:
        return not self.head.sizes[4]


def verify(blob: bytes, record_bytes_max: int) -> Head:
    """A batch from outside is right in every column, so that no reader can stumble over it.

    Errors: InvalidInput for a malformed batch, RecordTooLarge."""
    found = head(blob)
    if found.raw_bytes > LOG_BATCH_BYTES_MAX:  # a reader passes on whole batches, and its transaction has a bound
        raise RecordTooLarge(
            f"A batch of {found.raw_bytes} bytes before compression is larger than {LOG_BATCH_BYTES_MAX}.",
            fix="Send smaller batches.",
        )
    columns = Columns(blob)
    if not columns.dense:
        raise _malformed("only the log itself leaves gaps between offsets")
    keys, times = columns.keys, columns.timestamps_ms
    if max(times) != columns.head.newest_ms or min(times) < 0:
        raise _malformed("its timestamps are negative or not what the head says")
    if columns.head.sizes[1] > RECORD_KEY_BYTES_MAX:
        for key in keys:
            check_record(b"", key, (), record_bytes_max)
    values = columns.values
    if columns.head.sizes[0] > record_bytes_max:
        for value in values:
            check_record(value, None, (), record_bytes_max)
    for headers in columns.headers if columns.head.sizes[2] else ():
        check_record(b"", None, headers, record_bytes_max)
    return columns.head


def check_record(value: bytes | None, key: bytes | None, headers: Headers, record_bytes_max: int) -> None:
    """Errors: RecordTooLarge for a value, a key or headers over their limits."""
    if value is not None and len(value) > record_bytes_max:
        raise RecordTooLarge(
            f"A value of {len(value)} bytes is larger than the topic's {record_bytes_max}.",
            fix="Send smaller records, or raise the topic's max_record_bytes.",
            size_bytes=len(value),
            max_bytes=record_bytes_max,
        )
    if key is not None and len(key) > RECORD_KEY_BYTES_MAX:
        raise RecordTooLarge(
            f"A key of {len(key)} bytes is larger than {RECORD_KEY_BYTES_MAX}.", fix="Use a shorter key."
        )
    if headers and (
        len(headers) > HEADERS_PER_RECORD_MAX
        or sum(len(name) + len(content) for name, content in headers) > HEADERS_PER_RECORD_MAX * HEADER_BYTES_MAX
    ):
        raise RecordTooLarge(
            f"More than {HEADERS_PER_RECORD_MAX} headers, or more than {HEADER_BYTES_MAX} bytes each.",
            fix="Put the data into the value.",
        )


def _inflate(body: memoryview, raw_bytes: int) -> bytes:
    """The size is checked before anything is allocated: a frame cannot grow beyond what its head claims."""
    try:
        if zstandard.frame_content_size(body) != raw_bytes:
            raise _malformed("its compressed size is not what the head says")
        raw = _codecs.decompress(body, max_output_size=raw_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _malformed(f"it cannot be decompressed ({error})") from error
    if len(raw) != raw_bytes:
        raise _malformed("its decompressed size is not what the head says")
    return raw


def _decode(decoder: msgspec.msgpack.Decoder[Any], section: memoryview) -> Any:
    try:
        return decoder.decode(section)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _malformed(str(error)) from error


def _malformed(why: str) -> InvalidInput:
    return InvalidInput(f"This batch is malformed: {why}.", fix="Send what `twinstack.log.packed.format.pack` makes.")
