"""OGC 18-088, clause 8 (and 15-078r6, clause 8): the eight entity types, their properties, links and annotations."""

import json

import pytest
from sensorthings_api import (
    OM,
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
    *(
        f"datamodel/{name}/{part}"
        for name in (
            "thing",
            "location",
            "historical-location",
            "datastream",
            "sensor",
            "observed-property",
            "observation",
            "feature-of-interest",
        )
        for part in ("properties", "relations")
    ),
    "datamodel/entity-control-information/common-control-information",
)

STREAMS = {"Datastreams", "MultiDatastreams"}
EXPECTED = {
    "Things": ({"name", "description", "properties"}, {"Locations", "HistoricalLocations", *STREAMS}),
    "Locations": (
        {"name", "description", "encodingType", "location", "properties"},
        {"Things", "HistoricalLocations"},
    ),
    "HistoricalLocations": ({"time"}, {"Thing", "Locations"}),
    "Datastreams": (
        {
            "name",
            "description",
            "observationType",
            "unitOfMeasurement",
            "observedArea",
            "phenomenonTime",
            "resultTime",
            "properties",
        },
        {"Thing", "Sensor", "ObservedProperty", "Observations"},
    ),
    "Sensors": ({"name", "description", "encodingType", "metadata", "properties"}, STREAMS),
    "ObservedProperties": ({"name", "definition", "description", "properties"}, STREAMS),
    "Observations": ({"phenomenonTime", "result", "resultTime"}, {"Datastream", "FeatureOfInterest"}),
    "FeaturesOfInterest": ({"name", "description", "encodingType", "feature", "properties"}, {"Observations"}),
}
STAPLUS_LINKS = {
    "Things": {"Party"},
    "Datastreams": {"Party", "License", "Campaigns"},
    "Observations": {"ObservationGroups", "Subjects", "Objects"},
}
ONLY_1_1 = {"Locations", "Datastreams", "Sensors", "ObservedProperties", "FeaturesOfInterest"}


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_every_type_has_its_properties_links_and_control_information(api: Api, version: str) -> None:
    await api.post("/Things", whole_thing(observations=1))
    api = Api(api.client, version)
    for set_name, (properties, links) in EXPECTED.items():
        if version == "v1.0" and set_name in ONLY_1_1:
            properties = properties - {"properties"}
        if version == "v1.1":
            links = links | STAPLUS_LINKS.get(set_name, set())
        [entity] = await api.values(f"/{set_name}")
        address = api.url(f"/{set_name}(1)")
        assert entity.pop("@iot.id") == 1
        assert entity.pop("@iot.selfLink") == address
        for link in links:
            assert entity.pop(f"{link}@iot.navigationLink") == f"{address}/{link}"
            await api.get(f"/{set_name}(1)/{link}", 204 if link in ("Party", "License") else 200)
        assert set(entity) == properties, set_name


async def test_ids_are_numbers_from_1_never_reused(api: Api) -> None:
    assert [await api.post("/Things", thing(str(n))) for n in range(3)] == [1, 2, 3]
    await api.delete("/Things(3)")
    assert await api.post("/Things", thing("again")) == 4
    assert await api.post("/Sensors", sensor()) == 1


async def test_names_are_not_unique(api: Api) -> None:
    assert await api.post("/Things", thing("Twin")) != await api.post("/Things", thing("Twin"))


@pytest.mark.parametrize("encoding", ["application/geo+json", "application/vnd.geo+json"])
@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_geojson_is_returned_as_sent(api: Api, encoding: str, version: str) -> None:
    api = Api(api.client, version)
    as_feature = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [-114.06, 51.05]}}
    one = await api.post("/Locations", location(encodingType=encoding, location=as_feature))
    answer = await api.get(f"/Locations({one})")
    assert answer["encodingType"] == encoding
    assert answer["location"] == as_feature


@pytest.mark.parametrize("encoding", ["application/geo+json", "application/vnd.geo+json"])
async def test_invalid_geojson_is_refused(api: Api, encoding: str) -> None:
    bad = {"type": "Point", "coordinates": ["x", 2]}
    await api.post("/Locations", location(encodingType=encoding, location=bad), status=400)
    await api.post("/FeaturesOfInterest", feature(encodingType=encoding, feature={"type": "Pint"}), status=400)


async def test_any_other_encoding_keeps_any_json(api: Api) -> None:
    one = await api.post("/Locations", location(encodingType="text/plain", location={"street": ["A", 1, None]}))
    assert (await api.get(f"/Locations({one})"))["location"] == {"street": ["A", 1, None]}
    for encoding, metadata in (
        ("http://www.opengis.net/doc/IS/SensorML/2.0", {"id": 1}),
        ("text/html", "<p>"),
        ("anything", [1, 2]),
    ):
        one = await api.post("/Sensors", sensor(encodingType=encoding, metadata=metadata))
        assert (await api.get(f"/Sensors({one})"))["metadata"] == metadata


