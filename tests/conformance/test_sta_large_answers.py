"""OGC 18-088, 9.3.3: answers of many rows, read in parts, are the same as those read at once."""

import asyncio
import tracemalloc
from typing import Any

import pytest
from sensorthings_api import Api, Lab, whole_thing

from twinstack.core import limits
from twinstack.core.errors import TimedOut
from twinstack.sensorthings.connections import Readers
from twinstack.sensorthings.http import SensorThingsApp
from twinstack.sensorthings.store import Store
from twinstack.sensorthings.store.values import NewObservation

PATHS = [
    "/Observations?$top=100&$count=true",
    "/Observations?$top=77&$orderby=result desc&$skip=3",
    "/Observations?$top=100&$expand=Datastream($expand=Thing)&$filter=result gt 1",
    "/Datastreams?$expand=Observations($top=3),Thing",
    "/Datastreams(1)/Observations?$top=60&$resultFormat=dataArray&$count=true",
    "/Observations?$top=60&$resultFormat=dataArray&$orderby=result",
    "/Observations?$top=60&$resultFormat=GeoJSON&$expand=FeatureOfInterest",
    "/Observations?$top=60&$select=id,result",
]


async def stays() -> Any:
    """A client that waits for its answer."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("path", PATHS)
async def test_parts_are_the_whole(api: Api, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    for name in "ABC":
        await api.post("/Things", whole_thing(name, 40))
    whole = await api.get(path)
    monkeypatch.setattr(limits, "PAGE_ROWS_MAX", 7)
    monkeypatch.setattr(limits, "ANSWER_PART_ENTITIES", 10)
    assert await api.get(path) == whole


async def test_an_answer_that_cannot_go_on_ends_with_a_link(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.post("/Things", whole_thing("A", 40))
    monkeypatch.setattr(limits, "PAGE_ROWS_MAX", 10)
    apart, asked = Readers.apart, []

    async def tired(self: Readers, work: Any, gone: Any = None) -> Any:
        asked.append(work)
        if len(asked) == 3:
            raise TimedOut("The query took longer than 10 s.")
        return await apart(self, work, gone)

    monkeypatch.setattr(Readers, "apart", tired)
    path = "/Observations?$top=40&$orderby=result"
    page = await api.get(path)
    assert len(page["value"]) == 20
    rest = await api.get(page["@iot.nextLink"])
    assert [o["result"] for o in page["value"] + rest["value"]] == [n / 2 for n in range(40)]


async def test_a_csv_that_cannot_go_on_does_not_look_whole(
    api: Api, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.post("/Things", whole_thing("A", 40))
    app = SensorThingsApp(store, base_url=None, decide=lambda *_: None)
    monkeypatch.setattr(limits, "PAGE_ROWS_MAX", 10)
    apart, asked = Readers.apart, []

    async def tired(self: Readers, work: Any, gone: Any = None) -> Any:
        asked.append(work)
        if len(asked) == 3:
            raise TimedOut("The query took longer than 10 s.")
        return await apart(self, work, gone)

    monkeypatch.setattr(Readers, "apart", tired)
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/v1.1/Observations"}
    scope |= {"query_string": b"$resultFormat=CSV", "headers": [(b"host", b"x")], "twinstack.actor": Lab()}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, stays, send)
    app.close()
    assert sent[0]["status"] == 200
    assert sent[-1]["more_body"]  # never ended: the server closes the connection


async def test_many_rows_need_the_memory_of_a_few(api: Api, store: Store) -> None:
    """The text of the answer is 6 MB; what is held at once is far less."""
    await api.post("/Things", whole_thing("A", 1))
    rows = [NewObservation(1, 1_767_225_600_000_000 + n * 1_000_000, n * 0.5) for n in range(20_000)]
    await store.insert_observations(rows)
    app = SensorThingsApp(store, base_url=None, decide=lambda *_: None)
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/v1.1/Observations"}
    scope |= {"query_string": b"$top=100000", "headers": [(b"host", b"x")], "twinstack.actor": Lab()}
    size = 0

    async def send(message: Any) -> None:
        nonlocal size
        size += len(message.get("body", b""))

    tracemalloc.start()
    await app(scope, stays, send)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    app.close()
    assert size > 5 * limits.MIB
    assert peak < 3 * limits.MIB
