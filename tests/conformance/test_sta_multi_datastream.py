"""OGC 18-088, clause 14 (and 15-078r6, clause 14): MultiDatastream, on both versions."""

from typing import Any

import pytest
from sensorthings_api import OM, Api, datastream, location, observed_property, sensor, thing, whole_thing

REQUIREMENTS = (
    "multi-datastream/properties",
    "multi-datastream/relations",
    "multi-datastream/constraints",
)
VERSIONS = pytest.mark.parametrize("version", ["v1.0", "v1.1"])
COMPLEX = f"{OM}OM_ComplexObservation"


def unit(name: str) -> dict[str, Any]:
    return {"name": name, "symbol": name[:1], "definition": f"ucum:{name}", "extra": 1}


def multi(name: str = "Wind", size: int = 2, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": "Several at once.",
        "multiObservationDataTypes": [f"{OM}OM_Measurement"] * size,
        "unitOfMeasurements": [unit(f"u{n}") for n in range(size)],
        **more,
    }


def mast(name: str = "Mast", **more: Any) -> dict[str, Any]:
    """A Thing at a place with a MultiDatastream of a speed and a direction."""
    stream = multi(
        f"{name} wind",
        Sensor=sensor(f"{name} vane"),
        ObservedProperties=[observed_property("Speed"), observed_property("Direction")],
        **more,
    )
    return thing(name, Locations=[location(f"{name} place")], MultiDatastreams=[stream])


def observed(result: Any, **more: Any) -> dict[str, Any]:
    return {"result": result, "MultiDatastream": {"@iot.id": 1}, **more}


@VERSIONS
async def test_properties_and_their_defaults(api: Api, version: str) -> None:
    """14.1: observationType is OM_ComplexObservation; units keep whatever they hold."""
    api = Api(api.client, version)
    await api.post("/Things", mast())
    entity = await api.get("/MultiDatastreams(1)")
    assert entity["observationType"] == COMPLEX
    assert entity["multiObservationDataTypes"] == [f"{OM}OM_Measurement"] * 2
    assert entity["unitOfMeasurements"] == [unit("u0"), unit("u1")]
    assert {"phenomenonTime", "resultTime", "observedArea"} <= entity.keys()
    assert "unitOfMeasurement" not in entity


@VERSIONS
async def test_links_lead_both_ways(api: Api, version: str) -> None:
    """14.2."""
    api = Api(api.client, version)
    await api.post("/Things", mast())
    one = await api.post("/Observations", observed([3.5, 120]))
    for path in (
        "/Things(1)/MultiDatastreams",
        "/Sensors(1)/MultiDatastreams",
        "/ObservedProperties(1)/MultiDatastreams",
        "/ObservedProperties(2)/MultiDatastreams",
        "/Locations(1)/Things(1)/MultiDatastreams",
    ):
        assert await api.ids(path) == [1], path
        assert await api.ids(path.replace("MultiDatastreams", "Datastreams")) == []
    assert [p["name"] for p in await api.values("/MultiDatastreams(1)/ObservedProperties")] == ["Speed", "Direction"]
    assert (await api.get("/MultiDatastreams(1)/Thing"))["name"] == "Mast"
    assert (await api.get("/MultiDatastreams(1)/Sensor"))["name"] == "Mast vane"
    assert await api.ids("/MultiDatastreams(1)/Observations") == [one]
    assert (await api.get(f"/Observations({one})/MultiDatastream"))["@iot.id"] == 1
    expanded = await api.get(
        "/Things(1)?$expand=MultiDatastreams($expand=ObservedProperties,Sensor,Observations($expand=MultiDatastream))"
    )
    [stream] = expanded["MultiDatastreams"]
    assert [p["name"] for p in stream["ObservedProperties"]] == ["Speed", "Direction"]
    assert stream["Observations"][0]["MultiDatastream"]["@iot.id"] == 1
    found = await api.values("/Observations?$filter=MultiDatastream/ObservedProperties/name eq 'Direction'")
    assert [o["@iot.id"] for o in found] == [one]


async def test_an_observation_shows_the_stream_that_it_has(api: Api) -> None:
    await api.post("/Things", mast())
    await api.post("/Things", whole_thing("Oven", 1))
    many = await api.post("/Observations", observed([1, 2]))
    [one] = await api.ids("/Datastreams(2)/Observations")
    entity = await api.get(f"/Observations({many})")
    assert entity["MultiDatastream@iot.navigationLink"] == api.url(f"/Observations({many})/MultiDatastream")
    assert "Datastream@iot.navigationLink" not in entity
    assert "MultiDatastream@iot.navigationLink" not in await api.get(f"/Observations({one})")
    await api.get(f"/Observations({many})/Datastream", 204)
    await api.get(f"/Observations({one})/MultiDatastream", 204)
    for both in await api.values("/Observations?$expand=Datastream,MultiDatastream"):
        assert (both["Datastream"] is None) == (both["@iot.id"] == many)
        assert (both["MultiDatastream"] is None) == (both["@iot.id"] == one)
    [selected] = await api.values(f"/Observations?$select=MultiDatastream&$filter=id eq {many}")
    assert list(selected) == ["MultiDatastream@iot.navigationLink"]
    # Datastreams and MultiDatastreams are two sets.
    await api.get("/Datastreams(1)", 404)
    await api.get("/MultiDatastreams(2)", 404)
    assert (await api.ids("/Datastreams"), await api.ids("/MultiDatastreams")) == ([2], [1])


