"""Load on an HTTP server from a process of its own: `python -m bench.http_load PORT CONNECTIONS SECONDS FILE`.

FILE holds ready requests, each behind its length in four bytes. Every connection sends one, waits for the whole answer
and sends the next. Prints JSON: requests, failed (status 400 and above), seconds, p50_ms, p99_ms.
"""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import uvloop

WAIT_S_MAX = 120


@dataclass(frozen=True, slots=True)
class Load:
    requests: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def request(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def load(port: int, connections: int, seconds: float, requests: Sequence[bytes]) -> Load:
    """Runs the generator beside this process."""
    with tempfile.NamedTemporaryFile() as file:
        for one in requests:
            file.write(struct.pack(">I", len(one)) + one)
        file.flush()
        command = [sys.executable, "-m", "bench.http_load", str(port), str(connections), str(seconds), file.name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + 2 * WAIT_S_MAX)
    return Load(**json.loads(done.stdout))


def _requests(path: str) -> Iterator[bytes]:
    data = Path(path).read_bytes()
    place = 0
    while place < len(data):
        (size,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 4 + size]
        place += 4 + size


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in lines[1:] if line)
    if b"content-length" in fields:
        await reader.readexactly(int(fields[b"content-length"]))
    elif fields.get(b"transfer-encoding") == b"chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    return int(lines[0].split()[1])


async def _one(port: int, requests: Iterator[bytes], until: float, times: list[float], failed: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    while (began := time.monotonic()) < until:
        writer.write(next(requests))
        status = await asyncio.wait_for(_answer(reader), WAIT_S_MAX)
        times.append(time.monotonic() - began)
        if status >= 400:
            failed.append(status)
    writer.close()


async def _run(port: int, connections: int, seconds: float, requests: list[bytes]) -> Load:
    times: list[float] = []
    failed: list[int] = []
    began = time.monotonic()
    step = max(1, len(requests) // connections)
    each = (islice(cycle(requests), n * step, None) for n in range(connections))
    await asyncio.gather(*(_one(port, one, began + seconds, times, failed) for one in each))
    p50, p99 = np.percentile(times, [50, 99])
    return Load(len(times), len(failed), time.monotonic() - began, float(p50) * 1e3, float(p99) * 1e3)


if __name__ == "__main__":
    ours = uvloop.run(_run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), list(_requests(sys.argv[4]))))
    print(json.dumps({name: getattr(ours, name) for name in Load.__slots__}))
