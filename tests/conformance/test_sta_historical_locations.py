"""OGC 18-088, 8.2.3 and 10.2.1 (historical-location-auto-creation, -manual-creation): where Things were."""

from typing import Any

import pytest
from sensorthings_api import Api, datastream, location, observed_property, sensor, thing, whole_thing

REQUIREMENTS = (
    "create-update-delete/historical-location-auto-creation",
    "create-update-delete/historical-location-manual-creation",
)
THING = {"Thing": {"@iot.id": 1}}


async def places(api: Api, thing_id: int = 1) -> list[str]:
    return [one["name"] for one in await api.values(f"/Things({thing_id})/Locations")]


async def history(api: Api, thing_id: int = 1) -> list[list[str]]:
    """The Locations of each HistoricalLocation, oldest first."""
    path = f"/Things({thing_id})/HistoricalLocations?$expand=Locations&$orderby=time,id"
    return [[place["name"] for place in one["Locations"]] for one in await api.values(path)]


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_creation_with_locations(api: Api, version: str) -> None:
    api = Api(api.client, version)
    await api.post("/Things", thing(Locations=[location("here"), location("also here")]))
    assert await places(api) == ["here", "also here"]
    assert await history(api) == [["here", "also here"]]
    [entry] = await api.values("/HistoricalLocations")
    assert entry["time"].startswith("2026-01-01T00:00:00.")
    await api.post("/Things", thing("nowhere"))
    assert await history(api, 2) == []
    await api.post("/Things", thing("at a place that exists", Locations=[{"@iot.id": 2}]))
    assert await history(api, 3) == [["also here"]]


async def test_a_post_to_its_locations(api: Api) -> None:
    await api.post("/Things", thing(Locations=[location("here")]))
    await api.post("/Things(1)/Locations", location("there"))
    assert await places(api) == ["there"]
    assert await history(api) == [["here"], ["there"]]
    # With other Things in the body: the one of the path moves as well.
    await api.post("/Things", thing("B"))
    await api.post("/Things(1)/Locations", location("both", Things=[{"@iot.id": 2}]))
    assert (await places(api), await places(api, 2)) == (["both"], ["both"])


async def test_a_location_created_or_patched_with_things(api: Api) -> None:
    await api.post("/Things", thing(Locations=[location("here")]))
    await api.post("/Locations", location("elsewhere", Things=[{"@iot.id": 1}, thing("new")]))
    assert (await places(api), await places(api, 2)) == (["elsewhere"], ["elsewhere"])
    assert (await history(api), await history(api, 2)) == ([["here"], ["elsewhere"]], [["elsewhere"]])
    await api.patch("/Locations(1)", {"Things": [{"@iot.id": 1}]})
    assert (await places(api), await places(api, 2)) == (["here"], ["elsewhere"])
    assert await history(api) == [["here"], ["elsewhere"], ["here"]]


async def test_a_patch_or_put_of_the_thing(api: Api) -> None:
    await api.post("/Things", thing(Locations=[location("a")]))
    for name in ("b", "c"):
        await api.post("/Locations", location(name))
    await api.patch("/Things(1)", {"Locations": [{"@iot.id": 2}, {"@iot.id": 3}]})
    assert (await places(api), await history(api)) == (["b", "c"], [["a"], ["b", "c"]])
    await api.put("/Things(1)", thing("put", Locations=[{"@iot.id": 1}]))
    assert (await places(api), await history(api)) == (["a"], [["a"], ["b", "c"], ["a"]])
    # Without Locations it stays where it is.
    await api.put("/Things(1)", thing("put"))
    await api.patch("/Things(1)", {"name": "renamed"})
    assert (await places(api), len(await history(api))) == (["a"], 3)


