"""Traps that other SensorThings servers fell into, each on a real server: 500s for bad input, connections dropped,
memory without bound, half entities, several features instead of one, queries of clients that have gone."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from server_under_test import Server, server, wait_until

MIB = 1 << 20
OBSERVATIONS = 600
PUBLIC_URL = "https://data.example/twin"
OM = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement"


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("traps") / "data", TWINSTACK_PUBLIC_URL=PUBLIC_URL) as running:
        running.post("/v1.1/Things", whole_thing("First", OBSERVATIONS))
        yield running


def whole_thing(name: str, observations: int = 0, streams: int = 1) -> dict[str, Any]:
    place = {"type": "Point", "coordinates": [1, 2]}
    stream = {
        "name": f"{name} stream",
        "description": "-",
        "observationType": OM,
        "unitOfMeasurement": {"name": "-", "symbol": "-", "definition": "-"},
        "Sensor": {"name": f"{name} sensor", "description": "-", "encodingType": "text/html", "metadata": "-"},
        "ObservedProperty": {"name": f"{name} property", "description": "-", "definition": "-"},
        "Observations": [{"result": n} for n in range(observations)],
    }
    location = {"name": "L", "description": "-", "encodingType": "application/geo+json", "location": place}
    return {"name": name, "description": "-", "Locations": [location], "Datastreams": [stream] * streams}


def created(on: Server, path: str, body: Any) -> int:
    answer = on.call("POST", path, json=body)
    assert answer.status_code == 201, answer.text
    return int(answer.headers["location"].rpartition("(")[2][:-1])


def test_addresses_are_those_that_clients_of_a_proxy_can_follow(on: Server) -> None:
    for slash in ("", "/"):
        urls = [one["url"] for one in on.get(f"/v1.1{slash}")["value"]]
        assert urls[0] == f"{PUBLIC_URL}/v1.1/Things"
    assert on.get("/v1.0/Things(1)")["@iot.selfLink"] == f"{PUBLIC_URL}/v1.0/Things(1)"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1.1/Observations?$filter=result eq 1 div 0", 200),
        ("/v1.1/Observations?$filter=result div 0 gt 1&$orderby=1 div 0", 200),
        ("/v1.1/Observations?$filter=result mod 0 eq 0", 200),
        ("/v1.1/Things?$skip=-1", 400),
        ("/v1.1/Things?$top=-1", 400),
        ("/v1.1/Things(9223372036854775807)", 404),
        ("/v1.1/Things(9223372036854775808)", 404),
        ("/v1.1/Things(99999999999999999999999999)", 404),
        ("/v1.1/Things?$filter=id eq 9223372036854775808", 200),
        ("/v1.1/Things?$filter=name eq '%00'", 400),
        ("/v1.1/Things(%00)", 400),
        ("/v1.1/Things?$filter=name eq", 400),
        ("/v1.1/Things?$filter=nope eq 1", 400),
        ("/v1.1/Things?$filter=((((", 400),
        ("/v1.1/Things?$filter=nope(name)", 400),
        ("/v1.1/Things?$filter=name eq 'x' and", 400),
        ("/v1.1/Observations?$filter=phenomenonTime gt 2026-01-01T00:00:00Z/..", 400),
        ("/v1.1/Observations?$filter=phenomenonTime lt '..'", 400),
        ("/v1.1/Things?$expand=Datastreams($expand=Observations($top=1);$top=1", 400),
    ],
)
def test_bad_input_is_an_answer_and_the_connection_stays(on: Server, path: str, status: int) -> None:
    line = http.client.HTTPConnection("127.0.0.1", on.port, timeout=60)
    for _ in range(2):
        line.request("GET", quote(path, safe="/?$&=(),;%"), headers={"Host": f"localhost:{on.port}"})
        peer = line.sock
        answer = line.getresponse()
        body = answer.read()
        # A division by zero is no value: it equals nothing (200), or the expression is refused.
        assert answer.status == status or (status == 200 and answer.status == 400), body
        assert line.sock is peer, "the connection was closed"
    line.close()


@pytest.mark.parametrize(
    "body",
    [
        {"result": "\u0000"},
        {"result": {"a": ["\u0000"]}},
        {"result": 1, "phenomenonTime": "2026-01-01T00:00:00Z/.."},
        {"result": 1, "phenomenonTime": "../2026-01-01T00:00:00Z"},
        {"result": 1, "phenomenonTime": "2026-01-01T00:00:00Z/"},
        {"result": 1, "validTime": "2026-01-01T00:00:00Z/.."},
        {"result": 1, "FeatureOfInterest": {"@iot.id": 2**70}},
    ],
)
def test_bad_observations_are_400(on: Server, body: dict[str, Any]) -> None:
    answer = on.call("POST", "/v1.1/Observations", json={"Datastream": {"@iot.id": 1}, **body})
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"code", "type", "message"}


def test_unknown_components_of_a_data_array_are_400(on: Server) -> None:
    array = {"Datastream": {"@iot.id": 1}, "components": ["phenomenonTime", "result", "nope"], "dataArray": []}
    assert on.call("POST", "/v1.1/CreateObservations", json=[array]).status_code == 400


def test_nested_expands_are_heard(on: Server) -> None:
    path = (
        "/v1.1/Things(1)?$expand=Datastreams($select=name;$expand=Observations($top=2;$select=result;$orderby=id desc))"
    )
    [stream] = on.get(path)["Datastreams"]
    assert set(stream) >= {"name", "Observations"}
    assert "description" not in stream
    assert stream["Observations"] == [{"result": OBSERVATIONS - 1}, {"result": OBSERVATIONS - 2}]


def test_an_expand_without_top_is_bounded(on: Server) -> None:
    """A page of Observations for each Datastream, whatever there is; the server stays as large as it was."""
    body = whole_thing("Wide", 120, streams=12)
    on.post("/v1.1/Things", body)
    process = psutil.Process(on.process.pid)
    paths = [
        "/v1.1/Things?$expand=Datastreams/Observations/FeatureOfInterest",
        "/v1.1/Observations?$top=1000&$expand=Datastream($expand=Observations)",
        "/v1.1/Things?$expand=Datastreams($expand=Observations($expand=Datastream($expand=Observations)))",
    ]
    on.call("GET", paths[0])
    before = process.memory_info().rss
    for path in paths:
        answer = on.call("GET", path)
        assert answer.status_code in (200, 400), answer.text[:200]
        if answer.status_code == 400:
            assert "$top" in answer.json()["message"]
    assert process.memory_info().rss - before < 200 * MIB


def test_a_put_without_a_name_changes_nothing(on: Server) -> None:
    thing = created(on, "/v1.1/Things", {"name": "Named", "description": "d", "properties": {"a": 1}})
    before = on.get(f"/v1.1/Things({thing})")
    assert on.call("PUT", f"/v1.1/Things({thing})", json={"description": "x"}).status_code == 400
    assert on.call("PUT", f"/v1.1/Things({thing})", json={"name": None, "description": "x"}).status_code == 400
    assert on.get(f"/v1.1/Things({thing})") == before


def test_twelve_first_posts_at_once_make_one_feature(on: Server) -> None:
    thing = created(on, "/v1.1/Things", whole_thing("Parallel"))
    [stream] = on.get(f"/v1.1/Things({thing})/Datastreams")["value"]
    body = {"result": 1, "Datastream": {"@iot.id": stream["@iot.id"]}}
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: on.call("POST", "/v1.1/Observations", json=body), range(12)))
    assert [answer.status_code for answer in answers] == [201] * 12
    path = f"/v1.1/Datastreams({stream['@iot.id']})/Observations?$expand=FeatureOfInterest($select=id)"
    found = on.get(path)["value"]
    assert len(found) == 12
    assert len({one["FeatureOfInterest"]["@iot.id"] for one in found}) == 1


SLOW = "Datastream/Observations/Datastream/Observations/result eq -1"


def asked(on: Server, target: str, body: bytes = b"", method: str = "GET") -> socket.socket:
    line = socket.create_connection(("127.0.0.1", on.port), timeout=60)
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost:{on.port}\r\nContent-Type: application/json\r\n"
    line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return line


def test_queries_of_clients_that_have_gone_end(on: Server) -> None:
    """Twelve would hold the reading threads for three time-outs of ten seconds; all of them leave."""
    target = f"/v1.1/Observations?$count=true&$filter={quote(SLOW)}"
    batch = {"requests": [{"id": str(n), "method": "GET", "url": f"Observations?$filter={SLOW}"} for n in range(3)]}
    lines = [asked(on, target) for _ in range(6)]
    lines += [asked(on, f"{target}&$resultFormat=CSV") for _ in range(3)]
    lines += [asked(on, "/v1.1/$batch", json.dumps(batch).encode(), "POST") for _ in range(3)]
    time.sleep(1)
    for line in lines:
        line.close()
    started = time.monotonic()
    answer = on.call("GET", "/v1.1/Observations?$filter=result eq 1&$top=1")
    assert answer.status_code == 200
    assert time.monotonic() - started < 20
    quiet = psutil.Process(on.process.pid)
    assert wait_until(lambda: quiet.cpu_percent(1.0) < 60, 60), "the server still works for nobody"


def test_a_large_answer_that_nobody_reads_holds_nothing(on: Server) -> None:
    """Slow readers of large answers: the others are served, and leaving ends the work."""
    for n in range(4):
        rows = [[f"2026-01-{n + 1:02}T00:{m // 60 % 60:02}:{m % 60:02}Z", m] for m in range(5_000)]
        array = {"Datastream": {"@iot.id": 1}, "components": ["phenomenonTime", "result"], "dataArray": rows}
        assert on.call("POST", "/v1.1/CreateObservations", json=[array]).status_code == 201
    lines = [asked(on, "/v1.1/Observations?$top=20000&$filter=result%20ge%200") for _ in range(8)]
    time.sleep(1)
    answer = on.call("GET", "/v1.1/Observations?$filter=result eq 1&$top=1")
    assert answer.status_code == 200
    for line in lines:
        line.close()
    quiet = psutil.Process(on.process.pid)
    assert wait_until(lambda: quiet.cpu_percent(1.0) < 60, 60)
