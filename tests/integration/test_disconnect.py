"""A client that leaves in the middle of its request is nobody's fault: the server says nothing and goes on."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from server_under_test import Server, instances, server

SYSTEM = "cz.leaves.plant.a"
DOORS = {
    f"/topics/{SYSTEM}.int": "application/vnd.kafka.json.v2+json",
    "/consumers/group": "application/vnd.kafka.v2+json",
    "/api/v1/apps": "application/json",
    f"/api/v1/systems/{SYSTEM}/instances": "application/json",
    "/api/log/v1/append": "application/x-msgpack",
    "/v1.0/Things": "application/json",
    "/v1.1/Observations": "application/json",
    "/v1.1/CreateObservations": "application/json",
    "/v1.1/$batch": "application/json",
}


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("leaves") / "data") as running:
        body = {"client": "c", "instances": instances()}
        running.post(f"/api/v1/systems/{SYSTEM}/instances", body, status=200)
        yield running


def leave(on: Server, path: str, content_type: str) -> None:
    with socket.create_connection(("127.0.0.1", on.port)) as line:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost:{on.port}\r\nContent-Type: {content_type}\r\n"
        line.sendall(head.encode() + b'Content-Length: 1000\r\n\r\n{"records": [')
        time.sleep(0.1)


def test_leaving_within_a_body_leaves_no_trace(on: Server) -> None:
    for path, content_type in DOORS.items():
        leave(on, path, content_type)
    time.sleep(0.5)
    assert on.call("GET", "/healthz").status_code == 200
    said = "".join(on.err) + "".join(file.read_text() for file in on.data.rglob("*.log") if file.is_file())
    assert "Traceback" not in said, said
    assert "ClientDisconnect" not in said
