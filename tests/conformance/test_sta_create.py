"""OGC 18-088, 10.2: creating entities, links to existing ones, deep insert."""

import asyncio

import pytest
from sensorthings_api import (
    Api,
    datastream,
    feature,
    location,
    observed_property,
    sensor,
    thing,
    whole_thing,
)

REQUIREMENTS = (
    "create-update-delete/create-entity",
    "create-update-delete/link-to-existing-entities",
    "create-update-delete/deep-insert",
    "create-update-delete/deep-insert-status-code",
)

SETS = ("Things", "Locations", "HistoricalLocations", "Datastreams", "Sensors", "ObservedProperties")


async def sizes(api: Api) -> list[int]:
    return [(await api.get(f"/{name}?$count=true&$top=0"))["@iot.count"] for name in SETS]


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_a_created_entity_has_an_address_and_is_answered(api: Api, version: str) -> None:
    api = Api(api.client, version)
    answer = await api.send("POST", "/Things", json=thing(properties={"a": 1}))
    assert answer.status_code == 201
    assert answer.headers["location"] == api.url("/Things(1)")
    assert answer.json() == await api.get("/Things(1)")
    assert answer.headers["etag"] == (await api.send("GET", "/Things(1)")).headers["etag"]


async def test_observations_answer_the_whole_entity_on_1_0_and_their_address_on_1_1(api: Api) -> None:
    await api.post("/Things", whole_thing())
    body = {"result": 1.5, "Datastream": {"@iot.id": 1}}
    new = await api.send("POST", "/Observations", json=body)
    assert new.json() == {"@iot.id": 1, "@iot.selfLink": api.url("/Observations(1)")}
    assert new.headers["location"] == api.url("/Observations(1)")
    old = await api.old().send("POST", "/Datastreams(1)/Observations", json={"result": 2})
    assert old.json() == await api.old().get("/Observations(2)")
    assert old.json()["result"] == 2


async def test_deep_insert_stores_everything_and_links_it(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 2))
    entity = await api.get(
        "/Things(1)?$expand=Locations,HistoricalLocations/Locations,Datastreams($expand=Sensor,ObservedProperty,Observations)"
    )
    assert entity["Locations"][0]["name"] == "A place"
    assert entity["HistoricalLocations"][0]["Locations"][0]["@iot.id"] == 1
    [stream] = entity["Datastreams"]
    assert (stream["Sensor"]["name"], stream["ObservedProperty"]["name"]) == ("A sensor", "A property")
    assert [o["result"] for o in stream["Observations"]] == [0.0, 0.5]


@pytest.mark.parametrize(
    "broken",
    [
        {"Datastreams": [datastream(Sensor=sensor(), ObservedProperty=observed_property(name=None))]},
        {"Datastreams": [datastream(Sensor=sensor())]},
        {"Datastreams": [datastream(Sensor={"@iot.id": 77}, ObservedProperty=observed_property())]},
        {
            "Datastreams": [
                datastream(Sensor=sensor(), ObservedProperty=observed_property(), Observations=[{"result": 1}, {}])
            ]
        },
        {"Locations": [location(), location(location={"type": "Point"})]},
        {"HistoricalLocations": [{"time": "yesterday"}]},
        {"Datastreams": {"name": "no list"}},
    ],
)
async def test_a_failing_part_leaves_nothing(api: Api, broken: dict) -> None:
    before = await sizes(api)
    await api.post("/Things", thing(Locations=[location("first")]) | broken, status=400)
    assert await sizes(api) == before


async def test_links_to_existing_entities_ignore_other_keys(api: Api) -> None:
    await api.post("/Things", whole_thing("A"))
    whole = await api.get("/ObservedProperties(1)")
    one = await api.post(
        "/Datastreams",
        datastream("B", Thing={"@iot.id": 1}, Sensor={"@iot.id": "1"}, ObservedProperty=whole | {"name": "changed"}),
    )
    assert (await api.get(f"/Datastreams({one})/ObservedProperty"))["name"] == "A property"
    assert (await api.get("/ObservedProperties?$count=true"))["@iot.count"] == 1