@pytest.mark.parametrize(
    "change",
    [
        {"unitOfMeasurements": [unit("one")]},
        {"multiObservationDataTypes": [f"{OM}OM_Measurement"] * 3},
        {"ObservedProperties": [observed_property("Speed")]},
        {"ObservedProperties": []},
        {"ObservedProperties": None},
        {"unitOfMeasurements": unit("none")},
        {"unitOfMeasurements": ["m", "s"]},
        {"unitOfMeasurements": []},
        {"multiObservationDataTypes": [1, 2]},
        {"multiObservationDataTypes": None},
        {"observationType": f"{OM}OM_Measurement"},
        {"ObservedProperties": [{"@iot.id": 1}, {"@iot.id": 1}]},
        {"Sensor": None},
    ],
)
async def test_parts_have_one_length(api: Api, change: dict[str, Any]) -> None:
    """14.3: units, data types and ObservedProperties are equally many; a refused one leaves nothing."""
    await api.post("/ObservedProperties", observed_property("known"))
    body = mast()
    body["MultiDatastreams"][0] |= change
    await api.post("/Things", body, 400)
    assert await api.ids("/Things") == []
    assert await api.ids("/ObservedProperties") == [1]


@VERSIONS
@pytest.mark.parametrize("result", [[1], [1, 2, 3], [], 5, None, "1,2", {"0": 1, "1": 2}])
async def test_results_have_that_length(api: Api, version: str, result: Any) -> None:
    """14.3."""
    api = Api(api.client, version)
    await api.post("/Things", mast())
    await api.post("/Observations", observed(result), 400)
    await api.post("/MultiDatastreams(1)/Observations", {"result": result}, 400)
    assert await api.ids("/Observations") == []
    one = await api.post("/MultiDatastreams(1)/Observations", {"result": [1, None]})
    await api.patch(f"/Observations({one})", {"result": result}, 400)
    assert (await api.get(f"/Observations({one})"))["result"] == [1, None]


async def test_an_observation_has_one_of_both(api: Api) -> None:
    await api.post("/Things", mast())
    await api.post("/Things", whole_thing("Oven"))
    both = {"MultiDatastream": {"@iot.id": 1}, "Datastream": {"@iot.id": 2}}
    await api.post("/Observations", {"result": [1, 2], **both}, 400)
    await api.post("/Observations", {"result": [1, 2]}, 400)
    # An id of the other kind is no id.
    await api.post("/Observations", {"result": [1, 2], "MultiDatastream": {"@iot.id": 2}}, 400)
    await api.post("/Observations", {"result": 1, "Datastream": {"@iot.id": 1}}, 400)
    await api.post("/Observations", observed([1, 2], FeatureOfInterest={"@iot.id": 99}), 400)
    one = await api.post("/Observations", observed([1, 2], Datastream=None))
    await api.patch(f"/Observations({one})", both, 400)
    await api.patch(f"/Observations({one})", {"Datastream": {"@iot.id": 2}, "result": 7})
    assert (await api.get(f"/Observations({one})/Datastream"))["@iot.id"] == 2
    assert await api.ids("/MultiDatastreams(1)/Observations") == []
    await api.patch(f"/Observations({one})", {"MultiDatastream": {"@iot.id": 1}}, 400)
    await api.patch(f"/Observations({one})", {"MultiDatastream": {"@iot.id": 1}, "result": [7, 8]})
    assert await api.ids("/MultiDatastreams(1)/Observations") == [one]
    assert "MultiDatastream@iot.navigationLink" in await api.get(f"/Observations({one})")


async def test_results_keep_their_values_and_are_found(api: Api) -> None:
    await api.post("/Things", mast())
    for n in range(3):
        body = observed([n, f"text {n}"], phenomenonTime=f"2026-01-01T00:00:0{n}Z", parameters={"n": n})
        await api.post("/Observations", body)
    assert [o["result"] for o in await api.values("/MultiDatastreams(1)/Observations")] == [
        [0, "text 0"],
        [1, "text 1"],
        [2, "text 2"],
    ]
    assert (await api.get("/Observations(2)/result"))["result"] == [1, "text 1"]
    assert (await api.get("/Observations(2)"))["parameters"] == {"n": 1}
    stream = await api.get("/MultiDatastreams(1)")
    assert stream["phenomenonTime"] == "2026-01-01T00:00:00Z/2026-01-01T00:00:02Z"
    assert stream["observedArea"]["type"] == "Polygon"
    assert (await api.get("/MultiDatastreams(1)/Observations?$count=true"))["@iot.count"] == 3
    [latest] = await api.values("/MultiDatastreams?$expand=Observations($top=1;$orderby=phenomenonTime desc)")
    assert [o["@iot.id"] for o in latest["Observations"]] == [3]
    await api.delete("/Observations(3)")
    assert (await api.get("/MultiDatastreams(1)"))["phenomenonTime"] == "2026-01-01T00:00:00Z/2026-01-01T00:00:01Z"


