"""OGC 18-088, 10.4: DELETE and its cascades."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from sensorthings_api import Api, datastream, whole_thing

from twinstack.core import limits
from twinstack.sensorthings.store import Store, tables

REQUIREMENTS = ("create-update-delete/delete-entity",)

SETS = (
    "Things",
    "Locations",
    "HistoricalLocations",
    "Datastreams",
    "Sensors",
    "ObservedProperties",
    "Observations",
    "FeaturesOfInterest",
)
SURVIVORS = {
    "Things": {"Things": [2], "HistoricalLocations": [2], "Datastreams": [2], "Observations": [3, 4]},
    "Locations": {"Locations": [2], "HistoricalLocations": [2]},
    "HistoricalLocations": {"HistoricalLocations": [2]},
    "Datastreams": {"Datastreams": [2], "Observations": [3, 4]},
    "Sensors": {"Sensors": [2], "Datastreams": [2], "Observations": [3, 4]},
    "ObservedProperties": {"ObservedProperties": [2], "Datastreams": [2], "Observations": [3, 4]},
    "Observations": {"Observations": [2, 3, 4]},
    "FeaturesOfInterest": {"FeaturesOfInterest": [2], "Observations": [3, 4]},
}


@pytest.mark.parametrize("set_name", SETS)
async def test_what_goes_and_what_stays(api: Api, set_name: str) -> None:
    await api.post("/Things", whole_thing("A", 2))
    await api.post("/Things", whole_thing("B", 2))
    before = {name: await api.ids(f"/{name}") for name in SETS}
    assert before == {name: [1, 2, 3, 4] if name == "Observations" else [1, 2] for name in SETS}
    answer = await api.send("DELETE", f"/{set_name}(1)")
    assert (answer.status_code, answer.content) == (200, b"")
    assert {name: await api.ids(f"/{name}") for name in SETS} == before | SURVIVORS[set_name]
    for name in SETS:
        count = (await api.get(f"/{name}?$count=true&$top=0"))["@iot.count"]
        assert count == len((before | SURVIVORS[set_name])[name])
    await api.get(f"/{set_name}(1)", 404)
    await api.delete(f"/{set_name}(1)", 404)


async def test_extent_and_latest_follow_a_deleted_observation(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 3))
    await api.delete("/Observations(3)")
    assert (await api.get("/Datastreams(1)"))["phenomenonTime"] == "2026-01-01T00:00:00Z/2026-01-01T00:00:01Z"
    [stream] = await api.values("/Datastreams?$expand=Observations($top=1;$orderby=phenomenonTime desc)")
    assert [o["@iot.id"] for o in stream["Observations"]] == [2]
    await api.delete("/Observations(1)")
    await api.delete("/Observations(2)")
    assert (await api.get("/Datastreams(1)"))["phenomenonTime"] is None


async def test_a_shared_sensor_survives_its_datastream(api: Api) -> None:
    await api.post("/Things", whole_thing("A"))
    links = {name: {"@iot.id": 1} for name in ("Thing", "Sensor", "ObservedProperty")}
    await api.post("/Datastreams", datastream("second", **links))
    await api.delete("/Datastreams(1)")
    assert await api.ids("/Sensors(1)/Datastreams") == [2]


async def test_a_large_cascade_is_seen_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CASCADE_ROWS_MAX", 50)
    await api.post("/Things", whole_thing("A", 120))
    await api.post("/Things", whole_thing("B", 2))
    await api.delete("/Datastreams(1)")
    assert len(await api.values("/Observations")) == 2
    assert (await api.get("/Observations?$count=true&$filter=result ge 0"))["@iot.count"] == 2
    assert await api.values("/FeaturesOfInterest(1)/Observations") == []
    await api.get("/Observations(1)", 404)


async def test_many_small_datastreams_are_one_large_cascade(api: Api, store: Store, monkeypatch: Any) -> None:
    """Together they are more than one transaction takes: hidden at once, then deleted in slices."""
    monkeypatch.setattr(limits, "CASCADE_ROWS_MAX", 50)
    monkeypatch.setattr(limits, "CASCADE_SLICE_ROWS", 20)
    body = whole_thing("A", 40)
    body["Datastreams"].append(body["Datastreams"][0] | {"name": "second"})
    await api.post("/Things", body)
    await api.post("/Things", whole_thing("B", 2))
    await api.delete("/Things(1)")
    assert len(await api.ids("/Observations")) == 2
    assert (await api.get("/Observations?$count=true&$filter=result ge 0"))["@iot.count"] == 2
    rows = 82
    for _ in range(200):
        with store.reader() as connection:
            rows = connection.execute(sa.select(sa.func.count()).select_from(tables.observation)).scalar_one()
        if rows == 2:
            break
        await asyncio.sleep(0.1)
    assert rows == 2