async def test_a_changed_location_is_no_move(api: Api) -> None:
    await api.post("/Things", thing(Locations=[location("a")]))
    await api.patch("/Locations(1)", {"location": {"type": "Point", "coordinates": [0, 0]}})
    assert len(await history(api)) == 1


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_a_later_one_moves_the_thing_an_earlier_one_does_not(api: Api, version: str) -> None:
    """Manual creation."""
    api = Api(api.client, version)
    await api.post("/Things", thing(Locations=[location("a")]))
    await api.post("/Locations", location("b"))
    at_b = {**THING, "Locations": [{"@iot.id": 2}]}
    await api.post("/HistoricalLocations", {"time": "2020-01-01T00:00:00Z", **at_b})
    assert (await places(api), await history(api)) == (["a"], [["b"], ["a"]])
    await api.post("/HistoricalLocations", {"time": "2030-01-01T00:00:00Z", **at_b})
    assert (await places(api), await history(api)) == (["b"], [["b"], ["a"], ["b"]])
    # The newest stands in the future: this one is earlier.
    await api.post("/HistoricalLocations", {"time": "2029-01-01T00:00:00Z", **THING, "Locations": [location("c")]})
    assert await places(api) == ["b"]
    await api.post("/Things(1)/HistoricalLocations", {"time": "2031-01-01T00:00:00Z", "Locations": [{"@iot.id": 1}]})
    assert await places(api) == ["a"]
    # One without Locations says nothing of where the Thing is.
    await api.post("/HistoricalLocations", {"time": "2032-01-01T00:00:00Z", **THING})
    assert await places(api) == ["a"]


@pytest.mark.parametrize(
    "body",
    [
        THING,
        {"time": "2020-01-01T00:00:00Z"},
        {"time": None, **THING},
        {"time": "yesterday", **THING},
        {"time": "2020-01-01T00:00:00Z/2021-01-01T00:00:00Z", **THING},
        {"time": "2020-01-01T00:00:00Z", "Thing": {"@iot.id": 9}},
        {"time": "2020-01-01T00:00:00Z", "Thing": None},
        {"time": "2020-01-01T00:00:00Z", **THING, "Locations": [{"@iot.id": 9}]},
    ],
)
async def test_it_needs_a_thing_and_a_time(api: Api, body: dict[str, Any]) -> None:
    await api.post("/Things", thing())
    await api.post("/HistoricalLocations", body, 400)
    assert await api.ids("/HistoricalLocations") == []


async def test_locations_may_be_missing(api: Api) -> None:
    await api.post("/Things", thing())
    await api.post("/HistoricalLocations", {"time": "2020-01-01T00:00:00Z", **THING})
    assert await api.get("/HistoricalLocations(1)/time") == {"time": "2020-01-01T00:00:00Z"}
    assert await api.ids("/HistoricalLocations(1)/Locations") == []
    await api.post("/HistoricalLocations", {"time": "2020-01-02T00:00:00Z", "Thing": thing("inline")})
    assert (await api.get("/HistoricalLocations(2)/Thing"))["name"] == "inline"


async def test_deleting_a_location_deletes_its_historical_locations(api: Api) -> None:
    await api.post("/Things", thing(Locations=[location("a")]))
    await api.post("/Things(1)/Locations", location("b"))
    await api.delete("/Locations(1)")
    assert (await places(api), await history(api)) == (["b"], [["b"]])
    await api.delete("/HistoricalLocations(2)")
    assert (await places(api), await history(api)) == (["b"], [])


async def test_the_next_observation_is_made_at_the_new_place(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 1))
    await api.post("/Things(1)/Locations", location("far", 1.0, 2.0))
    two = await api.post("/Datastreams(1)/Observations", {"result": 1})
    assert (await api.get(f"/Observations({two})/FeatureOfInterest"))["name"] == "far"
    assert (await api.get("/Observations(1)/FeatureOfInterest"))["name"] == "A place"
    more = {"Sensor": sensor(), "ObservedProperty": observed_property(), "Thing": {"@iot.id": 1}}
    await api.post("/Datastreams", datastream("second", **more))
    three = await api.post("/Datastreams(2)/Observations", {"result": 1})
    assert (await api.get(f"/Observations({three})/FeatureOfInterest"))["name"] == "far"
    assert len(await api.ids("/FeaturesOfInterest")) == 2
