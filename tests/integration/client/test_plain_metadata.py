"""`gost_servers` may name any SensorThings server: registration by name at one like FROST, one like GOST, and ours."""

from __future__ import annotations

import pytest
from tests.integration.other_server import OtherServer
from tests.integration.server_under_test import instances

from twinstack.client.http import HttpServer, parse_addresses
from twinstack.client.metadata import HttpMetadata
from twinstack.client.wiring import _without_version
from twinstack.core.errors import Unreachable

SYSTEM = "cz.icecars.iot4cps-wp5-CarFleet.Car1"
STREAM = f"{SYSTEM}.Station_1.Air Temperature"


def document():
    found = instances()
    point = {"type": "Point", "coordinates": [13.0, 47.8]}
    place = {"name": "here", "description": "-", "encodingType": "application/vnd.geo+json", "location": point}
    found["Things"]["station"]["Locations"] = [place]
    found["Sensors"]["thermometer"]["properties"] = {"serial": 7}
    return found


@pytest.fixture(params=["frost", "gost"])
def other(request):
    made = OtherServer(request.param, prefix="/FROST-Server" if request.param == "frost" else "")
    yield made
    made.close()


@pytest.fixture
def metadata(other):
    addresses, version = _without_version(parse_addresses(f"{other.url}/", "gost_servers"))
    made = HttpMetadata(HttpServer(addresses), SYSTEM, version)
    made.ping(5)
    yield made
    made.close()


def test_registering_twice_changes_nothing(other, metadata):
    first = metadata.register("car", document())
    assert set(first.statuses.values()) == {"created"}
    stream = first.datastreams["temperature"]
    assert (stream["name"], stream["observationType"].rsplit("/", 1)[-1]) == (STREAM, "OM_Measurement")
    assert stream["Thing"]["name"] == f"{SYSTEM}.Station_1"
    assert stream["ObservedProperty"]["name"] == f"{SYSTEM}.Air Temperature"
    assert other.data["Datastreams"][stream["@iot.id"]]["_Thing"] == first.things["station"]["@iot.id"]
    counts = {name: len(entities) for name, entities in other.data.items()}
    assert counts["Things"] == counts["Sensors"] == counts["Locations"] == counts["ObservedProperties"] == 1
    assert counts["Datastreams"] == 2
    del other.sent[:]
    again = metadata.register("car", document())
    assert set(again.statuses.values()) == {"unchanged"}
    assert {k: d["@iot.id"] for k, d in again.datastreams.items()} == {
        k: d["@iot.id"] for k, d in first.datastreams.items()
    }
    assert other.sent == []


def test_what_changed_is_sent_alone(other, metadata):
    metadata.register("car", document())
    del other.sent[:]
    changed = document()
    changed["Things"]["station"]["description"] = "another"
    changed["Sensors"]["thermometer"].update(description="d", metadata="m")
    changed["Things"]["station"]["Locations"][0]["description"] = "moved"
    changed["Datastreams"]["road"]["ObservedProperty"] = {"name": "Road", "description": "-", "definition": "-"}
    result = metadata.register("car", changed)
    assert result.statuses == {
        "Things.station": "changed",
        "Sensors.thermometer": "changed",
        "Datastreams.temperature": "unchanged",
        "Datastreams.road": "changed",
    }
    patched = [(path, body) for method, path, body in other.sent if method == "PATCH"]
    assert ("/Things(1)", {"description": "another"}) in patched
    assert ("/Locations(1)", {"description": "moved"}) in patched
    sensors = [body for path, body in patched if path.startswith("/Sensors")]
    assert sensors == [{"description": "d"}, {"metadata": "m"}]
    assert [b for p, b in patched if p == "/Datastreams(2)"] == [{"ObservedProperty": {"@iot.id": 2}}]


def test_of_equal_names_the_first_is_taken(other, metadata):
    thing = {"name": f"{SYSTEM}.Station_1", "description": "A station", "_Locations": []}
    for i in (4, 10, 11):
        other.data["Things"][i] = dict(thing)
    assert metadata.register("car", document()).things["station"]["@iot.id"] == 4


def test_a_moved_thing_gets_its_new_place(other, metadata):
    metadata.register("car", document())
    moved = document()
    moved["Things"]["station"]["Locations"][0]["name"] = "there"
    del other.sent[:]
    metadata.register("car", moved)
    ((method, path, body),) = other.sent
    assert (method, path, body["name"]) == ("POST", "/Things(1)/Locations", "there")


def test_streams_are_found_by_name_and_id(other, metadata):
    made = metadata.register("car", document()).datastreams["temperature"]["@iot.id"]
    found = metadata.find([STREAM, f"{SYSTEM}.nobody"])
    assert list(found) == [STREAM]
    assert found[STREAM]["Thing"]["name"] == f"{SYSTEM}.Station_1"
    assert metadata.get(made)["name"] == STREAM
    assert metadata.get(10_000) is None


def test_what_only_1_1_knows_is_not_sent_to_1_0(other, metadata):
    metadata.register("car", document())
    (sensor,) = other.data["Sensors"].values()
    assert ("properties" in sensor) == (other.style == "frost")


def test_the_version_of_the_address_is_taken_and_a_dead_server_is_named():
    for text, version in (("http://h:1/FROST-Server/v1.0", "v1.0"), ("h:1/v1.1/", "v1.1"), ("h:1", "v1.1")):
        addresses, found = _without_version(parse_addresses(text, "gost_servers"))
        assert (found, "v1" in addresses[0].url) == (version, False)
    other = OtherServer("frost")
    other.down = True
    metadata = HttpMetadata(HttpServer(parse_addresses(other.url, "gost_servers")), SYSTEM)
    with pytest.raises(Unreachable):
        metadata.ping(5)
    metadata.close()
    other.close()
