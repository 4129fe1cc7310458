"""Random filters agree with plain Python, null semantics included; pages of random orders visit each row once."""

from __future__ import annotations

import json
import shutil
from typing import Any
from urllib.parse import quote

import pytest
from brute_force import Any_, evaluate, instant, truth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_filters import filters, orders

from twinstack.query import odata
from twinstack.query.sql import NOW
from twinstack.sensorthings.bounds import Request, page_rows
from twinstack.sensorthings.connections import Readers
from twinstack.sensorthings.keyset import Signer
from twinstack.sensorthings.model import OBSERVATION, THING
from twinstack.sensorthings.options import parse_query
from twinstack.sensorthings.paths import parse_path
from twinstack.sensorthings.plan import PlanCache
from twinstack.sensorthings.reading import Chunk, Reading, next_link
from twinstack.sensorthings.store import WriteContext, open_store
from twinstack.sensorthings.versions import V11

ROWS: list[tuple[Any, str, str | None, Any]] = [
    (1, "2026-01-01T00:00:00Z", None, None),
    (2.5, "2026-01-01T01:00:00Z", "2026-01-01T01:00:01Z", {"n": 2, "t": "Ab", "b": True, "a": [1, "x"]}),
    ("2.5", "2026-01-01T00:00:00Z/2026-01-01T01:00:00Z", None, {"n": "2", "b": False}),
    ("Ab", "1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00Z", {"a": ["Ä", -3]}),
    (True, "2026-01-01T01:00:00Z/2026-01-01T03:00:00Z", None, {"n": -1.5, "t": "it's"}),
    (None, "2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", {"n": None, "t": None}),
    ({"x": 1}, "2026-01-01T02:30:15.25Z", None, {"t": {"deep": 1}, "a": []}),
    ([1, 2], "2026-01-02T00:00:00Z", None, {"t": " x ", "n": 7}),
    (-3, "2025-12-31T23:00:00Z", "2024-02-29T12:00:00Z", {"b": 1}),
    (2, "2026-01-01T00:00:00Z", None, {"n": 0.5}),
    ("😀z", "2026-01-01T00:00:00.000001Z", None, {"t": "Ä", "n": 2}),
    (0, "2026-01-01T00:30:00Z", "2026-01-01T01:00:01Z", {}),
]
NAMES = (("Ab", "a"), ("it's", "Ä"))


def _thing(name: str, stream: str) -> dict[str, Any]:
    place = {"name": "p", "description": "", "encodingType": "text/plain", "location": "here"}
    return {
        "name": name,
        "description": "",
        "Locations": [place],
        "Datastreams": [
            {
                "name": stream,
                "description": "",
                "observationType": "any",
                "unitOfMeasurement": {},
                "Sensor": {"name": "s", "description": "", "encodingType": "x", "metadata": ""},
                "ObservedProperty": {"name": "o", "description": "", "definition": ""},
            }
        ],
    }


class Stand:
    def __init__(self, store: Any) -> None:
        self.readers = Readers(store.engine)
        self.plans = PlanCache(self.readers.dialect)
        self.signer = Signer(b"test")

    def page(self, query: str) -> tuple[list[int], str | None]:
        """The ids of one page of Observations, and the query of the next; `query` is percent-encoded."""
        path = parse_path("/Observations", V11)
        options = parse_query(query.encode(), path.entity, V11)
        rows = page_rows(options, V11)

        def read(session: Any) -> Chunk:
            request = Request(V11, "http://x", {NOW: 0})
            return Reading(session, self.plans, self.signer, request).chunk(path, options, rows=rows)

        chunk = self.readers.here(read)
        ids = [json.loads(text)["@iot.id"] for text in chunk.texts]
        if chunk.last is None:
            return ids, None
        following = next_link(self.signer, path.entity, options, chunk.last, len(ids), "u")
        return ids, following.partition("?")[2]

    def ids(self, query: str) -> list[int]:
        return self.page(query)[0]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def stand(request, empty_store, tmp_path_factory):
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("filters") / "store.sqlite"
        shutil.copy(empty_store, path)
        url = f"sqlite:{path}"
    else:
        server = request.getfixturevalue("postgres_server")
        url = server.url(server.create())
    store = open_store(url)
    store.migrate()
    context = WriteContext(lab=True)
    for name, stream in NAMES:
        store.create(THING, _thing(name, stream), context).result()
    for n, (result, time, result_time, parameters) in enumerate(ROWS):
        body = {"result": result, "phenomenonTime": time, "resultTime": result_time, "parameters": parameters}
        store.create(OBSERVATION, {**body, "Datastream": {"@iot.id": 1 + n % 2}}, context).result()
    stand = Stand(store)
    yield stand
    stand.readers.close()
    store.close()


def _python_rows() -> list[dict[str, Any]]:
    rows = []
    for n, (result, time, result_time, parameters) in enumerate(ROWS):
        thing, stream = NAMES[n % 2]
        rows.append(
            {
                "id": n + 1,
                "@iot.id": n + 1,
                "result": Any_(result),
                "phenomenonTime": instant(time),
                "resultTime": instant(result_time),
                "parameters": Any_(parameters),
                "Datastream": {"id": 1 + n % 2, "name": stream, "Thing": {"name": thing}},
            }
        )
    return rows


PYTHON_ROWS = _python_rows()
# No wall clock decides here: the machine that runs the tests may be busy.
settings.register_profile("store", deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@settings(settings.get_profile("store"), max_examples=150)
@given(text=filters)
def test_random_filters_agree_with_plain_python(stand, text):
    expr = odata.parse(text)
    expected = [row["id"] for row in PYTHON_ROWS if truth(evaluate(expr, row)) is True]
    assert stand.ids(f"$filter={quote(text)}") == expected, text
    opposite = [row["id"] for row in PYTHON_ROWS if truth(evaluate(expr, row)) is False]
    assert stand.ids(f"$filter={quote(f'not ({text})')}") == opposite, text


@settings(settings.get_profile("store"), max_examples=30)
@given(order=orders, text=filters, top=st.integers(1, 4))
def test_pages_of_random_orders_visit_each_row_once(stand, order, text, top):
    query = f"$orderby={quote(order)}&$filter={quote(text)}"
    whole = stand.ids(query)
    following: str | None = f"{query}&$top={top}"
    visited: list[int] = []
    while following is not None:
        ids, following = stand.page(following)
        visited += ids
    assert visited == whole
