"""What the clients of the original stack send and need: plain `/v1.0`, the first page, the entity in every answer."""

import asyncio
from typing import Any

import httpx
from sensorthings_api import OM, Api, sensor, thing, whole_thing


async def test_the_check_of_the_server(api: Api) -> None:
    answer = await api.old().send("GET", "/Things")
    assert answer.status_code == 200
    assert answer.json() == {"value": []}


async def test_lists_hold_200_rows_a_page(api: Api) -> None:
    # Together, so that they share commits.
    await asyncio.gather(*(api.post("/Things", whole_thing(f"T{n}")) for n in range(201)))
    for set_name in ("Things", "Sensors", "ObservedProperties", "Datastreams"):
        page = await api.old().values(f"/{set_name}")
        assert len(page) == 200
        assert all(isinstance(e["@iot.id"], int) and e["name"] for e in page)


async def create(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(f"http://twin.example:1908/v1.0/{path}", json=body)
    assert answer.is_success, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def test_the_registration_of_a_client(api: Api) -> None:
    client = api.client
    made = await create(client, "Things", thing("station.Thing", properties={"a": 1}))
    device = await create(client, "Sensors", sensor("station.Sensor"))
    assert (made["name"], device["name"]) == ("station.Thing", "station.Sensor")
    quantity = await create(
        client, "ObservedProperties", {"name": "Temperature", "definition": "https://example.org", "description": "."}
    )
    body = {
        "name": "station.Thing.temperature",
        "description": "of the station",
        "observationType": f"{OM}OM_Measurement",
        "unitOfMeasurement": {"name": "C", "symbol": "C", "definition": "ucum:Cel"},
        # Linked by id, and a whole entity as it was returned.
        "Thing": {"@iot.id": made["@iot.id"]},
        "Sensor": {"@iot.id": device["@iot.id"]},
        "ObservedProperty": quantity,
    }
    stream = await create(client, "Datastreams", body)
    assert stream["@iot.id"] == 1
    assert stream["name"] == body["name"]
    assert stream["observationType"] == body["observationType"]

    for path, changes in (
        ("Things(1)", {"description": "new", "properties": {"b": 2}}),
        ("Datastreams(1)", body | {"description": "new"}),
        ("Sensors(1)", {"description": "new"}),
        ("Sensors(1)", {"metadata": "new"}),
    ):
        answer = await client.patch(f"http://twin.example:1908/v1.0/{path}", json=changes)
        assert answer.status_code == 200
        assert answer.json() == await api.old().get(f"/{path}")
        assert answer.json()["description"] == "new"

    [seen] = await api.old().values("/Datastreams?$expand=Thing")
    assert seen["Thing"]["name"] == "station.Thing"
    [seen] = await api.old().values("/Datastreams?$expand=Sensors,Thing,ObservedProperty")
    assert seen["Sensor"]["name"] == "station.Sensor"
    assert seen["ObservedProperty"]["name"] == "Temperature"
    assert (await api.old().get("/Datastreams(1)"))["name"] == "station.Thing.temperature"
    await api.old().post("/Observations", {"result": 1.5, "Datastream": {"@iot.id": 1}}, status=400)


async def test_creating_a_registered_name_again(api: Api, store) -> None:
    system = "cz.icecars.iot4cps-wp5-CarFleet.Car1"
    await store.create_system(system)
    body = thing(f"{system}.Car", properties={"a": 1})
    one = await api.old().post("/Things", body)
    again = await api.old().send("POST", "/Things", json=body | {"description": "again"})
    assert again.status_code == 201
    assert again.json()["@iot.id"] == one
    assert again.json()["description"] == "again"
    refused = await api.send("POST", "/Things", json=body)
    assert refused.status_code == 409
    assert refused.headers["location"] == api.url(f"/Things({one})")
