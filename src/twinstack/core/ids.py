"""Identifiers: UUIDv7 for observations, UUIDv5 for derived records, short uids for apps and clients."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import threading
import time
import uuid

UID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
UID_CHARS = 10
NAMESPACE = uuid.UUID("6f0f6a55-3a51-5b8e-9a2f-1d2c1f0b7a11")

_TAILS_AT_ONCE = 256


def new_uid() -> str:
    """A random uid of 10 characters `[a-z2-7]` (50 bits): random and never reused."""
    return "".join(secrets.choice(UID_ALPHABET) for _ in range(UID_CHARS))


def named_uid(target_system: str, stream_name: str) -> str:
    """The uid of `twinstack app run`: the same target and name give the same uid, so a restart finds its fence."""
    digest = hashlib.sha256(f"{target_system}\0{stream_name}".encode()).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:UID_CHARS]


class _Uuid7:
    """UUIDv7 (RFC 9562) that increase within this process: 48 bits of ms, 12 bits of counter, 60 random bits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._counter = 0
        self._prefix_ms, self._prefix = -1, b""
        self._tails: list[bytes] = []

    def one(self) -> bytes:
        with self._lock:
            now_ms = time.time_ns() // 1_000_000
            if now_ms > self._last_ms:
                self._last_ms, self._counter = now_ms, 0
            elif self._counter > _COUNTER_MAX:
                self._last_ms, self._counter = self._last_ms + 1, 0
            counter = self._counter
            self._counter += 1
            if self._prefix_ms != self._last_ms:
                self._prefix_ms, self._prefix = self._last_ms, _prefix(self._last_ms)
            if not self._tails:
                self._tails = [each[18:] for each in _block(0, 0, _TAILS_AT_ONCE)]
            return self._prefix + _COUNTERS[counter] + self._tails.pop()

    def many(self, n: int) -> list[bytes]:
        with self._lock:
            blocks = self._reserve(n)
        return [each for block in blocks for each in _block(*block)]

    def _reserve(self, n: int) -> list[tuple[int, int, int]]:
        """`(ms, first counter, count)` for `n` ids behind all that were given."""
        now_ms = time.time_ns() // 1_000_000
        if now_ms > self._last_ms:
            self._last_ms, self._counter = now_ms, 0
        blocks = []
        while n:
            if self._counter > _COUNTER_MAX:
                # borrow from the next millisecond: still increasing
                self._last_ms, self._counter = self._last_ms + 1, 0
            count = min(n, _COUNTER_MAX + 1 - self._counter)
            blocks.append((self._last_ms, self._counter, count))
            self._counter += count
            n -= count
        return blocks


def _prefix(ms: int) -> bytes:
    h = b"%012x" % ms
    return h[:8] + b"-" + h[8:] + b"-7"


def _block(ms: int, first: int, count: int) -> list[bytes]:
    """Ids of one millisecond, written column by column: each of the 36 characters for all ids at once."""
    text = bytearray(36 * count)
    for place, character in enumerate(_prefix(ms)):
        text[place::36] = bytes((character,)) * count
    counters = b"".join(_COUNTERS[first : first + count])
    for place in range(3):
        text[15 + place :: 36] = counters[place::3]
    for place, fixed in ((18, b"-"), (19, b"8"), (23, b"-")):
        text[place::36] = fixed * count
    random = os.urandom(8 * count).hex().encode()
    for column, place in enumerate((*range(20, 23), *range(24, 36))):
        text[place::36] = random[column * count : (column + 1) * count]
    joined = bytes(text)
    return [joined[at : at + 36] for at in range(0, 36 * count, 36)]


_COUNTER_MAX = 0xFFF
_COUNTERS = [b"%03x" % n for n in range(_COUNTER_MAX + 1)]
_uuid7 = _Uuid7()


def observation_id() -> str:
    """A new UUIDv7: the `ts-id` of one observation."""
    return _uuid7.one().decode()


def observation_id_ascii() -> bytes:
    """`observation_id` as ASCII bytes, ready for a header."""
    return _uuid7.one()


def uuid7_batch(n: int) -> list[str]:
    """`n` increasing UUIDv7 strings; one lock and one clock read for all of them."""
    return b"\n".join(_uuid7.many(n)).decode().split("\n") if n else []


def uuid7_batch_ascii(n: int) -> list[bytes]:
    """`uuid7_batch` as ASCII bytes, ready for headers."""
    return _uuid7.many(n)


def derived_id(*parts: str) -> str:
    """The UUIDv5 of a derived record: the same inputs give the same id, so a replay repeats it."""
    return str(uuid.uuid5(NAMESPACE, "\0".join(parts)))
