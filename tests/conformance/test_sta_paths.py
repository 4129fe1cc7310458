"""OGC 18-088, 9.2: the service root, addresses of entities, sets, properties, values and references."""

import pytest
from sensorthings_api import Api, thing, whole_thing

from twinstack.sensorthings.model import ENTITY_TYPES

REQUIREMENTS = ("resource-path/resource-path-to-entities",)


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_service_root_lists_the_sets_with_addresses_that_work(api: Api, version: str, slash: str) -> None:
    root = await Api(api.client, version).get(slash)
    assert [item["name"] for item in root["value"]] == [t.set_name for t in ENTITY_TYPES if t.since <= version[1:]]
    for item in root["value"]:
        assert item["url"] == f"http://twin.example:1908/{version}/{item['name']}"
        await api.get(item["url"])
    assert ("serverSettings" in root) == (version == "v1.1")


async def test_json_is_answered_whatever_accept_says(api: Api) -> None:
    answer = await api.send("GET", "/Things", headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == "application/json"


async def test_paths_of_any_depth(api: Api) -> None:
    await api.post("/Things", whole_thing(observations=2))
    assert (await api.ids("/Datastreams(1)/Thing/Locations")) == [1]
    assert (await api.get("/Observations(2)/Datastream/Thing/Datastreams(1)/Observations(1)/FeatureOfInterest"))[
        "@iot.id"
    ] == 1
    deep = "/Things(1)" + "/Datastreams(1)/Thing" * 6 + "/Datastreams(1)/Observations"
    assert await api.ids(deep) == [1, 2]


async def test_an_entity_of_another_parent_is_not_found(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 1))
    await api.post("/Things", whole_thing("B", 1))
    await api.get("/Things(1)/Datastreams(2)", 404)
    await api.get("/Things(1)/Datastreams(2)/Observations", 404)
    assert await api.ids("/Things(2)/Datastreams(2)/Observations") == [2]


@pytest.mark.parametrize(
    "path",
    [
        "/Nothings",
        "/things",
        "/Things(9)",
        "/Things(9)/Datastreams",
        "/Things(0)",
        "/Things(-1)",
        "/Things(9223372036854775807)",
        "/Things(9223372036854775808)",
        "/Things(99999999999999999999999999999)",
        "/Things(1)/nope",
        "/Things(1)/Sensor",
        "/Things/name",
        "/Things/Datastreams",
        "/Things(1)/name/nope",
        "/Things(1)/properties/nope",
        "/Datastreams(1)/Thing(1)",
        "/Locations(1)/Things(5)",
        "/Things(1)/Datastreams(1)/Sensor/Datastreams(3)",
    ],
)
async def test_what_does_not_exist_is_404(api: Api, path: str) -> None:
    await api.post("/Things", whole_thing(properties={"a": 1}))
    answer = await api.get(path, 404)
    assert answer["code"] == 404
    assert answer["type"] == "error"
    assert answer["message"]


async def test_ids_may_be_quoted_and_percent_encoded(api: Api) -> None:
    await api.post("/Things", thing())
    for path in ("/Things(1)", "/Things('1')", "/Things%281%29", "/Things(%271%27)", "/Things(1)/"):
        assert (await api.get(path))["@iot.id"] == 1
    await api.get("/Things(one)", 400)


async def test_properties_and_values(api: Api) -> None:
    await api.post("/Things", whole_thing(observations=1, properties={"owner": {"name": "Sue", "age": 5}, "n": 1.5}))
    assert await api.get("/Things(1)/name") == {"name": "Oven"}
    assert await api.get("/Things(1)/id") == {"@iot.id": 1}
    assert await api.get("/Things(1)/properties/owner") == {"owner": {"name": "Sue", "age": 5}}
    assert await api.get("/Datastreams(1)/Thing/properties/owner/age") == {"age": 5}
    text = await api.send("GET", "/Things(1)/name/$value")
    assert (text.text, text.headers["content-type"]) == ("Oven", "text/plain; charset=utf-8")
    assert (await api.send("GET", "/Things(1)/properties/n/$value")).text == "1.5"
    assert (await api.send("GET", "/Things(1)/properties/owner/$value")).json() == {"name": "Sue", "age": 5}


async def test_a_null_property_is_204_and_a_null_result_time_is_told(api: Api) -> None:
    await api.post("/Things", whole_thing(observations=1))
    await api.get("/Things(1)/properties", 204)
    await api.get("/Things(1)/properties/$value", 204)
    assert await api.get("/Observations(1)/resultTime") == {"resultTime": None}
    await api.get("/Observations(1)/parameters", 204)


async def test_references_are_addresses(api: Api) -> None:
    await api.post("/Things", whole_thing(observations=2))
    assert await api.get("/Things(1)/Datastreams/$ref") == {
        "value": [{"@iot.selfLink": "http://twin.example:1908/v1.1/Datastreams(1)"}]
    }
    assert await api.get("/Datastreams(1)/Thing/$ref") == {"@iot.selfLink": "http://twin.example:1908/v1.1/Things(1)"}
    page = await api.get("/Observations/$ref?$top=1")
    assert await api.every("/Observations/$ref?$top=1") == [
        {"@iot.selfLink": f"http://twin.example:1908/v1.1/Observations({n})"} for n in (1, 2)
    ]
    assert "/Observations/$ref?" in page["@iot.nextLink"]


async def test_a_configured_address_is_the_base_of_links(store, tmp_path) -> None:
    import httpx

    from twinstack.sensorthings.http import SensorThingsApp

    app = SensorThingsApp(store, base_url="https://twin.example/sta/", decide=lambda *_: None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        root = (await client.get("http://10.0.0.1/v1.0")).json()
    app.close()
    assert root["value"][0]["url"] == "https://twin.example/sta/v1.0/Things"


async def test_head_answers_headers_and_options_the_methods(api: Api) -> None:
    await api.post("/Things", thing())
    get, head = await api.send("GET", "/Things(1)"), await api.send("HEAD", "/Things(1)")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))
    assert head.headers["etag"] == get.headers["etag"]
    options = await api.send("OPTIONS", "/Things(1)")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, PATCH, PUT, DELETE, OPTIONS")
    assert (await api.send("OPTIONS", "/Things")).headers["allow"] == "GET, HEAD, POST, OPTIONS"
    for method, path in (("DELETE", "/Things"), ("POST", "/Things(1)"), ("PATCH", "/Things"), ("PUT", "")):
        answer = await api.send(method, path, json={})
        assert answer.status_code == 405
        assert method not in answer.headers["allow"]


async def test_a_single_link_that_leads_nowhere_is_204(api: Api) -> None:
    await api.post("/Things", {"name": "A", "description": "a"})
    await api.get("/Things(1)/Party", 204)
    await api.get("/Things(1)/Party/displayName", 204)
    await api.get("/Things(2)/Party", 404)
