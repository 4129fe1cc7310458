"""The SensorThings server under the workload of other servers' measurements, next to the raw database in the same run:
`python -m bench.sensorthings --store sqlite|postgresql [--rows 1000000] [--json] [--quick]`.

100 Things, 1,000 Datastreams, ROWS Observations; requests come from a second process over 1 or 16 connections. The
column "peer" holds what is wanted, so that a ratio of 1 is enough: three times the better of FROST 2.5 and GOST (1.5
times for a Thing with its links and for Datastreams by the Thing's name), or 0.6 of the raw limit measured here where
that is nearer; in CPU ms a request a third (two thirds) of theirs. Their figures were taken on PostgreSQL 15 with
1,000,000 rows on another day: compare orders of magnitude. CPU is that of the server's main process and the database;
outbox and archive stand in lines of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
from tests.integration.server_under_test import Server

from bench.http_load import Load, load, request
from bench.report import Line, show
from twinstack.sensorthings.model import THING
from twinstack.sensorthings.store import Store, WriteContext, open_store
from twinstack.sensorthings.store.values import NewObservation

THINGS, DATASTREAMS = 100, 1_000
START_US, STEP_US = 1_735_689_600_000_000, 60_000_000
MANY = 16
POST, BATCH, READ = "post", "batch", "read"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of one operation at a number of connections: the better peer's requests/s and CPU ms a request (server +
    database), how many times its rate is wanted, and which raw limit bounds it."""

    rate: float
    cpu_ms: float | None = None
    times: float = 3.0
    raw: str = ""
    rows: int = 1


WANTED: dict[tuple[str, int], Wanted] = {
    ("post_observation", 1): Wanted(395, raw=POST),
    ("post_observation", MANY): Wanted(856, 0.69, raw=POST),
    ("create_observations_1000x1", 1): Wanted(1.5, raw=BATCH, rows=1_000),
    ("create_observations_10x100", 1): Wanted(1.5, raw=BATCH, rows=1_000),
    ("create_observations_1000x1", MANY): Wanted(3.1, 440, raw=BATCH, rows=1_000),
    ("observations_top_100", 1): Wanted(291),
    ("datastream_newest_100", MANY): Wanted(311, 6.1),
    ("datastream_time_range", MANY): Wanted(320, 4.7),
    ("datastream_time_range_count", MANY): Wanted(366, 5.3),
    ("count_all", 1): Wanted(1 / 0.778),
    ("latest_of_all_datastreams", 1): Wanted(1 / 2.5),
    ("thing_with_locations_datastreams", MANY): Wanted(989, 1.8, times=1.5),
    ("datastreams_by_thing_name", MANY): Wanted(1_287, 1.3, times=1.5),
}
BYTES_WANTED = {"sqlite": 100, "postgresql": 170}


