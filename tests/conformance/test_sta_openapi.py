"""The OpenAPI document: valid, and true of the entities that the server answers."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from sensorthings_api import Api, whole_thing

from twinstack.sensorthings.versions import VERSIONS


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_the_document_is_valid(api: Api, version: str) -> None:
    document = await Api(api.client, version).get("/api")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert document["servers"] == [{"url": f"http://twin.example:1908/{version}"}]
    assert document["info"]["version"] == version[1:]
    for name, entity in VERSIONS[version].sets.items():
        assert {"get", "post"} <= set(document["paths"][f"/{name}"])
        assert {"get", "patch", "put", "delete"} <= set(document["paths"][f"/{name}({{id}})"])
        for p in entity.properties_of(VERSIONS[version].version):
            assert p.name in document["components"]["schemas"][entity.name]["properties"]
    assert ("properties" in document["components"]["schemas"]["Sensor"]["properties"]) is (version == "v1.1")


async def test_every_path_of_the_document_is_served(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 1))
    document = await api.get("/api")
    for path, item in document["paths"].items():
        answer = await api.send("OPTIONS", path.replace("{id}", "1"))
        assert answer.status_code == 204, path
        allowed = answer.headers["allow"].lower()
        assert all(method in allowed for method in item if method != "parameters"), path


async def test_answers_and_bodies_fit_their_schemas(api: Api) -> None:
    body = whole_thing("A", 2)
    await api.post("/Things", body)
    document = await api.get("/api")

    def check(name: str, value: Any) -> None:
        schema = {**document["components"]["schemas"][name], "components": document["components"]}
        Draft202012Validator(schema).validate(value)

    check("ThingCreate", body)
    check("ServiceRoot", await api.get(""))
    for name, entity in VERSIONS["v1.1"].sets.items():
        page = await api.get(f"/{name}")
        check(f"{entity.name}Set", page)
        for one in page["value"]:
            check(entity.name, one)
    check("Thing", await api.get("/Things(1)?$expand=Datastreams/Observations,Locations"))
    check("Problem", await api.get("/Things(99)", 404))