async def test_a_path_links_to_its_entity(api: Api) -> None:
    await api.post("/Things", whole_thing("A"))
    await api.post("/Things", thing("B"))
    more = {"Sensor": {"@iot.id": 1}, "ObservedProperty": {"@iot.id": 1}}
    assert await api.post("/Things(2)/Datastreams", datastream("of B", **more)) == 2
    assert (await api.get("/Datastreams(2)/Thing"))["name"] == "B"
    assert await api.post("/Sensors(1)/Datastreams", datastream("x", Thing={"@iot.id": 2}, **more)) == 3
    assert await api.post("/Datastreams(1)/Thing/Datastreams", datastream("of A", **more)) == 4
    assert (await api.get("/Datastreams(4)/Thing"))["name"] == "A"
    assert await api.post("/Datastreams(1)/Observations", {"result": 1}) == 1
    one = await api.post("/FeaturesOfInterest", feature())
    await api.post(f"/FeaturesOfInterest({one})/Observations", {"result": 2, "Datastream": {"@iot.id": 1}})
    assert (await api.get(f"/FeaturesOfInterest({one})/Observations"))["value"][0]["result"] == 2
    await api.post("/Things(99)/Datastreams", datastream("x", **more), status=404)
    await api.post("/Datastreams(99)/Observations", {"result": 1}, status=404)


async def test_an_observation_takes_or_makes_the_feature_of_its_things_location(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 1))
    for n in range(3):
        await api.post("/Observations", {"result": n, "Datastream": {"@iot.id": 1}})
    [made] = await api.values("/FeaturesOfInterest")
    assert made["name"] == "A place"
    assert made["feature"] == {"type": "Point", "coordinates": [16.4, 48.2]}
    assert made["encodingType"] == "application/geo+json"
    own = feature("own")
    await api.post("/Observations", {"result": 1, "Datastream": {"@iot.id": 1}, "FeatureOfInterest": own})
    assert [f["name"] for f in await api.values("/FeaturesOfInterest")] == ["A place", "own"]


async def test_parallel_first_observations_make_one_feature(api: Api) -> None:
    await api.post("/Things", whole_thing("A"))
    body = {"result": 1, "Datastream": {"@iot.id": 1}}
    answers = await asyncio.gather(*(api.send("POST", "/Observations", json=body) for _ in range(12)))
    assert [a.status_code for a in answers] == [201] * 12
    assert len(await api.values("/FeaturesOfInterest")) == 1


async def test_an_observation_without_any_place_is_refused(api: Api) -> None:
    more = {"Sensor": sensor(), "ObservedProperty": observed_property(), "Thing": thing()}
    await api.post("/Datastreams", datastream(**more))
    await api.post("/Observations", {"result": 1, "Datastream": {"@iot.id": 1}}, status=400)


MANDATORY = {
    "Things": (thing(), ("name", "description")),
    "Locations": (location(), ("name", "description", "encodingType", "location")),
    "Sensors": (sensor(), ("name", "description", "encodingType", "metadata")),
    "ObservedProperties": (observed_property(), ("name", "definition", "description")),
    "FeaturesOfInterest": (feature(), ("name", "description", "encodingType", "feature")),
    "Datastreams": (
        datastream(Thing={"@iot.id": 1}, Sensor={"@iot.id": 1}, ObservedProperty={"@iot.id": 1}),
        ("name", "description", "observationType", "unitOfMeasurement", "Thing", "Sensor", "ObservedProperty"),
    ),
    "Observations": ({"result": 1, "Datastream": {"@iot.id": 1}}, ("result", "Datastream")),
}


@pytest.mark.parametrize("set_name", MANDATORY)
@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_what_is_mandatory_must_be_there(api: Api, set_name: str, version: str) -> None:
    await api.post("/Things", whole_thing())
    api = Api(api.client, version)
    body, names = MANDATORY[set_name]
    await api.post(f"/{set_name}", body)
    for name in names:
        await api.post(f"/{set_name}", {k: v for k, v in body.items() if k != name}, status=400)