async def test_extra_keys_within_json_survive(api: Api) -> None:
    await api.post("/Things", whole_thing())
    assert (await api.get("/Datastreams(1)"))["unitOfMeasurement"]["abbreviation"] == "C"


@pytest.mark.parametrize(
    "result", [3, 3.0, 0.1, -7, "hot", "", True, False, None, {"a": [1, {"b": None}]}, [1, "x"], 2**60, 1e300]
)
@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_results_keep_their_json_type(api: Api, result: object, version: str) -> None:
    await api.post("/Things", whole_thing())
    await api.patch("/Datastreams(1)", {"observationType": f"{OM}OM_Observation"})
    one = await Api(api.client, version).post("/Observations", {"result": result, "Datastream": {"@iot.id": 1}})
    answer = await api.get(f"/Observations({one})")
    assert json.dumps(answer["result"]) == json.dumps(result)
    assert answer["resultTime"] is None


async def test_times_are_answered_in_utc_with_the_digits_they_need(api: Api) -> None:
    await api.post("/Things", whole_thing())
    sent = {
        "2026-01-01T01:00:00+01:00": "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.250Z": "2026-01-01T00:00:00.25Z",
        "2026-01-01T00:00:00.123456Z": "2026-01-01T00:00:00.123456Z",
        "2026-01-01T00:00:00Z/2026-01-01T01:00:00Z": "2026-01-01T00:00:00Z/2026-01-01T01:00:00Z",
    }
    for given, expected in sent.items():
        body = {
            "result": 1,
            "phenomenonTime": given,
            "resultTime": "2026-01-01T02:00:00+02:00",
            "validTime": "2026-01-01T00:00:00Z/2026-01-02T00:00:00Z",
            "parameters": {"flag": True},
            "resultQuality": "good",
            "Datastream": {"@iot.id": 1},
        }
        answer = await api.get(f"/Observations({await api.post('/Observations', body)})")
        assert answer["phenomenonTime"] == expected
        assert answer["resultTime"] == "2026-01-01T00:00:00Z"
        assert answer["validTime"] == "2026-01-01T00:00:00Z/2026-01-02T00:00:00Z"
        assert answer["parameters"] == {"flag": True}
        assert answer["resultQuality"] == "good"


async def test_an_observation_without_time_gets_the_time_of_arrival(api: Api) -> None:
    await api.post("/Things", whole_thing())
    await api.post("/Observations", {"result": 1, "Datastream": {"@iot.id": 1}})
    assert (await api.get("/Observations(1)"))["phenomenonTime"].startswith("2026-01-01T00:00:00.")


async def test_a_datastream_tells_the_extent_of_its_observations(api: Api) -> None:
    await api.post("/Things", whole_thing(observations=3))
    await api.post(
        "/Observations",
        {
            "result": 1,
            "resultTime": "2026-02-01T00:00:00Z",
            "phenomenonTime": "2026-01-01T00:00:01Z",
            "Datastream": {"@iot.id": 1},
            "FeatureOfInterest": feature(),
        },
    )
    answer = await api.get("/Datastreams(1)")
    assert answer["phenomenonTime"] == "2026-01-01T00:00:00Z/2026-01-01T00:00:02Z"
    assert answer["resultTime"] == "2026-02-01T00:00:00Z/2026-02-01T00:00:00Z"
    # The bounding box of (16.4, 48.2), the Thing's place, and (1, 2).
    assert answer["observedArea"]["type"] == "Polygon"
    [ring] = answer["observedArea"]["coordinates"]
    assert {tuple(corner) for corner in ring} == {(1.0, 2.0), (16.4, 2.0), (16.4, 48.2), (1.0, 48.2)}
    assert ring[0] == ring[-1]


async def test_links_lead_both_ways(api: Api) -> None:
    await api.post("/Things", whole_thing(observations=1))
    await api.post("/Sensors", sensor("unused"))
    await api.post("/ObservedProperties", observed_property("unused"))
    for path, name in (
        ("/Datastreams(1)/Thing", "Oven"),
        ("/Datastreams(1)/Sensor", "Oven sensor"),
        ("/Datastreams(1)/ObservedProperty", "Oven property"),
        ("/HistoricalLocations(1)/Thing", "Oven"),
        ("/Observations(1)/Datastream", "Oven temperature"),
        ("/Observations(1)/FeatureOfInterest", "Oven place"),
    ):
        assert (await api.get(path))["name"] == name
    for path in (
        "/Things(1)/Datastreams",
        "/Things(1)/Locations",
        "/Things(1)/HistoricalLocations",
        "/Locations(1)/Things",
        "/Locations(1)/HistoricalLocations",
        "/HistoricalLocations(1)/Locations",
        "/Datastreams(1)/Observations",
        "/Sensors(1)/Datastreams",
        "/ObservedProperties(1)/Datastreams",
        "/FeaturesOfInterest(1)/Observations",
    ):
        assert await api.ids(path) == [1], path
    assert await api.ids("/Sensors(2)/Datastreams") == []
    assert datastream()["name"]
