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

_RANDOM_POOL_BYTES = 4096


def new_uid() -> str:
    """A random uid of 10 characters `[a-z2-7]` (50 bits): random and never reused."""
    return "".join(secrets.choice(UID_ALPHABET) for _ in range(UID_CHARS))


def named_uid(target_system: str, stream_name: str) -> str:
    """The uid of `twinstack app run`: the same target and name give the same uid, so a restart finds its fence."""
    digest = hashlib.sha256(f"{target_system}\0{stream_name}".encode()).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:UID_CHARS]


class _Uuid7:
    """UUIDv7 (RFC 9562) that increase within this process: 48 bits of ms, 12 bits of counter, 62 random bits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._counter = 0
        self._pool = b""
        self._pool_at = 0

    def take(self, n: int) -> list[str]:
        ids: list[str] = []
        with self._lock:
            now_ms = time.time_ns() // 1_000_000
            if now_ms > self._last_ms:
                self._last_ms, self._counter = now_ms, 0
            for _ in range(n):
                self._counter += 1
                if self._counter > 0xFFF:
                    # borrow from the next millisecond: still increasing
                    self._last_ms, self._counter = self._last_ms + 1, 0
                if self._pool_at + 8 > len(self._pool):
                    self._pool, self._pool_at = os.urandom(_RANDOM_POOL_BYTES), 0
                random = int.from_bytes(self._pool[self._pool_at : self._pool_at + 8], "big")
                self._pool_at += 8
                tail = (random & 0x3FFFFFFFFFFFFFFF) | 0x8000000000000000
                h = f"{self._last_ms:012x}7{self._counter:03x}{tail:016x}"
                ids.append(f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}")
        return ids


_uuid7 = _Uuid7()


def observation_id() -> str:
    """A new UUIDv7: the `ts-id` of one observation."""
    return _uuid7.take(1)[0]


def uuid7_batch(n: int) -> list[str]:
    """`n` increasing UUIDv7 strings; one lock and one clock read for all of them."""
    return _uuid7.take(n)


def derived_id(*parts: str) -> str:
    """The UUIDv5 of a derived record: the same inputs give the same id, so a replay repeats it."""
    return str(uuid.uuid5(NAMESPACE, "\0".join(parts)))