# --- the store ---
def fill(store: Store, rows: int) -> None:
    """Times ascend from START_US, each Datastream in turn."""
    context = WriteContext(lab=True)
    for n in range(THINGS):
        store.create(THING, _thing(n), context).result()
    for start in range(0, rows, 5_000):
        group = [
            NewObservation(n % DATASTREAMS + 1, START_US + n * STEP_US // DATASTREAMS, n % 1_000 / 10)
            for n in range(start, min(start + 5_000, rows))
        ]
        store.insert_observations(group).result()


def _thing(n: int) -> dict[str, object]:
    place = {"type": "Point", "coordinates": [13 + n / 100, 47.8]}
    each = DATASTREAMS // THINGS
    return {
        "name": f"thing {n}",
        "description": "a machine",
        "Locations": [
            {"name": f"place {n}", "description": "", "encodingType": "application/geo+json", "location": place}
        ],
        "Datastreams": [
            {
                "name": f"stream {n * each + i}",
                "description": "",
                "observationType": "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement",
                "unitOfMeasurement": {"name": "degree Celsius", "symbol": "degC", "definition": "ucum:Cel"},
                "Sensor": {"name": "s", "description": "", "encodingType": "text/html", "metadata": "x"},
                "ObservedProperty": {"name": "t", "definition": "http://x/t", "description": ""},
            }
            for i in range(each)
        ],
    }


# --- requests ---
def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _instant(us: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(us // 1_000_000))


def _single(n: int) -> bytes:
    body = {"phenomenonTime": _instant(START_US - n * STEP_US), "result": n / 10, "Datastream": {"@iot.id": n + 1}}
    return request("POST", "/v1.1/Observations", _json(body))


def _array(streams: int, each: int, shift: int) -> bytes:
    body = [
        {
            "Datastream": {"@iot.id": s + 1},
            "components": ["phenomenonTime", "result"],
            "dataArray": [[_instant(START_US - (shift * each + i) * STEP_US), i / 10] for i in range(each)],
        }
        for s in range(streams)
    ]
    return request("POST", "/v1.1/CreateObservations", _json(body))


def _get(path: str, **options: str) -> bytes:
    query = "&".join(f"${name}={quote(value)}" for name, value in options.items())
    return request("GET", f"/v1.1/{path}?{query}")


def requests(rows: int) -> dict[str, list[bytes]]:
    each = rows // DATASTREAMS
    span_us = each * STEP_US
    low, high = _instant(START_US + span_us // 2), _instant(START_US + span_us // 2 + 100 * STEP_US)
    between = f"phenomenonTime ge {low} and phenomenonTime lt {high}"
    ids = range(1, DATASTREAMS + 1)
    latest = "Observations($top=1;$orderby=phenomenonTime desc)"
    return {
        "observations_top_100": [_get("Observations", top="100")],
        "datastream_newest_100": [_get(f"Datastreams({i})/Observations", orderby="phenomenonTime desc") for i in ids],
        "datastream_time_range": [_get(f"Datastreams({i})/Observations", filter=between) for i in ids],
        "datastream_time_range_count": [
            _get(f"Datastreams({i})/Observations", filter=between, count="true") for i in ids
        ],
        "count_all": [_get("Observations", count="true", top="1")],
        "latest_of_all_datastreams": [_get("Datastreams", top="1000", expand=latest)],
        "thing_with_locations_datastreams": [
            _get(f"Things({i})", expand="Locations,Datastreams") for i in range(1, THINGS + 1)
        ],
        "datastreams_by_thing_name": [_get("Datastreams", filter=f"Thing/name eq 'thing {n}'") for n in range(THINGS)],
        "post_observation": [_single(n) for n in range(DATASTREAMS)],
        "create_observations_1000x1": [_array(1_000, 1, n) for n in range(MANY)],
        "create_observations_10x100": [_array(10, 100, n) for n in range(MANY)],
    }


# --- measuring ---
def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _database(pid: int | None) -> list[psutil.Process]:
    if pid is None:
        return []
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def operations(
    server: Server, database: int | None, rows: int, seconds: float, raw: dict[str, float]
) -> Iterator[Line]:
    ready = requests(rows)
    main = [psutil.Process(server.process.pid)]
    for (name, connections), wanted in sorted(WANTED.items(), key=lambda item: item[1].raw != ""):
        ready_now = ready[name]
        load(server.port, connections, min(1.0, seconds), ready_now)  # plans, caches and connections are there then
        processes = [*main, *_database(database)]
        before, apart_before = _cpu_s(processes), _cpu_s(server.children())
        done: Load = load(server.port, connections, seconds, ready_now)
        cpu = (_cpu_s(processes) - before) / done.requests * 1e3
        apart = (_cpu_s(server.children()) - apart_before) / done.requests * 1e3
        if done.failed:
            raise RuntimeError(f"{name}: {done.failed} of {done.requests} requests failed.")
        label = f"{name}_{connections}"
        floor = wanted.times * wanted.rate
        if wanted.raw:
            floor = min(floor, 0.6 * raw[wanted.raw] / wanted.rows)
        yield Line(f"{label}_rate", "requests/s", done.rate, floor, 1.0)
        if wanted.cpu_ms is not None:
            yield Line(f"{label}_cpu", "ms a request", cpu, wanted.cpu_ms / wanted.times, 1.0)
        else:
            yield Line(f"{label}_cpu", "ms a request", cpu)
        yield Line(f"{label}_p50", "ms", done.p50_ms)
        yield Line(f"{label}_p99", "ms", done.p99_ms)
        if wanted.raw:
            yield Line(f"{label}_rows", "rows/s", done.rate * wanted.rows, raw[wanted.raw])
            yield Line(f"{label}_cpu_of_children", "ms a request", apart)
    yield Line("rss", "MiB", main[0].memory_info().rss / 2**20, 200.0, 1.0)
    yield Line("ready", "s", server.ready_after_s, 3.0, 1.0)


# --- raw limits ---
_TABLE = "CREATE TABLE raw (id bigint PRIMARY KEY, t bigint, result double precision, stream int, feature int)"
_INSERT = "INSERT INTO raw VALUES ({0}, {0}, {0}, {0}, {0})"
SECONDS_RAW = 2.0


def raw_sqlite(folder: Path) -> dict[str, float]:
    """A row a commit with full synchronisation, and 1,000 rows a commit."""
    connection = sqlite3.connect(folder / "raw.sqlite", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(_TABLE)
    insert = _INSERT.format("?")

    def commit(start: int, n: int) -> None:
        connection.execute("BEGIN")
        connection.executemany(insert, [(i, i, 1.5, i % 1_000, 1) for i in range(start, start + n)])
        connection.execute("COMMIT")

    found = _rates(commit)
    connection.close()
    return found


def raw_postgresql(url: str) -> dict[str, float]:
    """psycopg row by row in autocommit, and 1,000 rows by unnest."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_TABLE)
        many = "INSERT INTO raw SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::float8[], %s::int[], %s::int[])"

        def commit(start: int, n: int) -> None:
            ids = list(range(start, start + n))
            if n == 1:
                connection.execute(_INSERT.format("%s"), (start, start, 1.5, start % 1_000, 1))
            else:
                connection.execute(many, (ids, ids, [1.5] * n, [i % 1_000 for i in ids], [1] * n))

        return _rates(commit)


def _rates(commit: object) -> dict[str, float]:
    assert callable(commit)
    start, found = 0, {}
    for name, n in ((POST, 1), (BATCH, 1_000)):
        began, done = time.monotonic(), 0
        while time.monotonic() - began < SECONDS_RAW:
            commit(start, n)
            start += n
            done += n
        found[name] = done / (time.monotonic() - began)
    return found


# --- the whole ---
def measure(kind: str, rows: int, seconds: float) -> Iterator[Line]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twinstack-bench-")))
        pid = None
        if kind == "postgresql":
            from tests.services.postgres import running_postgres

            postgres = stack.enter_context(running_postgres(()))
            url, pid = postgres.url(postgres.create()), postgres.pid
            raw = raw_postgresql(postgres.url(postgres.create()))
        else:
            (folder / "data").mkdir(mode=0o700)
            url, raw = f"sqlite:{folder / 'data' / 'store.sqlite'}", raw_sqlite(folder)
        yield Line("raw_row_a_commit", "rows/s", raw[POST])
        yield Line("raw_1000_rows_a_commit", "rows/s", raw[BATCH])
        store = open_store(url)
        store.migrate()
        began = time.monotonic()
        fill(store, rows)
        yield Line("filled", "rows/s", rows / (time.monotonic() - began))
        store.close()
        size = _size(store, folder)
        yield Line("disk", "bytes an Observation", size / rows, BYTES_WANTED[kind], 1.0)
        server = Server(folder / "data", TWINSTACK_STORE=url)
        try:
            yield from operations(server, pid, rows, seconds, raw)
        finally:
            server.stop()


def _size(store: Store, folder: Path) -> float:
    """Bytes of the Observations with their indexes; on SQLite of a packed file without the outbox."""
    with store.engine.connect() as connection:
        if store.engine.dialect.name == "postgresql":
            parts = "SELECT inhrelid FROM pg_inherits WHERE inhparent = 'observation'::regclass"
            query = f"SELECT sum(pg_total_relation_size(inhrelid)) FROM ({parts}) AS part"
            return float(connection.exec_driver_sql(query).scalar_one())
    copy = folder / "copy.sqlite"
    shutil.copy(store.url.removeprefix("sqlite:"), copy)
    packed = sqlite3.connect(copy, isolation_level=None)
    packed.execute("DELETE FROM outbox")
    packed.execute("VACUUM")
    packed.close()
    return float(copy.stat().st_size)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--quick", action="store_true", help="100,000 rows and short rounds")
    options = parser.parse_args()
    rows, seconds = (100_000, 1.0) if options.quick else (options.rows, 4.0)
    good = True
    for line in measure(options.store, rows, seconds):
        show(line, as_json=options.json)
        good = good and line.ok
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
