"""Our client with metadata elsewhere: at a plain SensorThings server, and at ours as if it were one."""

from __future__ import annotations

from tests.integration.other_server import OtherServer
from tests.integration.server_under_test import instances

from twinstack import DigitalTwinClient
from twinstack.client.http import HttpServer, parse_addresses
from twinstack.client.plain import PlainRegistration, PlainServer
from twinstack.core.instances import load_instances

SYSTEM = "at.srfg.plain.Station"


def test_a_client_registers_at_a_plain_server_and_produces_through_ours(on):
    on.post("/api/v1/systems", {"name": SYSTEM})
    other = OtherServer("frost", prefix="/FROST-Server")
    try:
        with DigitalTwinClient(
            "station", SYSTEM, f"{other.url}/v1.1", kafka_rest_server=f"localhost:{on.port}"
        ) as client:
            assert client.register(instances()).count("created") == 4
            assert client.register(instances()).count("unchanged") == 4
            client.produce("temperature", 21.5).wait(30)
            client.register_existing({"Datastreams": {"t": {"Thing": "Station_1", "name": "Air Temperature"}}})
            client.produce("t", 22.5).wait(30)
    finally:
        other.close()
    values = [record["value"] for record in on.records(f"{SYSTEM}.int")]
    assert [value["result"] for value in values] == [21.5, 22.5]
    assert {value["Datastream"]["name"] for value in values} == {f"{SYSTEM}.Station_1.Air Temperature"}


def test_our_own_server_as_a_plain_one(on):
    system = "at.srfg.plain.Other"
    on.post("/api/v1/systems", {"name": system})
    server = HttpServer(parse_addresses(f"localhost:{on.port}", "gost_servers"))
    for version in ("v1.1", "v1.0"):
        run = PlainRegistration(PlainServer(server, version))
        run.run(load_instances(instances(), system))
        statuses = {one["status"] for one in (*run.things.values(), *run.sensors.values(), *run.datastreams.values())}
        assert statuses == {"created" if version == "v1.1" else "unchanged"}
    server.close()
    (thing,) = on.get(f"/v1.1/Things?$filter=name eq '{system}.Station_1'&$expand=Datastreams")["value"]
    assert len(thing["Datastreams"]) == 2