async def test_updates_keep_the_length(api: Api) -> None:
    """14.3: units, data types and ObservedProperties change together; links are added behind the others."""
    await api.post("/Things", mast())
    third = await api.post("/ObservedProperties", observed_property("Gust"))
    await api.patch("/MultiDatastreams(1)", {"unitOfMeasurements": [unit(str(n)) for n in range(3)]}, 400)
    await api.patch("/MultiDatastreams(1)", {"multiObservationDataTypes": [f"{OM}OM_Measurement"] * 3}, 400)
    await api.patch("/MultiDatastreams(1)", {"ObservedProperties": [{"@iot.id": third}]}, 400)
    await api.patch(f"/ObservedProperties({third})", {"MultiDatastreams": [{"@iot.id": 1}]}, 400)
    await api.post("/MultiDatastreams(1)/ObservedProperties", observed_property("Fourth"), 400)
    assert await api.ids("/MultiDatastreams(1)/ObservedProperties") == [1, 2]
    wider = multi(size=3) | {"ObservedProperties": [{"@iot.id": third}]}
    await api.patch("/MultiDatastreams(1)", wider)
    assert await api.ids("/MultiDatastreams(1)/ObservedProperties") == [1, 2, third]
    # A collection of links adds: what is linked already stays where it is.
    again = await api.patch("/MultiDatastreams(1)", {"ObservedProperties": [{"@iot.id": third}, {"@iot.id": 1}]})
    assert again["observationType"] == COMPLEX
    assert await api.ids("/MultiDatastreams(1)/ObservedProperties") == [1, 2, third]
    # PUT replaces: this order, and no longer the second.
    await api.put("/MultiDatastreams(1)", multi(size=2) | {"ObservedProperties": [{"@iot.id": third}, {"@iot.id": 1}]})
    assert await api.ids("/MultiDatastreams(1)/ObservedProperties") == [third, 1]
    await api.post("/Observations", observed([1, 2]))
    await api.post("/Observations", observed([1, 2, 3]), 400)


async def test_creation_from_every_side(api: Api) -> None:
    await api.post("/Things", mast())
    links = {"Thing": {"@iot.id": 1}, "Sensor": {"@iot.id": 1}}
    observing = {"ObservedProperties": [{"@iot.id": 2}, {"@iot.id": 1}]}
    # The parent of the path is among the ObservedProperties, at its place.
    assert await api.post("/ObservedProperties(1)/MultiDatastreams", multi(**links, **observing)) == 2
    assert await api.ids("/MultiDatastreams(2)/ObservedProperties") == [2, 1]
    assert await api.post("/ObservedProperties(2)/MultiDatastreams", multi(size=1, **links)) == 3
    assert await api.post("/Things(1)/MultiDatastreams", multi(Sensor=links["Sensor"], **observing)) == 4
    assert await api.post("/Sensors(1)/MultiDatastreams", multi(Thing=links["Thing"], **observing)) == 5
    whole = observed_property("new", MultiDatastreams=[multi(size=1, **links)])
    one = await api.post("/ObservedProperties", whole)
    assert await api.ids(f"/ObservedProperties({one})/MultiDatastreams") == [6]
    nested = multi(**links, **observing, Observations=[{"result": [1, 2]}, {"result": [3, 4]}])
    assert await api.post("/MultiDatastreams", nested) == 7
    assert [o["result"] for o in await api.values("/MultiDatastreams(7)/Observations")] == [[1, 2], [3, 4]]
    inline = {"result": [5, 6], "MultiDatastream": multi("inline", **links, **observing)}
    await api.post("/Observations", inline)
    assert (await api.get("/MultiDatastreams(8)"))["name"] == "inline"


@pytest.mark.parametrize("path", ["/Things(1)", "/Sensors(1)", "/ObservedProperties(2)", "/MultiDatastreams(1)"])
async def test_deletes_cascade(api: Api, path: str) -> None:
    await api.post("/Things", mast(Observations=[{"result": [1, 2]}, {"result": [3, 4]}]))
    await api.post("/Things", whole_thing("Oven", 1))
    await api.delete(path)
    assert await api.ids("/MultiDatastreams") == []
    assert len(await api.ids("/Observations")) == 1
    assert await api.ids("/Datastreams") == [2]
    assert 1 in await api.ids("/ObservedProperties")


async def test_a_datastream_takes_any_array(api: Api) -> None:
    """Only a MultiDatastream counts the members."""
    await api.post("/Things", whole_thing("Oven"))
    links = {name: {"@iot.id": 1} for name in ("Thing", "Sensor", "ObservedProperty")}
    await api.post("/Datastreams", datastream("any", observationType=f"{OM}OM_Observation", **links))
    one = await api.post("/Observations", {"result": [1, 2, 3], "Datastream": {"@iot.id": 2}})
    assert "Datastream@iot.navigationLink" in await api.get(f"/Observations({one})")
