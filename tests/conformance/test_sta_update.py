"""OGC 18-088, 10.3: PATCH, PUT, JSON Patch, and the preconditions of RFC 9110."""

import asyncio
from typing import Any

import pytest
from sensorthings_api import Api, feature, location, observed_property, sensor, thing, whole_thing

REQUIREMENTS = (
    "create-update-delete/update-entity",
    "create-update-delete/update-entity-put",
    "create-update-delete/update-entity-jsonpatch",
)


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_patch_merges_top_level_properties_and_answers_the_entity(api: Api, version: str) -> None:
    api = Api(api.client, version)
    await api.post("/Things", thing("A", properties={"a": 1, "b": 2}))
    answer = await api.patch("/Things(1)", {"@iot.id": 77, "properties": {"c": 3}})
    assert answer == await api.get("/Things(1)")
    assert (answer["@iot.id"], answer["name"], answer["properties"]) == (1, "A", {"c": 3})


async def test_patch_by_navigation(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 1))
    assert (await api.patch("/Observations(1)/Datastream/Thing", {"name": "B"}))["name"] == "B"
    assert (await api.get("/Things(1)"))["name"] == "B"


async def test_a_single_link_replaces_and_a_set_adds(api: Api) -> None:
    await api.post("/Things", whole_thing("A"))
    await api.post("/Things", thing("B"))
    await api.post("/Sensors", sensor("other"))
    await api.post("/ObservedProperties", observed_property("other"))
    links = {"Thing": {"@iot.id": 2}, "Sensor": {"@iot.id": 2}, "ObservedProperty": {"@iot.id": 2}}
    await api.patch("/Datastreams(1)", links)
    stream = await api.get("/Datastreams(1)?$expand=Thing,Sensor,ObservedProperty")
    assert (stream["Thing"]["name"], stream["Sensor"]["name"], stream["ObservedProperty"]["name"]) == (
        "B",
        "other",
        "other",
    )
    await api.patch("/Things(1)", {"Datastreams": [{"@iot.id": 1}]})
    assert (await api.get("/Datastreams(1)/Thing"))["name"] == "A"


@pytest.mark.parametrize(
    "body",
    [
        {"Locations": [location()]},
        {"Datastreams": [{"name": "new"}]},
        {"name": None},
        {"name": 5},
        {"nope": 1},
        {"Locations": [{"@iot.id": 99}]},
        {"Locations": {"@iot.id": 1}},
    ],
)
async def test_bad_patches_change_nothing(api: Api, body: dict[str, Any]) -> None:
    await api.post("/Things", whole_thing("A"))
    before = await api.get("/Things(1)?$expand=Locations,Datastreams")
    await api.patch("/Things(1)", body, 400)
    assert await api.get("/Things(1)?$expand=Locations,Datastreams") == before


async def test_put_replaces_all_properties_and_keeps_links(api: Api) -> None:
    await api.post("/Things", whole_thing("A", properties={"a": 1}))
    answer = await api.put("/Things(1)", {"name": "B", "description": "new"})
    assert (answer["name"], answer["description"], answer["properties"]) == ("B", "new", None)
    assert await api.ids("/Things(1)/Datastreams") == [1]
    assert await api.ids("/Things(1)/Locations") == [1]
    await api.put("/Things(1)", {"name": "no description"}, 400)
    await api.put("/Things(1)", {"description": "no name"}, 400)
    assert (await api.get("/Things(1)"))["name"] == "B"


async def test_patch_of_an_observation(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 3))
    await api.patch("/Observations(1)", {"phenomenonTime": "2030-01-01T00:00:00Z", "result": 7.5})
    assert (await api.get("/Datastreams(1)"))["phenomenonTime"] == "2026-01-01T00:00:01Z/2030-01-01T00:00:00Z"
    assert (await api.get("/Observations(1)"))["result"] == 7.5


