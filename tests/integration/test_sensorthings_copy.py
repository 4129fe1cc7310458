"""`sensorthings copy` from servers that answer like FROST and GOST, and from our own; cut off, killed, repeated."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest
import sqlalchemy as sa
from tests.integration.other_server import OtherServer
from tests.integration.server_under_test import instances, run, server

from twinstack.core.errors import InvalidInput, PermissionDenied, Unreachable
from twinstack.core.names import DEFAULT_SYSTEM
from twinstack.sensorthings.store import open_store, tables
from twinstack.sensorthings.store.values import result_value
from twinstack.sensorthings.transfer.copying import copy
from twinstack.sensorthings.transfer.source import Source, check_address

OM = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_"
POINT = {"type": "Point", "coordinates": [13.0, 47.8]}
STREAMS, EACH = 3, 230
RESULTS = [1, 2.5, "text", True, {"a": 1}]


def fill(other: OtherServer) -> None:
    """Two Things, three Datastreams, and a bit of what servers of others hold."""
    uuid = other.style == "frost-uuid"

    def key(kind: str, i: int):
        return f"{kind}-{i:04}'s" if uuid else i

    geo = "application/vnd.geo+json" if other.style == "gost" else "application/geo+json"
    data = other.data
    for i in (1, 2, 3):
        place = {"name": f"place {i}", "description": "", "encodingType": geo, "location": POINT}
        data["Locations"][key("l", i)] = place
    for i in (1, 2):
        more = {"properties": {"i": i}}
        data["Things"][key("t", i)] = {"name": f"Thing {i}", "description": "-", **more, "_Locations": [key("l", i)]}
        data["HistoricalLocations"][key("h", i)] = {
            "time": f"2026-01-0{i}T00:00:00.000Z",
            "_Thing": key("t", 1),
            "_Locations": [key("l", 3 if i == 2 else 1)],
        }
    sensor = {"name": "S", "encodingType": "application/pdf", "metadata": "http://example.org/s.pdf"}
    data["Sensors"][key("s", 1)] = sensor  # FROST lets the description be missing
    data["ObservedProperties"][key("p", 1)] = {"name": "P", "description": "-", "definition": "http://example.org/p"}
    feature = {"name": "F", "description": "-", "encodingType": geo, "feature": POINT}
    data["FeaturesOfInterest"][key("f", 1)] = feature
    data["FeaturesOfInterest"][key("f", 2)] = {**feature, "name": "never used"}
    for i in range(1, STREAMS + 1):
        data["Datastreams"][key("d", i)] = {
            "name": f"Stream {i}",
            "description": "-",
            "observationType": f"{OM}Observation",
            "unitOfMeasurement": {"name": "u", "symbol": "u", "definition": "-"},
            "_Thing": key("t", 1 + i % 2),
            "_Sensor": key("s", 1),
            "_ObservedProperty": key("p", 1),
        }
    for n in range(STREAMS * EACH):
        observe(other, n)


def observe(other: OtherServer, n: int) -> None:
    uuid = other.style == "frost-uuid"
    minute = f"{n // 60 % 24:02}:{n % 60:02}"
    other.data["Observations"][f"{(n * 7919) % 10_007:05}-o" if uuid else n + 1] = {
        "phenomenonTime": f"2026-01-{1 + n // 1440:02}T{minute}:00.000Z",
        "resultTime": None,
        "result": RESULTS[n % 5],
        "parameters": {"n": n},
        "_Datastream": f"d-{n % STREAMS + 1:04}'s" if uuid else n % STREAMS + 1,
        "_FeatureOfInterest": "f-0001's" if uuid else 1,
    }


@pytest.fixture(params=["frost", "frost-uuid", "gost"])
def other(request):
    made = OtherServer(request.param, prefix="/FROST-Server" if request.param != "gost" else "")
    fill(made)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path):
    made = open_store(f"sqlite:{tmp_path / 'store.sqlite'}")
    made.migrate()
    yield made
    made.close()


def take(store, other, **options):
    source = Source(other.url, allow_private=True, sleep=lambda s: None)
    try:
        return copy(store, source, **options)
    finally:
        source.close()


def table(store, name):
    found = tables.BY_NAME[name]
    with store.reader() as connection:
        return list(connection.execute(sa.select(found).order_by(*found.primary_key.columns)).mappings())


def history(store):
    """(Datastream's name, n of the parameters) -> times seen, and the results."""
    names = {row["id"]: row["name"] for row in table(store, "datastream")}
    rows = table(store, "observation")
    seen = Counter((names[row["datastream_id"]], row["extra"]["parameters"]["n"]) for row in rows)
    results = {row["extra"]["parameters"]["n"]: result_value(row["result"], row["kind"], row["extra"]) for row in rows}
    return seen, results


def complete(store, n=STREAMS * EACH):
    seen, results = history(store)
    assert seen == Counter({(f"Stream {i % STREAMS + 1}", i): 1 for i in range(n)})
    assert results == {i: RESULTS[i % 5] for i in range(n)}


def test_everything_comes_once(store, other):
    copied = take(store, other)
    assert copied.refused == {}
    assert copied.created["Observations"] == STREAMS * EACH
    complete(store)
    assert [row["name"] for row in table(store, "system")] == [DEFAULT_SYSTEM]
    things = {row["name"]: row["id"] for row in table(store, "thing")}
    places = {row["id"]: row["name"] for row in table(store, "location")}
    at = {(row["thing_id"], places[row["location_id"]]) for row in table(store, "thing_location")}
    assert at == {(things["Thing 1"], "place 1"), (things["Thing 2"], "place 2")}
    past = table(store, "historical_location")
    assert [row["thing_id"] for row in past] == [things["Thing 1"]] * 2
    linked = [places[row["location_id"]] for row in table(store, "historical_location_location")]
    assert linked == ["place 1", "place 3"]
    assert {row["name"] for row in table(store, "feature")} == {"F", "never used"}
    streams = {row["name"]: row for row in table(store, "datastream")}
    assert streams["Stream 1"]["thing_id"] == things["Thing 2"]
    assert [row["n"] for row in table(store, "datastream_stat")] == [EACH] * STREAMS


def test_repeating_it_brings_what_is_new_and_what_changed(store, other):
    take(store, other)
    again = take(store, other)
    assert (again.created, again.changed, again.refused) == ({}, {}, {})
    complete(store)
    observe(other, STREAMS * EACH)
    next(iter(other.data["Things"].values()))["description"] = "moved"
    third = take(store, other)
    assert (third.created, third.changed, third.refused) == ({"Observations": 1}, {"Things": 1}, {})
    complete(store, STREAMS * EACH + 1)
    assert table(store, "thing")[0]["description"] == "moved"


def test_cut_answers_and_a_busy_server_are_asked_again(store, other):
    other.cut_every, other.busy_every = 5, 7
    assert take(store, other).refused == {}
    complete(store)


@pytest.mark.parametrize("requests", [3, 9, 14])
def test_a_server_that_dies_is_an_error_and_the_copy_goes_on_later(store, other, requests):
    other.down_after = requests
    with pytest.raises(Unreachable):
        take(store, other)
    other.down_after = None
    take(store, other)
    complete(store)


def test_observations_are_asked_for_behind_the_last_one(store):
    other = OtherServer("frost")
    fill(other)
    take(store, other)
    del other.asked[:]
    take(store, other)
    behind = [path for path in other.asked if "/Observations?" in path and "Datastreams" in path]
    assert len(behind) == STREAMS
    assert not any("skip" in path for path in behind)
    other.close()


def test_what_a_registered_system_may_not_hold_is_refused_by_itself(store):
    system = "at.srfg.iot.Station"
    store.create_system(system).result()
    other = OtherServer("frost")
    fill(other)
    other.data["Datastreams"][1]["observationType"] = f"{OM}Measurement"
    other.data["Locations"][3]["location"] = {"type": "Nonsense"}
    copied = take(store, other, system=system)
    numbers = sum(type(RESULTS[n % 5]) in (int, float) for n in range(0, STREAMS * EACH, STREAMS))
    assert copied.refused["Observations"] == EACH - numbers
    assert copied.refused["Locations"] == 1
    assert copied.refused["HistoricalLocations"] == 1  # it was at that place
    assert any("Locations(3)" in reason for reason in copied.reasons)
    assert {row["log_key"] for row in table(store, "datastream")} == {
        f"{system}.Thing {1 + i % 2}.Stream {i}" for i in (1, 2, 3)
    }
    other.close()


def test_addresses_that_nobody_should_be_sent_to_are_refused():
    for host in ("169.254.169.254", "0.0.0.0", "224.0.0.1", "fd00:ec2::254", "::ffff:169.254.169.254"):
        with pytest.raises(PermissionDenied):
            check_address(host, 80, allow_private=True)
    for host in ("127.0.0.1", "10.1.2.3", "192.168.0.1", "::1", "localhost"):
        with pytest.raises(PermissionDenied, match="allow-private"):
            check_address(host, 80, allow_private=False)
    assert check_address("8.8.8.8", 443, allow_private=False) == "8.8.8.8"
    with pytest.raises(Unreachable):
        check_address("no-such-host.invalid", 80, allow_private=True)


def test_what_is_no_server_is_said_so(store, tmp_path):
    for url in ("ftp://x", "http://", "http://127.0.0.1:99999", "http://127.0.0.1/?x=1"):
        with pytest.raises(InvalidInput, match="no address"):
            Source(url, allow_private=True, sleep=lambda s: None)
    other = OtherServer("frost", prefix="/somewhere")
    source = Source(f"http://127.0.0.1:{other.port}", allow_private=True, sleep=lambda s: None)
    with pytest.raises(InvalidInput, match="no SensorThings server"):
        copy(store, source)
    other.down = True
    with pytest.raises(Unreachable):
        copy(store, source)
    source.close()
    other.close()


def test_the_command_killed_and_repeated_and_our_own_server_as_source(tmp_path):
    with server(tmp_path / "from") as on:
        document = instances()
        on.post("/api/v1/systems/cz.icecars.x.Car1/instances", {"client": "c", "instances": document}, 200)
        thing = {
            "name": "free",
            "description": "-",
            "Locations": [{"name": "l", "description": "-", "encodingType": "application/geo+json", "location": POINT}],
            "Datastreams": [
                {
                    "name": "numbers",
                    "description": "-",
                    "observationType": f"{OM}Observation",
                    "unitOfMeasurement": {},
                    "Sensor": {"name": "S", "description": "", "encodingType": "text/html", "metadata": "-"},
                    "ObservedProperty": {"name": "P", "description": "", "definition": "-"},
                    "Observations": [
                        {"result": i, "phenomenonTime": f"2026-01-01T00:00:{i:02}Z", "parameters": {"n": i}}
                        for i in range(30)
                    ],
                }
            ],
        }
        on.post("/v1.1/Things", thing)
        seen = [{"@iot.id": one["@iot.id"]} for one in on.get("/v1.1/Observations?$top=2&$orderby=id")["value"]]
        common = {"description": "-", "creationTime": "2026-03-01T00:00:00Z", "termsOfUse": "-"}
        party = on.post("/v1.1/Parties", {"role": "individual", "displayName": "Sue"})
        on.call("PATCH", "/v1.1/Things(2)", json={"Party": {"@iot.id": party["@iot.id"]}})
        relation = {"role": "sameAs", "Subject": seen[0], "Object": seen[1]}
        on.post("/v1.1/ObservationGroups", {"name": "g", "Observations": seen, "Relations": [relation], **common})
        path = tmp_path / "to.sqlite"
        arguments = ("sensorthings", "copy", f"{on.url}/v1.1", "--store", f"sqlite:{path}", "--json")
        refused = run(*arguments)
        assert (refused.returncode, "--allow-private" in refused.stderr) == (4, True)
        killed = run(*arguments, "--allow-private", TWINSTACK_FAILPOINT="store.after_commit:6")
        assert killed.returncode == -signal.SIGKILL
        done = run(*arguments, "--allow-private")
        assert done.returncode == 0, done.stderr
        copied = json.loads(done.stdout)
        assert copied["version"] == "v1.1"
    store = open_store(f"sqlite:{path}")
    try:
        assert [row["n"] for row in table(store, "datastream_stat")] == [0, 0, 30]
        seen, results = history(store)
        assert seen == Counter({("numbers", i): 1 for i in range(30)})
        assert results == {i: i for i in range(30)}
        assert len(table(store, "thing")) == 2
        assert len(table(store, "historical_location")) == 1
        assert len(table(store, "feature")) == 1
        first, second = (row["id"] for row in table(store, "observation")[:2])
        assert [row["observation_id"] for row in table(store, "group_observation")] == [first, second]
        assert [(row["subject_id"], row["object_id"]) for row in table(store, "relation")] == [(first, second)]
        assert len(table(store, "group_relation")) == 1
        assert [row["party_id"] for row in table(store, "thing")] == [None, 1]
    finally:
        store.close()
