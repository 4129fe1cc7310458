"""What a page costs does not grow with the table: plans of SQLite, and its steps at 10,000 and at 100,000 rows.

Steps of its virtual machine are counted, not time: they are the same on every machine.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from twinstack.query.sql import NOW
from twinstack.sensorthings.bounds import Request, page_rows
from twinstack.sensorthings.connections import SqliteSession
from twinstack.sensorthings.keyset import Signer
from twinstack.sensorthings.options import CURSOR, parse_query
from twinstack.sensorthings.paths import parse_path
from twinstack.sensorthings.plan import PlanCache
from twinstack.sensorthings.reading import Reading
from twinstack.sensorthings.store import open_store
from twinstack.sensorthings.versions import V11

STREAMS = 10
START_US = 1_700_000_000_000_000
SIGNER = Signer(b"a key of this test")

_ROWS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO observation (id, t, result, datastream_id) SELECT i, ? + i * 1000000, i * 0.5, 1 + i % ? FROM n
"""
_STREAMS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO datastream (id, name, description, observation_type, thing_id, sensor_id, log_key, system_id)
SELECT i, 'S' || i, '', 'any', 1, 1, 'k' || i, 1 FROM n
"""
_STATS = """
INSERT INTO datastream_stat (datastream_id, n, t_min, t_max, latest_id, latest_t)
SELECT datastream_id, count(*), min(t), max(t), max(id), max(t) FROM observation GROUP BY datastream_id
"""


@dataclass
class Stand:
    """A store of `rows` Observations, read through one connection that counts what it does."""

    store: Any
    rows: int
    plans: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = self.store.engine
        self.connection = self.engine.raw_connection().driver_connection
        self.plan_cache = PlanCache(self.engine.dialect)

    def ask(self, path: str, query: str = "") -> list[str]:
        """The entities of a page; what it asked of the database stands in `plans`."""
        stand = self

        class Recorder(SqliteSession):
            def each(self, statement: Any, values: Any) -> Any:
                stand.explain(statement, values)
                return super().each(statement, values)

        session = Recorder(self.engine)
        request = Request(V11, "http://x/v1.1", {NOW: 0})
        reading = Reading(session, self.plan_cache, SIGNER, request)
        parsed = parse_path(path, V11)
        options = parse_query(quote(query, "$=&").encode(), parsed.entity, V11)
        with session.snapshot():
            texts = reading.chunk(parsed, options, rows=page_rows(options, V11)).texts
        session.close()
        return texts

    def explain(self, statement: Any, values: Any) -> None:
        cursor = self.connection.cursor()
        rows = cursor.execute(f"EXPLAIN QUERY PLAN {statement.text}", statement.bind(values)).fetchall()
        self.plans = [row[3] for row in rows]

    def steps(self, path: str, query: str) -> int:
        self.ask(path, query)  # the plan is made, the pages are read
        count = 0

        def step() -> bool:
            nonlocal count
            count += 1
            return False

        session = SqliteSession(self.engine)
        request = Request(V11, "http://x/v1.1", {NOW: 0})
        parsed = parse_path(path, V11)
        options = parse_query(quote(query, "$=&").encode(), parsed.entity, V11)
        with session.snapshot():
            session._connection.set_progress_handler(step, 10)
            reading = Reading(session, self.plan_cache, SIGNER, request)
            reading.chunk(parsed, options, rows=page_rows(options, V11))
        session.close()
        return count


@pytest.fixture(scope="module")
def stands(empty_store, tmp_path_factory):
    made = []
    for rows in (10_000, 100_000):
        path = tmp_path_factory.mktemp("costs") / "store.sqlite"
        shutil.copy(empty_store, path)
        store = open_store(f"sqlite:{path}")
        stand = Stand(store, rows)
        stand.connection.execute("PRAGMA foreign_keys=OFF")  # Things and Sensors are not read here
        stand.connection.execute("BEGIN")
        stand.connection.execute(_STREAMS, (STREAMS,))
        stand.connection.execute(_ROWS, (rows, START_US, STREAMS))
        stand.connection.execute(_STATS)
        stand.connection.execute("COMMIT")
        made.append(stand)
    yield made
    for stand in made:
        stand.store.close()


def token(path: str, query: str, *values: Any) -> str:
    """A nextLink's place: behind the row with these sort values."""
    entity = parse_path(path, V11).entity
    order = parse_query(quote(query, "$=&").encode(), entity, V11).order_text
    place = SIGNER.token(f"{entity.set_name}\0{order}", list(values))
    return f"{query}&{CURSOR}={place}"


CASES = {
    "first page": ("/Observations", lambda rows: "$top=100"),
    "last pages": ("/Observations", lambda rows: token("/Observations", "$top=100", rows - 100)),
    "one Datastream": ("/Datastreams(1)/Observations", lambda rows: "$top=100"),
    "its newest": ("/Datastreams(1)/Observations", lambda rows: "$top=100&$orderby=phenomenonTime desc"),
    "its time range": (
        "/Datastreams(1)/Observations",
        lambda rows: (
            "$top=100&$filter=phenomenonTime ge 2023-11-14T22:20:00Z and phenomenonTime lt 2023-11-14T22:50:00Z"
        ),
    ),
    "its last pages": (
        "/Datastreams(1)/Observations",
        lambda rows: token("/Datastreams(1)/Observations", "$top=100", START_US + (rows - 1000) * 10**6, rows - 1000),
    ),
    "all by time": ("/Observations", lambda rows: "$top=100&$orderby=phenomenonTime"),
    "all by time, last pages": (
        "/Observations",
        lambda rows: token(
            "/Observations", "$top=100&$orderby=phenomenonTime", START_US + (rows - 100) * 10**6, rows - 100
        ),
    ),
    "all by time, newest": ("/Observations", lambda rows: "$top=100&$orderby=phenomenonTime desc"),
    "counted": ("/Observations", lambda rows: "$top=100&$count=true"),
    "latest of each": ("/Datastreams", lambda rows: "$expand=Observations($top=1;$orderby=phenomenonTime desc)"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_page_costs_the_same_in_a_larger_table(stands, name):
    path, query = CASES[name]
    small, large = (stand.steps(path, query(stand.rows)) for stand in stands)
    assert large <= 1.5 * small, (small, large)


@pytest.mark.parametrize("name", CASES)
def test_no_page_sorts_the_table(stands, name):
    path, query = CASES[name]
    [stand, _] = stands
    assert stand.ask(path, query(stand.rows))
    # By newest first the rows of one instant are put in the order of their ids: a sort of each instant's rows only.
    assert not [line for line in stand.plans if line.startswith("USE TEMP B-TREE FOR ORDER BY")], stand.plans


def test_a_sort_that_no_index_serves_is_seen(stands):
    """What the other tests look for exists."""
    small, large = (stand.steps("/Observations", "$top=100&$orderby=result") for stand in stands)
    assert large > 5 * small
    stands[0].ask("/Observations", "$orderby=result")
    assert "USE TEMP B-TREE FOR ORDER BY" in stands[0].plans
