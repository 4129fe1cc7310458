"""Received copies: lists and counts leave them out; they open by id, and a system sees its own."""

from typing import Any

import pytest
from sensorthings_api import Api, thing, whole_thing

SOURCE, TARGET = "cz.icecars.fleet.Car1", "at.datahouse.analytics.Main"


@pytest.fixture
async def shared(api: Api, store) -> Api:
    """Datastream 1 of SOURCE with two Observations, its copy 2 at TARGET with one, and a Thing of nobody."""
    await store.create_system(SOURCE)
    await store.create_system(TARGET)
    answer = await api.send("POST", "/Things", json=whole_thing("Car", 2), headers={"Twinstack-System": SOURCE})
    assert answer.status_code == 201, answer.text
    await store.ensure_copies(SOURCE, TARGET)
    await api.post("/Things", thing("nobody's"))
    return api


async def listed(api: Api, path: str, system: str | None = None) -> Any:
    headers = {} if system is None else {"Twinstack-System": system}
    answer = await api.send("GET", path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_lists_and_counts_leave_copies_out(shared: Api) -> None:
    for set_name, count in (("Things", 2), ("Datastreams", 1), ("Sensors", 1), ("Observations", 2)):
        answer = await listed(shared, f"/{set_name}?$count=true")
        assert answer["@iot.count"] == len(answer["value"]) == count, set_name


async def test_a_system_sees_its_own_with_what_it_received(shared: Api) -> None:
    source = await listed(shared, "/Datastreams?$count=true", SOURCE)
    target = await listed(shared, "/Datastreams?$count=true&$expand=Thing", TARGET)
    assert source["@iot.count"] == target["@iot.count"] == 1
    [copy] = target["value"]
    assert copy["@iot.id"] != source["value"][0]["@iot.id"]
    assert copy["Thing"]["name"] == "Car"
    assert (await listed(shared, "/Observations?$count=true", SOURCE))["@iot.count"] == 2
    assert (await listed(shared, "/Observations?$count=true", TARGET))["@iot.count"] == 0
    assert [t["name"] for t in (await listed(shared, "/Things", SOURCE))["value"]] == ["Car"]
    answer = await shared.send("GET", "/Things", headers={"Twinstack-System": "no.such.system.here"})
    assert answer.status_code == 400


async def test_copies_open_by_id_and_cannot_be_written(shared: Api) -> None:
    [copy] = (await listed(shared, "/Datastreams", TARGET))["value"]
    path = f"/Datastreams({copy['@iot.id']})"
    assert (await shared.get(path))["name"] == copy["name"]
    assert (await shared.get(f"{path}/Thing"))["name"] == "Car"
    await shared.get(f"{path}/Observations")
    await shared.patch(path, {"name": "x"}, 403)
    await shared.delete(path, 403)