@pytest.mark.parametrize("set_name", ["Things", "Observations", "Datastreams", "Sensors"])
async def test_updates_of_what_is_missing_are_404(api: Api, set_name: str) -> None:
    await api.patch(f"/{set_name}(1)", {"name": "x"}, 404)
    await api.put(f"/{set_name}(9223372036854775807)", {"name": "x"}, 404)
    await api.delete(f"/{set_name}(1)", 404)
    answer = await api.send("PATCH", f"/{set_name}(1)", content="[]", headers={"Content-Type": PATCH_TYPE})
    assert answer.status_code == 404


PATCH_TYPE = "application/json-patch+json"


async def patched(api: Api, operations: Any, status: int = 200) -> Any:
    answer = await api.send("PATCH", "/Things(1)", json=operations, headers={"Content-Type": PATCH_TYPE})
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_json_patch_changes_within_properties(api: Api) -> None:
    await api.post("/Things", whole_thing("A", properties={"list": [1, 2], "owner": {"name": "Sue"}}))
    answer = await patched(
        api,
        [
            {"op": "test", "path": "/properties/owner/name", "value": "Sue"},
            {"op": "replace", "path": "/name", "value": "B"},
            {"op": "add", "path": "/properties/list/1", "value": 1.5},
            {"op": "add", "path": "/properties/list/-", "value": None},
            {"op": "move", "from": "/properties/owner/name", "path": "/properties/who"},
            {"op": "copy", "from": "/properties/who", "path": "/properties/owner/~0~1"},
            {"op": "remove", "path": "/properties/list/0"},
        ],
    )
    assert answer["name"] == "B"
    assert answer["properties"] == {"list": [1.5, 2, None], "owner": {"~/": "Sue"}, "who": "Sue"}
    assert await api.ids("/Things(1)/Datastreams") == [1]
    assert (await patched(api, [{"op": "remove", "path": "/properties"}]))["properties"] is None
    assert (await patched(api, []))["name"] == "B"


@pytest.mark.parametrize(
    "operations",
    [
        {"op": "add"},
        [5],
        [{"op": "nope", "path": "/name"}],
        [{"op": "replace", "path": "/name"}],
        [{"op": "replace", "path": "name", "value": 1}],
        [{"op": "replace", "path": "/nope", "value": 1}],
        [{"op": "remove", "path": "/name"}],
        [{"op": "remove", "path": ""}],
        [{"op": "replace", "path": "", "value": [1]}],
        [{"op": "add", "path": "/colour", "value": 1}],
        [{"op": "add", "path": "/properties/list/9", "value": 1}],
        [{"op": "add", "path": "/properties/list/01", "value": 1}],
        [{"op": "add", "path": "/name/x", "value": 1}],
        [{"op": "move", "from": "/properties", "path": "/properties/x"}],
        [{"op": "test", "path": "/properties/list/0", "value": True}],
        [{"op": "replace", "path": "/name", "value": "B"}, {"op": "test", "path": "/name", "value": "A"}],
        [{"op": "test", "path": "/@iot.id", "value": 1}],
    ],
)
async def test_a_failed_json_patch_is_400_and_changes_nothing(api: Api, operations: Any) -> None:
    await api.post("/Things", thing("A", properties={"list": [1, 2]}))
    before = await api.get("/Things(1)")
    await patched(api, operations, 400)
    assert await api.get("/Things(1)") == before


async def test_parallel_json_patches_all_count(api: Api) -> None:
    await api.post("/Things", thing("A", properties={"list": []}))
    add = [{"op": "add", "path": "/properties/list/-", "value": 1}]
    await asyncio.gather(*(patched(api, add) for _ in range(4)))
    assert (await api.get("/Things(1)"))["properties"]["list"] == [1] * 4


