"""OGC 18-088, 9.3.2: `$select` and `$expand` with nested options."""

import pytest
from sensorthings_api import Api, location, thing, whole_thing

REQUIREMENTS = ("request-data/select", "request-data/expand")


async def test_select_keeps_what_is_named(api: Api) -> None:
    await api.post("/Things", whole_thing(observations=1))
    assert await api.get("/Things(1)?$select=name") == {"name": "Oven"}
    assert await api.get("/Things(1)?$select=id,description") == {"@iot.id": 1, "description": "A thing."}
    assert await api.get("/Things(1)?$select=Datastreams") == {
        "Datastreams@iot.navigationLink": "http://twin.example:1908/v1.1/Things(1)/Datastreams"
    }
    assert await api.values("/Observations?$select=result,@iot.id") == [{"@iot.id": 1, "result": 0.0}]
    # Selected, a null property is told; not selected, optional ones of Observations are left out.
    assert await api.get("/Observations(1)?$select=parameters") == {"parameters": None}
    assert "parameters" not in await api.get("/Observations(1)")


@pytest.mark.parametrize(
    "query",
    ["$select=nope", "$select=name,,description", "$select=", "$select=name/x", "$select=Datastreams(name)"],
)
async def test_unknown_or_malformed_select_is_refused(api: Api, query: str) -> None:
    await api.get(f"/Things?{query}", 400)


async def test_a_property_of_1_1_is_unknown_on_1_0(api: Api) -> None:
    await api.get("/Sensors?$select=properties")
    await api.old().get("/Sensors?$select=properties", 400)


async def test_expand_to_one_and_to_many(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 2))
    await api.post("/Things", thing("bare"))
    [first, second] = await api.values("/Things?$expand=Datastreams,Locations")
    assert [d["name"] for d in first["Datastreams"]] == ["A temperature"]
    assert [x["name"] for x in first["Locations"]] == ["A place"]
    assert second["Datastreams"] == []
    [stream] = await api.values("/Datastreams?$expand=Thing,Sensor,ObservedProperty")
    assert stream["Thing"]["name"] == "A"
    assert stream["Sensor"]["name"] == "A sensor"
    assert stream["ObservedProperty"]["name"] == "A property"
    assert (await api.get("/Observations(2)?$expand=FeatureOfInterest"))["FeatureOfInterest"]["name"] == "A place"


async def test_expand_by_path_and_nested_are_the_same(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 2))
    by_path = await api.get("/Things?$expand=Datastreams/Observations,Datastreams/Sensor")
    nested = await api.get("/Things?$expand=Datastreams($expand=Observations,Sensor)")
    assert by_path == nested
    [stream] = by_path["value"][0]["Datastreams"]
    assert [o["result"] for o in stream["Observations"]] == [0.0, 0.5]
    assert stream["Sensor"]["name"] == "A sensor"


async def test_nested_options(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 10))
    query = (
        "$select=name&$expand=Datastreams($select=id;$expand=Observations("
        "$filter=result ge 1 and result lt 4;$orderby=result desc;$skip=1;$top=2;$count=true;$select=result))"
    )
    [entity] = await api.values(f"/Things?{query}")
    [stream] = entity["Datastreams"]
    assert stream.pop("@iot.id") == 1
    assert stream["Observations@iot.count"] == 6
    assert stream["Observations"] == [{"result": 3.0}, {"result": 2.5}]
    rest = await api.every(stream["Observations@iot.nextLink"])
    assert [o["result"] for o in rest] == [2.0, 1.5, 1.0]


async def test_the_latest_observation_of_each_datastream(api: Api) -> None:
    for name, n in (("A", 3), ("B", 0), ("C", 1)):
        await api.post("/Things", whole_thing(name, n))
    # A tie by time: the lower id is the latest, as without the shortcut.
    await api.post(
        "/Observations", {"result": 9, "phenomenonTime": "2026-01-01T00:00:02Z", "Datastream": {"@iot.id": 1}}
    )
    latest = "$expand=Observations($top=1;$orderby=phenomenonTime desc;$select=result)"
    streams = await api.values(f"/Datastreams?{latest}")
    assert [s["Observations"] for s in streams] == [[{"result": 1.0}], [], [{"result": 0.0}]]
    assert ["Observations@iot.nextLink" in s for s in streams] == [True, False, False]
    slow = await api.values("/Datastreams?$expand=Observations($top=1;$orderby=phenomenonTime desc,id;$select=result)")
    assert [s["Observations"] for s in slow] == [s["Observations"] for s in streams]
    rest = await api.every(streams[0]["Observations@iot.nextLink"])
    assert [o["result"] for o in rest] == [9.0, 0.5, 0.0]


async def test_expanded_sets_have_pages_of_their_own(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 250))
    [stream] = await api.values("/Datastreams?$expand=Observations($select=id)")
    assert len(stream["Observations"]) == 100
    rest = await api.every(stream["Observations@iot.nextLink"])
    assert sorted(o["@iot.id"] for o in stream["Observations"] + rest) == list(range(1, 251))
    [stream] = await api.old().values("/Datastreams?$expand=Observations")
    assert len(stream["Observations"]) == 200


@pytest.mark.parametrize(
    "expand",
    [
        "Nope",
        "datastreams",
        "Datastream",
        "Datastreams/Nope",
        "Datastreams(",
        "Datastreams)",
        "Datastreams($top=1",
        "Datastreams($top=1)x",
        "Datastreams($top=1;$top=2)",
        "Datastreams($top=-1)",
        "Datastreams($nope=1)",
        "Datastreams($filter=nope eq 1)",
        "Datastreams($skiptoken=x)",
        "Datastreams,,Locations",
        "Datastreams($top=1),Datastreams($top=2)",
        "",
    ],
)
async def test_malformed_expand_is_refused(api: Api, expand: str) -> None:
    await api.get(f"/Things?$expand={expand}", 400)


async def test_expand_has_a_depth(api: Api) -> None:
    await api.post("/Things", whole_thing("A"))
    path = "/".join(["Datastreams", "Thing"] * 4)
    await api.get(f"/Things?$expand={path}")
    await api.get(f"/Things?$expand={path}/Datastreams", 400)


async def test_old_clients_write_links_as_they_like_on_1_0(api: Api) -> None:
    await api.post("/Things", whole_thing("A"))
    for expand in ("Sensors,Thing,ObservedProperty", "sensor,things,OBSERVEDPROPERTIES", "Sensor($select=name)"):
        [stream] = await api.old().values(f"/Datastreams?$expand={expand}")
        assert stream["Sensor"]["name"] == "A sensor"
    await api.get("/Datastreams?$expand=Sensors", 400)


async def test_an_expand_may_not_grow_without_bound(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinstack.core import limits

    await api.post("/Things", whole_thing("A", 20))
    monkeypatch.setattr(limits, "EXPAND_ENTITIES_MAX", 15)
    answer = await api.get("/Datastreams?$expand=Observations", 400)
    assert "$top" in answer["message"]
    await api.get("/Datastreams?$expand=Observations($top=5)")


async def test_a_missing_to_one_link_is_null(api: Api, store) -> None:
    from twinstack.sensorthings.store import tables

    await api.post("/Locations", location())
    await api.post("/Things", whole_thing("A", 1))
    with store.engine.begin() as connection:
        connection.execute(tables.observation.update().values(feature_id=None))
    assert (await api.get("/Observations(1)?$expand=FeatureOfInterest"))["FeatureOfInterest"] is None
    await api.get("/Observations(1)/FeatureOfInterest", 204)
