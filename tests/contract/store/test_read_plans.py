"""PostgreSQL: the pages that must not grow with the table are served by indexes, in their order.

The tables are small, so the planner is told to avoid scans and sorts where it can: what is left, no index serves.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import store_bodies as b

from twinstack.query.sql import NOW
from twinstack.sensorthings.keyset import parameter
from twinstack.sensorthings.model import BY_NAME, THING
from twinstack.sensorthings.options import lift, parse_query
from twinstack.sensorthings.plan import LIMIT, OFFSET, PARENT, PlanCache
from twinstack.sensorthings.store import WriteContext, open_store
from twinstack.sensorthings.versions import V11

pytestmark = pytest.mark.postgres
SORT = re.compile(r"(?:->  |^)Sort  \(", re.MULTILINE)
RANGE = "$filter=phenomenonTime ge 2026-01-01T00:00:00Z and phenomenonTime lt 2026-01-02T00:00:00Z"
CASES: list[tuple[str, str, list[Any]]] = [
    ("Observations", "$top=100", []),
    ("Observations", "$top=100", [9_999_900]),
    ("Observations", "$top=100&$orderby=phenomenonTime desc", []),
    ("Datastreams(1)/Observations", "$top=100", []),
    ("Datastreams(1)/Observations", "$top=100", [1_700_000_000_000_000, 9_999_900]),
    ("Datastreams(1)/Observations", f"$top=100&{RANGE}", []),
    ("Datastreams(1)/Observations", f"{RANGE}&$orderby=phenomenonTime desc", []),
]


@pytest.fixture(scope="module")
def database(postgres_server):
    name = postgres_server.create()
    store = open_store(postgres_server.url(name))
    store.migrate()
    body = b.whole(Observations=[{"result": 1, "phenomenonTime": "2026-01-01T00:00:00Z"}])  # makes the first partition
    store.create(THING, body, WriteContext(lab=True)).result()
    with psycopg.connect(postgres_server.url(name), autocommit=True) as connection:
        connection.execute("SET enable_seqscan = off")
        connection.execute("SET enable_bitmapscan = off")
        connection.execute("SET enable_sort = off")
        yield connection, store.engine.dialect
    store.close()
    postgres_server.drop(name)


def plan(database: Any, path: str, query: str, behind: list[Any]) -> str:
    connection, dialect = database
    entity = BY_NAME["Observation"]
    values: dict[str, Any] = {NOW: 0}
    options = lift(parse_query(quote(query, "$=&").encode(), entity, V11), values)
    planner = PlanCache(dialect).planner(V11)
    if "/" in path:
        level = planner.linked_set(BY_NAME["Datastream"], BY_NAME["Datastream"].link("Observations"), options)
    else:
        level = planner.whole_set(entity, options, of_system=False)
    values |= {PARENT: 1, LIMIT: 101, OFFSET: 0, **{parameter(n): value for n, value in enumerate(behind)}}
    statement = level.statement(tuple(False for _ in behind))
    rows = connection.execute(f"EXPLAIN {statement.text}", statement.bind(values)).fetchall()
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize(("path", "query", "behind"), CASES)
def test_an_index_serves_the_page(database, path, query, behind):
    text = plan(database, path, query, behind)
    assert "Seq Scan on observation" not in text, text
    # Rows of one instant are put in the order of their ids: that sort is incremental.
    assert not SORT.search(text), text
    assert "Index" in text


def test_a_sort_that_no_index_serves_is_seen(database):
    assert SORT.search(plan(database, "Observations", "$orderby=result", []))