async def test_unknown_keys_are_refused_on_1_1_and_ignored_on_1_0(api: Api) -> None:
    await api.post("/Things", thing(colour="red"), status=400)
    one = await api.old().post("/Things", thing(colour="red"))
    assert "colour" not in await api.get(f"/Things({one})")
    annotated = {"@iot.id": 77, "@iot.selfLink": "x", "Datastreams@iot.navigationLink": "x"}
    two = await api.post("/Things", thing(**annotated))
    assert two == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b'{"name": "a", "name": "b", "description": "x"}',
        b'{"name": "a", "description": "x", "properties": {"n": NaN}}',
        b'{"name": "a", "description": "x", "properties": {"n": 1e999}}',
        b'{"name": "\\u0000", "description": "x"}',
        b'{"name": "\\ud800", "description": "x"}',
        b'{"name": "\xff", "description": "x"}',
        b'{"name": 5, "description": "x"}',
        b'{"name": "a", "description": "x", "properties": 5}',
        b'{"name": "a", "description": "x", "Locations": [5]}',
        b'{"name": "a", "description": "x", "Locations": [{"@iot.id": "x"}]}',
        b'{"name": "a", "description": "x", "Locations": [{"@iot.id": 99999999999999999999}]}',
        b'{"name": "a", "description": "x", "Locations": [{"@iot.id": -1}]}',
        b'{"name": "a", "description": "x", "properties": ' + b'{"a":' * 50 + b"1" + b"}" * 50 + b"}",
        b"[" * 100_000,
    ],
)
async def test_bad_bodies_are_400_and_store_nothing(api: Api, body: bytes) -> None:
    answer = await api.send("POST", "/Things", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == 400
    assert await api.values("/Things") == []


async def test_a_large_body_is_413(api: Api) -> None:
    answer = await api.send("POST", "/Things", content=b"x" * (1024 * 1024 + 1))
    assert answer.status_code == 413


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_linked_entities_are_named_by_id_alone(api: Api, version: str) -> None:
    """10.2.1.1: whole returned entities, and `id` for `@iot.id`; whatever else they hold is ignored."""
    await api.post("/Things", whole_thing("A", 1))
    api = Api(api.client, version)
    whole = {
        "Thing": await api.get("/Things(1)") | {"name": None, "nope": 1, "Locations": "no array"},
        "Sensor": {"id": 1},
        "ObservedProperty": {"@iot.id": 1, "name": 5},
    }
    one = await api.post("/Datastreams", datastream("B", **whole))
    for name in ("Thing", "Sensor", "ObservedProperty"):
        assert (await api.get(f"/Datastreams({one})/{name}"))["@iot.id"] == 1
    for bad in (0, -1, 1.5, "x", None, True, 2**63, {}, 2**63 - 1):
        await api.post("/Datastreams", datastream("C", **(whole | {"Thing": {"@iot.id": bad}})), 400)


async def test_unknown_keys(api: Api) -> None:
    """400 on 1.1, at any depth; ignored on 1.0."""
    for body in (thing(nope=1), thing(Locations=[location(nope=1)]), thing(unitOfMeasurement={})):
        await api.post("/Things", body, 400)
        await api.old().post("/Things", body)
    annotated = thing(**{"@iot.id": 77, "@iot.selfLink": "x", "Datastreams@iot.navigationLink": "y"})
    assert await api.post("/Things", annotated) == 4


async def test_nul_is_refused_wherever_it_stands(api: Api) -> None:
    for body in (thing("a\0b"), thing(properties={"a": ["\0"]}), thing(properties={"\0": 1})):
        await api.post("/Things", body, 400)
    await api.post("/Things", whole_thing("A"))
    for body in ({"result": "\0"}, {"result": 1, "parameters": {"a\0": 1}}, {"result": ["\0"]}):
        await api.post("/Datastreams(1)/Observations", body, 400)
        await api.patch("/Things(1)", {"description": "\0"}, 400)


async def test_a_changed_place_gives_the_next_observation_a_new_feature(api: Api) -> None:
    """10.2.1.3: old Observations keep theirs."""
    await api.post("/Things", whole_thing("A", 1, properties={"x": 1}))
    moved = {"type": "Point", "coordinates": [1.0, 2.0]}
    await api.patch("/Locations(1)", {"location": moved, "properties": {"y": 2}})
    two = await api.post("/Datastreams(1)/Observations", {"result": 1})
    three = await api.post("/Datastreams(1)/Observations", {"result": 1})
    made = await api.get(f"/Observations({two})/FeatureOfInterest")
    assert (made["feature"], made["properties"], made["name"]) == (moved, {"y": 2}, "A place")
    assert (await api.get(f"/Observations({three})/FeatureOfInterest"))["@iot.id"] == made["@iot.id"]
    old = await api.get("/Observations(1)/FeatureOfInterest")
    assert old["feature"]["coordinates"] == [16.4, 48.2]
    # A new name is no new place.
    await api.patch("/Locations(1)", {"name": "renamed"})
    four = await api.post("/Datastreams(1)/Observations", {"result": 1})
    assert (await api.get(f"/Observations({four})/FeatureOfInterest"))["@iot.id"] == made["@iot.id"]


async def test_parallel_first_observations_at_one_place(api: Api) -> None:
    """Of several Things and Datastreams at one Location: still one feature."""
    for name in ("A", "B", "C"):
        await api.post("/Things", whole_thing(name))
    for n in (2, 3):
        await api.patch(f"/Things({n})", {"Locations": [{"@iot.id": 1}]})
    bodies = [{"result": n, "Datastream": {"@iot.id": 1 + n % 3}} for n in range(12)]
    answers = await asyncio.gather(*(api.send("POST", "/Observations", json=body) for body in bodies))
    assert [a.status_code for a in answers] == [201] * 12
    assert len(await api.ids("/FeaturesOfInterest")) == 1


async def test_deep_insert_from_every_type(api: Api) -> None:
    """10.2.1.2: whatever is nested, to any depth, in one request."""
    stream = datastream("deep", Sensor=sensor(), ObservedProperty=observed_property())
    place = location("place", Things=[thing("at it", Datastreams=[stream])])
    await api.post("/Locations", place | {"HistoricalLocations": [{"time": "2020-01-01T00:00:00Z", "Thing": thing()}]})
    assert (await api.get("/Datastreams(1)/Thing"))["name"] == "at it"
    whole = stream | {"Thing": thing("new", Locations=[location()]), "Observations": [{"result": 1}]}
    del whole["Sensor"], whole["ObservedProperty"]
    await api.post("/Sensors", sensor(Datastreams=[whole | {"ObservedProperty": observed_property("p")}]))
    await api.post("/ObservedProperties", observed_property(Datastreams=[whole | {"Sensor": sensor("s")}]))
    both = {"Sensor": sensor("s"), "ObservedProperty": observed_property("p")}
    await api.post("/FeaturesOfInterest", feature(Observations=[{"result": 2, "Datastream": whole | both}]))
    await api.post("/Observations", {"result": 3, "Datastream": whole | both, "FeatureOfInterest": feature("inline")})
    moment = {"time": "2030-01-01T00:00:00Z", "Locations": [location("then")]}
    await api.post("/HistoricalLocations", moment | {"Thing": thing("moved", Datastreams=[stream])})
    assert [s["@iot.id"] for s in await api.values("/Datastreams")] == [1, 2, 3, 4, 5, 6]
    assert sorted(o["result"] for o in await api.values("/Observations")) == [1, 1, 1, 1, 2, 3]
    last = (await api.ids("/Things"))[-1]
    assert [p["name"] for p in await api.values(f"/Things({last})/Locations")] == ["then"]