@pytest.mark.parametrize("set_name", ["Things", "Datastreams", "Observations"])
async def test_a_stale_if_match_is_412(api: Api, set_name: str) -> None:
    await api.post("/Things", whole_thing("A", 2))
    path = f"/{set_name}(1)"
    change = {"result": 5.5} if set_name == "Observations" else {"description": "new"}
    old = (await api.send("GET", path)).headers["etag"]
    # A part of the entity, asked for by $select, has another tag; it stands for the same state.
    part = (await api.send("GET", f"{path}?$select=id")).headers["etag"]
    assert part != old
    await api.patch(path, change, If_Match=part)
    for method, content in (("PATCH", change), ("PUT", change), ("DELETE", None)):
        answer = await api.send(method, path, json=content, headers={"If-Match": old})
        assert answer.status_code in ((412, 400) if method == "PUT" else (412,)), answer.text
    new = (await api.send("GET", path)).headers["etag"]
    await api.patch(path, change, If_Match=f'"other", {new}')
    await api.patch(path, change, If_Match="*")
    answer = await api.send("DELETE", path, headers={"If-Match": new})
    assert answer.status_code == 200


async def test_if_none_match_is_304_while_nothing_changed(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 1))
    for path in ("/Datastreams(1)", "/Observations(1)", "/Things(1)?$expand=Datastreams"):
        tag = (await api.send("GET", path)).headers["etag"]
        answer = await api.send("GET", path, headers={"If-None-Match": tag})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    streams = (await api.send("GET", "/Datastreams(1)")).headers["etag"]
    nested = (await api.send("GET", "/Things(1)?$expand=Datastreams")).headers["etag"]
    await api.post("/Observations", {"result": 1, "Datastream": {"@iot.id": 1}})
    # Its extent changed, not its version.
    for path, tag in (("/Datastreams(1)", streams), ("/Things(1)?$expand=Datastreams", nested)):
        assert (await api.send("GET", path, headers={"If-None-Match": tag})).status_code == 200


@pytest.mark.parametrize("set_name", ["Locations", "FeaturesOfInterest"])
async def test_an_updated_geometry_is_geojson_where_the_encoding_says_so(api: Api, set_name: str) -> None:
    """8.2.2, 8.2.8: also where the update names only one of the two."""
    body, key = (location(), "location") if set_name == "Locations" else (feature(), "feature")
    await api.post(f"/{set_name}", body)
    await api.patch(f"/{set_name}(1)", {key: {"type": "Point"}}, 400)
    await api.patch(
        f"/{set_name}(1)", {key: {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}}, 400
    )
    assert (await api.get(f"/{set_name}(1)"))[key] == body[key]
    await api.patch(f"/{set_name}(1)", {"encodingType": "text/plain", key: "by the door"})
    await api.patch(f"/{set_name}(1)", {"encodingType": "application/geo+json"}, 400)
    await api.patch(f"/{set_name}(1)", {"encodingType": "application/geo+json", key: body[key]})


async def test_what_is_never_null(api: Api) -> None:
    """8.2: a mandatory property is not removed; PUT keeps the phenomenonTime that the server gives."""
    await api.post("/Things", whole_thing("A", 1))
    before = (await api.get("/Observations(1)"))["phenomenonTime"]
    await api.patch("/Observations(1)", {"phenomenonTime": None}, 400)
    await api.patch("/Datastreams(1)", {"unitOfMeasurement": None}, 400)
    await api.patch("/Datastreams(1)", {"Thing": None}, 400)
    await api.patch("/Datastreams(1)", {"ObservedProperty": None}, 400)
    await api.patch("/Observations(1)", {"result": None, "resultTime": None, "parameters": None})
    answer = await api.put("/Observations(1)", {"result": 5})
    assert (answer["phenomenonTime"], answer["result"], answer["resultTime"]) == (before, 5, None)
    await api.put("/Observations(1)", {"phenomenonTime": "2026-01-01T00:00:00Z"}, 400)


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_put_clears_all_that_is_optional(api: Api, version: str) -> None:
    await api.post("/Things", whole_thing("A"))
    body = {
        "phenomenonTime": "2026-01-01T00:00:00Z",
        "result": 1,
        "resultTime": "2026-01-01T00:00:00Z",
        "validTime": "2026-01-01T00:00:00Z/2026-01-02T00:00:00Z",
        "parameters": {"a": 1},
        "resultQuality": "good",
        "Datastream": {"@iot.id": 1},
    }
    await api.post("/Observations", body)
    answer = await Api(api.client, version).put("/Observations(1)", {"result": 2})
    assert (answer["result"], answer["resultTime"]) == (2, None)
    assert not {"validTime", "parameters", "resultQuality"} & answer.keys()
    assert (await api.get("/Datastreams(1)"))["resultTime"] is None


