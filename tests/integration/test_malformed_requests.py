"""Malformed requests on a real server: whatever comes is answered below 500, on a connection that stays, and the
server's memory does not grow."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from server_under_test import Server, server

MIB = 1 << 20
REQUESTS = 2_000
PER_EXAMPLE = 20
GROWTH_BYTES_MAX = 64 * MIB
SERVED = frozenset({501})
"""The one 5xx that bad input may get: an option of OData that is known and not served."""


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("malformed") / "data") as running:
        stream = {
            "name": "Stream",
            "description": "-",
            "observationType": "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement",
            "unitOfMeasurement": {"name": "-", "symbol": "-", "definition": "-"},
            "Sensor": {"name": "S", "description": "-", "encodingType": "text/html", "metadata": "-"},
            "ObservedProperty": {"name": "P", "description": "-", "definition": "-"},
            "Observations": [{"result": n} for n in range(5)],
        }
        place = {"type": "Point", "coordinates": [1, 2]}
        location = {"name": "L", "description": "-", "encodingType": "application/geo+json", "location": place}
        body = {"name": "T", "description": "-", "Locations": [location], "Datastreams": [stream]}
        running.post("/v1.1/Things", body)
        yield running


class Line:
    """A connection kept open; it is an error when the server closes it without an answer."""

    def __init__(self, on: Server) -> None:
        self._on = on
        self._socket: socket.socket | None = None
        self.sent = 0

    def send(self, method: str, target: bytes, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
        line = self._socket or socket.create_connection(("127.0.0.1", self._on.port), timeout=60)
        fields = {"Host": f"localhost:{self._on.port}", "Content-Length": str(len(body)), **(headers or {})}
        head = b"".join(f"{name}: {value}\r\n".encode() for name, value in fields.items())
        line.sendall(method.encode() + b" " + target + b" HTTP/1.1\r\n" + head + b"\r\n" + body)
        answer = http.client.HTTPResponse(line, method=method)
        answer.begin()
        answer.read()
        self.sent += 1
        if answer.will_close:
            line.close()
            self._socket = None
        else:
            self._socket = line
        return answer.status


@pytest.fixture(scope="module")
def line(on: Server) -> Line:
    return Line(on)


# --- what is generated ----------------------------------------------------------------------------------------------
WORDS_TEXT = """/ // ( ) (1) (2) (-1) ('1') (99999999999999999999) (9223372036854775807) (9223372036854775808) Things
    Datastreams Observations Locations Thing name properties $value $ref $count $batch $metadata %00 %FF %C3%28 %2F ..
    ' , ; = & ? $filter= $top= $skip= $orderby= $select= $expand= $count=true $resultFormat=CSV
    $resultFormat=dataArray $resultFormat= $skiptoken= $search= $top=-1 $skip=-1 name eq ne not and or in null true 'x'
    '' 1 -1 0 1e999 9223372036854775808 id @iot.id result phenomenonTime length( contains( substring( now() div mod
    duration'PT1H' 2026-01-01T00:00:00Z 2026-99-99 2026-01-01T00:00:00Z/ ..  geography'POINT(1 2)' geo.distance(
    ';DROP%20TABLE%20thing;-- '%20OR%201=1-- ${7*7} {{7*7}} <script> %0d%0aX:%20y Datastreams/Observations/result
    Datastreams($top=1) Observations($expand=Datastream($expand= Ä 🙂 \\ " * { } [ ] %20 + asc desc"""
WORDS = WORDS_TEXT.split()
SETS = ["Things", "Locations", "Sensors", "ObservedProperties", "Datastreams", "Observations", "FeaturesOfInterest"]
OPTIONS = [
    "$filter=",
    "$orderby=",
    "$select=",
    "$expand=",
    "$top=",
    "$skip=",
    "$count=",
    "$skiptoken=",
    "$resultFormat=",
]
TEXTS = st.one_of(st.sampled_from(WORDS), st.text(max_size=4))
PIECES = st.lists(TEXTS, max_size=8).map("".join)
NAMES = (
    "name description result Datastream phenomenonTime resultTime properties @iot.id Locations location Thing Sensor "
    "encodingType metadata parameters components dataArray requests id method url body unitOfMeasurement"
)
KEYS = st.sampled_from(NAMES.split())
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**80), max_value=2**80),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        ["\x00", "\ud800", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z/..", "../2026-01-01", {"@iot.id": 1}, "$1"]
    ),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)
DEEP = [b"[" * 40_000, b"[" * 500 + b"]" * 500, b'{"name":' * 200 + b"1" + b"}" * 200]
BODIES = st.one_of(
    VALUES.map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda value: json.dumps([value]).encode()),
    st.binary(max_size=40),
    st.sampled_from([*DEEP, b"", b"\xff\xfe", b'{"name":"a","name":"b"}', b"NaN", b"\x00" * 9, gzip.compress(b"{}")]),
)
PARTS = st.tuples(st.sampled_from(["GET", "POST", "DELETE", "x"]), PIECES, BODIES)


def multipart(parts: list[tuple[str, str, bytes]]) -> bytes:
    texts = [
        b"--b\r\nContent-Type: application/http\r\nContent-ID: 1\r\n\r\n"
        + f"{method} {url} HTTP/1.1\r\n\r\n".encode("utf-8", "replace")
        + body
        for method, url, body in parts
    ]
    return b"\r\n".join([*texts, b"--b--"])


Request = tuple[str, bytes, bytes, dict[str, str]]


def target_of(version: str, path: str) -> bytes:
    """As a client writes it: signs that cannot stand in a request line are encoded, what is encoded stays."""
    return f"/{version}/{quote(path.encode('utf-8', 'replace'), safe='/()%?$&=;,+@:*!~')}".encode()


VERSIONS = st.sampled_from(["v1.0", "v1.1"])
ENTITIES = st.sampled_from([*(f"{name}(1)" for name in SETS), "Datastreams(1)/Thing", "Things(77)"])
READS: st.SearchStrategy[Request] = st.builds(
    lambda version, path, method: (method, target_of(version, path), b"", {}),
    VERSIONS,
    st.one_of(
        PIECES,
        st.builds(
            lambda name, option, text: f"{name}?{option}{text}", st.sampled_from(SETS), st.sampled_from(OPTIONS), PIECES
        ),
        st.builds(lambda name, text: f"{name}/{text}", ENTITIES, PIECES),
    ),
    st.sampled_from(["GET", "GET", "GET", "HEAD", "OPTIONS", "TRACE"]),
)
TYPES = st.sampled_from(
    ["application/json", "application/json-patch+json", "text/plain", "multipart/mixed; boundary=b", ""]
)
CODINGS = st.sampled_from(["", "", "", "gzip", "zstd", "br"])


def writing(version: str, target: str, method: str, body: bytes, kind: str, coding: str) -> Request:
    headers = {"Content-Type": kind, "If-Match": "*", **({"Content-Encoding": coding} if coding else {})}
    return method, target_of(version, target), body, headers


WRITES: st.SearchStrategy[Request] = st.one_of(
    st.builds(writing, VERSIONS, st.sampled_from(SETS), st.just("POST"), BODIES, TYPES, CODINGS),
    st.builds(writing, VERSIONS, ENTITIES, st.sampled_from(["PATCH", "PUT"]), BODIES, TYPES, CODINGS),
    st.builds(
        writing, VERSIONS, st.sampled_from(["CreateObservations", "$batch"]), st.just("POST"), BODIES, TYPES, CODINGS
    ),
    st.builds(
        lambda version, parts: (
            "POST",
            f"/{version}/$batch".encode(),
            multipart(parts),
            {"Content-Type": "multipart/mixed; boundary=b"},
        ),
        VERSIONS,
        st.lists(PARTS, max_size=3),
    ),
)


def test_two_thousand_malformed_requests_and_the_memory_is_flat(on: Server, line: Line) -> None:
    process = psutil.Process(on.process.pid)
    sizes: list[int] = []

    @settings(
        max_examples=REQUESTS // PER_EXAMPLE + 5,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.one_of(READS, WRITES), min_size=PER_EXAMPLE, max_size=PER_EXAMPLE))
    def attack(requests: list[Request]) -> None:
        for method, target, body, headers in requests:
            status = line.send(method, target, body, headers)
            assert status < 500 or status in SERVED, (status, method, target, body[:200], headers)
        sizes.append(process.memory_info().rss)

    attack()
    assert line.sent >= REQUESTS
    warm = max(sizes[: len(sizes) // 4])
    assert max(sizes) - warm < GROWTH_BYTES_MAX, [size // MIB for size in sizes]
    assert on.get("/v1.1/Things")["value"]
    said = "".join(on.err) + "".join(file.read_text() for file in on.data.rglob("*.log") if file.is_file())
    assert "Traceback" not in said, said[-4000:]


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /v1.1/Things(1)\x00 HTTP/1.1",
        b"GET /v1.1/\xff\xfe HTTP/1.1",
        b"GET /v1.1/Th ings HTTP/1.1",
        b"\x00\x01\x02",
    ],
)
def test_what_is_no_http_is_answered_too(on: Server, request_line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", on.port), timeout=60) as raw:
        raw.sendall(request_line + f"\r\nHost: localhost:{on.port}\r\n\r\n".encode())
        assert raw.recv(100).startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))
    on.get("/v1.1/Things")


def test_a_bomb_does_not_grow_the_server(on: Server, line: Line) -> None:
    process = psutil.Process(on.process.pid)
    bomb = gzip.compress(b" " * (256 * MIB))
    before = process.memory_info().rss
    for path in (b"/v1.1/Things", b"/v1.1/CreateObservations", b"/v1.1/$batch") * 3:
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        assert line.send("POST", path, bomb, headers) == 413
    assert process.memory_info().rss - before < GROWTH_BYTES_MAX


def test_schemathesis_finds_no_5xx(on: Server) -> None:
    """The operations of the OpenAPI document, with data that fits it. Links and properties are read the same way for
    every type: those of Datastreams stand for all."""
    schema = schemathesis.openapi.from_url(f"{on.url}/v1.1/api")
    checks = CHECKS.get_by_names(["not_a_server_error", "content_type_conformance", "response_schema_conformance"])
    called = 0

    def run(operation: Any) -> Callable[[], None]:
        @settings(
            max_examples=2,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy())
        def attack(case: Any) -> None:
            nonlocal called
            called += 1
            answer = case.call(timeout=60)
            if answer.status_code not in SERVED:
                case.validate_response(answer, checks=checks)

        return attack

    for result in schema.get_all_operations():
        operation = result.ok()
        one_for_all = operation.path.count("/") == 1 or operation.path.startswith("/Datastreams(")
        if operation.method != "delete" and one_for_all:  # what the others ask for stays
            run(operation)()
    assert called > 100
