"""The embedded log against raw SQLite: `python -m bench.log [--json] [--quick]`.

The peer is the least program that could do the job: apsw, WAL, synchronous NORMAL, one blob row a batch, values joined
as MessagePack; it knows no keys, topics, offsets, compression, retries or readers that wait.
Goal: the whole log costs at most twice as much.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import apsw
import msgspec
import uvicorn

from bench.report import Line, main, race, rate
from twinstack.log.embedded import EmbeddedLog
from twinstack.log.embedded.catalog import JOIN_ROWS_MIN
from twinstack.log.http import HttpLog, LogService
from twinstack.log.packed.format import pack
from twinstack.log.packed.transport import Part
from twinstack.log.seam import EARLIEST, Log, Producer, TopicPartition, TopicSpec, Transaction

GOAL = 0.5
TOPIC = "bench.log.one.all"
CALLERS = 8
VALUE = b'{"phenomenonTime":"2026-01-01T00:00:%02d.%03dZ","result":%d.%d,"Datastream":{"@iot.id":%d,"name":"%s"}}'


def observations(count: int) -> list[bytes]:
    return [VALUE % (n % 60, n % 1000, n % 97, n % 10, n % 50, b"ts.bench.log.one.Thing.speed") for n in range(count)]


class Peer:
    """Raw SQLite."""

    def __init__(self, path: Path) -> None:
        self.db = apsw.Connection(str(path))
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            self.db.execute(f"PRAGMA {pragma}").fetchall()
        self.db.execute("CREATE TABLE batch (id INTEGER PRIMARY KEY, data BLOB)")
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode = msgspec.msgpack.Decoder(list[bytes]).decode

    def append(self, values: list[bytes]) -> int:
        self.db.execute("BEGIN")
        self.db.execute("INSERT INTO batch (data) VALUES (?)", (self.encode(values),))
        self.db.execute("COMMIT")
        return len(values)

    def read(self) -> int:
        return sum(len(self.decode(data)) for (data,) in self.db.execute("SELECT data FROM batch ORDER BY id"))


def read_all(log: Log) -> int:
    consumer = log.consumer()
    consumer.assign({TopicPartition(TOPIC, 0): EARLIEST})
    count = 0
    while batches := consumer.poll(0):
        count += sum(len(batch.values) for batch in batches)
    consumer.close()
    return count


def append(log: EmbeddedLog, values: list[bytes], key: bytes) -> int:
    blob = pack(values, key, None, log.now_ms())
    log.append([Part(TOPIC, 0, blob)], "bench", 0)
    return len(values)


def compare_appends(folder: Path, seconds: float) -> Iterator[Line]:
    for count in (1, 100, 5_000):
        values = observations(count)
        peer = Peer(folder / f"peer-{count}.sqlite")
        with open_log(folder / f"log-{count}.sqlite") as log:
            alone = race(partial(append, log, values, b"key"), partial(peer.append, values), seconds=seconds)
            many = race(partial(from_many, log, values), partial(peer.append, values), seconds=seconds)
        # one caller of single records pays two changes of thread a call, which the peer has not: it only informs
        yield Line(f"append, {count} a call, 1 caller", "records/s", *alone, GOAL if count > 1 else None)
        yield Line(f"append, {count} a call, {CALLERS} callers", "records/s", *many, GOAL)


def from_many(log: EmbeddedLog, values: list[bytes]) -> int:
    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(lambda: sum(append(log, values, b"key") for _ in range(40))) for _ in range(CALLERS)]
        return sum(call.result() for call in calls)


def compare_reads(folder: Path, seconds: float) -> Iterator[Line]:
    """The log joins small rows in the background; what is measured is the log at rest."""
    for count in (1, 100, 5_000):
        values = observations(count)
        peer = Peer(folder / f"peer-read-{count}.sqlite")
        with open_log(folder / f"log-read-{count}.sqlite") as log:
            for _ in range(100_000 // count if count > 1 else 10_000):
                append(log, values, b"key")
                peer.append(values)
            while any(partition.loose_rows >= JOIN_ROWS_MIN for partition in log.catalog.by_id.values()):
                time.sleep(0.1)
            both = race(partial(read_all, log), peer.read, seconds=seconds)
        yield Line(f"read, written {count} a call", "values/s", *both, GOAL)


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[EmbeddedLog]:
    log = EmbeddedLog(path)
    log.admin().create_topics([TopicSpec(TOPIC)])
    try:
        yield log
    finally:
        log.close()


def producer_and_transaction(folder: Path, seconds: float) -> Iterator[Line]:
    """The public objects, in process and over HTTP."""
    values = observations(5_000)
    keys: list[bytes | None] = [b"key-%d" % (n % 50) for n in range(5_000)]
    with open_log(folder / "public.sqlite") as with_server, serving(with_server) as url:
        for name, log in (("in process", with_server), ("over HTTP", HttpLog(url))):
            producer = log.producer()

            def produce(producer: Producer = producer) -> int:
                producer.send_many(TOPIC, values, keys=keys)
                producer.flush(60)
                return 5_000

            yield Line(f"producer, 5,000 keyed, {name}", "records/s", rate(produce, seconds=seconds))
            producer.close()
            transaction = log.transaction(f"bench-{name}")

            def commit(transaction: Transaction = transaction) -> int:
                transaction.send_many(TOPIC, values, keys, [()] * 5_000)
                transaction.commit("bench", {TopicPartition(TOPIC, 0): 1})
                return 5_000

            yield Line(f"transactions of 5,000, {name}", "records/s", rate(commit, seconds=seconds))
            yield Line(f"consumer, {name}", "values/s", rate(partial(read_all, log), seconds=seconds))
        blobs = [Part(TOPIC, 0, pack(values, keys, None, 0))]
        http_log = HttpLog(url)
        epoch, sequence = http_log.init("bench-raw"), iter(range(1, 1 << 30))

        def raw() -> int:
            http_log.commit("bench-raw", epoch, next(sequence), blobs, "bench", {TopicPartition(TOPIC, 0): 1})
            return 5_000

        yield Line("packed commits of 5,000 over HTTP", "records/s", rate(raw, seconds=seconds))
        yield from latency(http_log, with_server, 200 if seconds < 1 else 1_000)


def latency(reader: HttpLog, log: EmbeddedLog, rounds: int) -> Iterator[Line]:
    """From the commit in the server to the record in the consumer's hands, by a waiting long poll."""
    consumer = reader.consumer()
    consumer.assign({TopicPartition(TOPIC, 0): "latest"})
    taken_ms: list[float] = []
    stop = threading.Event()
    sent_s = [0.0]

    def consume() -> None:
        while not stop.is_set():
            if consumer.poll(1.0):
                taken_ms.append((time.perf_counter() - sent_s[0]) * 1000)

    thread = threading.Thread(target=consume)
    thread.start()
    for number in range(rounds):
        time.sleep(0.002)
        sent_s[0] = time.perf_counter()
        append(log, [b"x"], b"key")
        while len(taken_ms) <= number:
            time.sleep(0.0001)
    stop.set()
    thread.join()
    taken_ms.sort()
    yield Line("commit to long poll, p50", "ms", taken_ms[len(taken_ms) // 2])
    yield Line("commit to long poll, p99", "ms", taken_ms[len(taken_ms) * 99 // 100])


@contextlib.contextmanager
def serving(log: EmbeddedLog) -> Iterator[str]:
    """The log behind a real server in this process; gives its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = LogService(log, lambda action, topic, scope: None)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def measure(quick: bool) -> Iterator[Line]:
    seconds = 0.4 if quick else 2.0
    with tempfile.TemporaryDirectory(dir=os.environ.get("TWINSTACK_BENCH_DIR")) as folder:
        yield from compare_appends(Path(folder), seconds)
        yield from compare_reads(Path(folder), seconds)
        yield from producer_and_transaction(Path(folder), seconds)


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", measure))