async def test_observations_are_linked_from_both_sides(api: Api) -> None:
    """10.3.1: a collection of links adds; what depends on the Observation follows it."""
    await api.post("/Things", whole_thing("A", 3))
    await api.post("/Things", whole_thing("B"))
    await api.post("/FeaturesOfInterest", feature("far"))
    await api.patch("/Datastreams(2)", {"Observations": [{"@iot.id": 1}, {"@iot.id": 3}]})
    assert await api.ids("/Datastreams(2)/Observations") == [1, 3]
    assert (await api.get("/Datastreams(1)"))["phenomenonTime"] == "2026-01-01T00:00:01Z/2026-01-01T00:00:01Z"
    assert (await api.get("/Datastreams(2)"))["phenomenonTime"] == "2026-01-01T00:00:00Z/2026-01-01T00:00:02Z"
    await api.patch("/FeaturesOfInterest(2)", {"Observations": [{"@iot.id": 3}]})
    assert (await api.get("/Observations(3)/FeatureOfInterest"))["name"] == "far"
    box = (await api.get("/Datastreams(2)"))["observedArea"]["coordinates"][0]
    assert [1.0, 2.0] in box and [16.4, 48.2] in box
    await api.patch("/Datastreams(2)", {"Observations": [{"@iot.id": 9}]}, 400)


async def test_extent_follows_changed_times(api: Api) -> None:
    """8.2.4: phenomenonTime and resultTime of a Datastream, at both edges."""
    await api.post("/Things", whole_thing("A", 3))
    times = ("2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z", "2026-02-03T00:00:00Z")
    for n, time in enumerate(times, 1):
        await api.patch(f"/Observations({n})", {"resultTime": time})

    async def extent() -> tuple[str, str]:
        stream = await api.get("/Datastreams(1)")
        return stream["phenomenonTime"], stream["resultTime"]

    assert (await extent())[1] == f"{times[0]}/{times[2]}"
    await api.patch("/Observations(3)", {"resultTime": None, "phenomenonTime": "2025-01-01T00:00:00Z"})
    assert await extent() == ("2025-01-01T00:00:00Z/2026-01-01T00:00:01Z", f"{times[0]}/{times[1]}")
    await api.patch("/Observations(1)", {"phenomenonTime": "2026-01-01T00:00:00Z/2027-01-01T00:00:00Z"})
    assert (await extent())[0] == "2025-01-01T00:00:00Z/2027-01-01T00:00:00Z"
    await api.delete("/Observations(1)")
    assert await extent() == ("2025-01-01T00:00:00Z/2026-01-01T00:00:01Z", f"{times[1]}/{times[1]}")
    await api.delete("/Observations(3)")
    await api.delete("/Observations(2)")
    assert await extent() == (None, None)


async def test_whole_entities_can_be_sent_back(api: Api) -> None:
    """10.3.1: the id and links of the body change nothing."""
    await api.post("/Things", whole_thing("A", 1, properties={"a": 1}))
    for path in ("Things", "Locations", "HistoricalLocations", "Datastreams", "Sensors", "Observations"):
        for client in (api, api.old()):
            entity = await client.get(f"/{path}(1)")
            assert await client.patch(f"/{path}(1)", {**entity, "@iot.id": 99}) == entity
            assert await client.put(f"/{path}(1)", entity) == entity
    await api.get("/Things(99)", 404)
