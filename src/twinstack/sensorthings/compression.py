"""gzip and zstd: of request bodies, inflated within a bound, and of answers, whole or as a stream (RFC 9110, 8.4).

A body that inflates beyond its bound is refused before more than the bound is held. Answers are compressed only above
a size: below it the header costs more than it saves.
"""

from __future__ import annotations

import zlib
from typing import Literal, Protocol

import zstandard

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, RecordTooLarge, Unsupported

Coding = Literal["zstd", "gzip"]
_CODINGS: tuple[Coding, ...] = ("zstd", "gzip")  # of two that the client likes alike, the cheaper one
_GZIP_WBITS = 31
_ANY_ZLIB_WBITS = 47
_GZIP_LEVEL, _ZSTD_LEVEL = 1, 3


def inflate(body: bytes, encoding: bytes, bytes_max: int) -> bytes:
    """The body without its Content-Encoding. Errors: Unsupported, RecordTooLarge, InvalidInput (a damaged body)."""
    coding = encoding.strip().lower()
    if coding in (b"", b"identity"):
        return body
    if coding in (b"gzip", b"x-gzip", b"deflate"):
        inflated = _inflate_zlib(body, bytes_max)
    elif coding == b"zstd":
        inflated = _inflate_zstd(body, bytes_max)
    else:
        raise Unsupported(
            f"Content-Encoding '{coding[:40].decode('latin-1')}' is not understood.",
            fix="Send gzip, deflate, zstd or no encoding.",
        )
    if len(inflated) > bytes_max:
        raise RecordTooLarge(f"The body inflates to more than {bytes_max} bytes.", fix="Send several smaller requests.")
    return inflated


def _inflate_zlib(body: bytes, bytes_max: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        while body and size <= bytes_max:  # a gzip body may have several members
            inflater = zlib.decompressobj(_ANY_ZLIB_WBITS)
            parts.append(inflater.decompress(body, bytes_max + 1 - size))
            size += len(parts[-1])
            if not inflater.eof and size <= bytes_max:
                raise _damaged()
            body = inflater.unused_data
    except zlib.error:
        raise _damaged() from None
    return b"".join(parts)


def _inflate_zstd(body: bytes, bytes_max: int) -> bytes:
    context = zstandard.ZstdDecompressor(max_window_size=limits.ZSTD_WINDOW_BYTES_MAX)
    try:
        with context.stream_reader(body, read_across_frames=True) as reader:
            inflated = reader.read(bytes_max + 1)
    except zstandard.ZstdError:
        raise _damaged() from None
    if not inflated and body:
        raise _damaged()
    return inflated


def _damaged() -> InvalidInput:
    return InvalidInput("The body is not what its Content-Encoding says.", fix="Compress it again, or send it plain.")


def accepted(header: bytes | None) -> Coding | None:
    """The coding of an answer, by `Accept-Encoding`: the best liked of those that are made here."""
    if not header:
        return None
    weights = dict(map(_weight, header.lower().split(b",")))
    other = weights.get("*", 0.0)
    best = max(_CODINGS, key=lambda coding: weights.get(coding, other))
    return best if weights.get(best, other) > 0 else None


def _weight(item: bytes) -> tuple[str, float]:
    name, _, rest = item.partition(b";")
    parameter, _, value = rest.strip().partition(b"=")
    try:
        weight = float(value) if parameter.strip() == b"q" else 1.0
    except ValueError:
        weight = 0.0
    return name.strip().decode("latin-1"), weight


class Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def compressor(coding: Coding) -> Compressor:
    """Feed it parts; what it returns may be empty until `flush`."""
    if coding == "gzip":
        return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WBITS)
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()


def compress(body: bytes, coding: Coding) -> bytes:
    stream = compressor(coding)
    return stream.compress(body) + stream.flush()
