from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from twinstack.core import limits
from twinstack.platform.policy import Mode
from twinstack.web.guard import Guard, body_limit, host_name
from twinstack.web.requests import Requests

TOKEN = "secret-of-this-start"
seen: list[dict[str, Any]] = []


async def echo(scope, receive, send) -> None:
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    seen.append({"actor": scope["twinstack.actor"], "size": size})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def client(mode: Mode = Mode.OPEN, peer: str = "127.0.0.1", requests: Requests | None = None) -> httpx.AsyncClient:
    seen.clear()
    guard = Guard(echo, mode=mode, requests=requests or Requests(), hosts=("twin.example",), token=TOKEN)
    transport = httpx.ASGITransport(app=guard, client=(peer, 5000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:1908")


async def test_a_local_request_passes_with_its_actor_trace_and_headers() -> None:
    requests = Requests()
    answer = await client(requests=requests).get("/api/v1/systems")
    assert answer.status_code == 200
    assert seen[0]["actor"].kind == "lab"
    assert len(answer.headers["twinstack-trace"]) == 16
    assert answer.headers["content-security-policy"].startswith("default-src 'self'; object-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert requests.count == {("/api/v1", "GET", 200): 1}


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "1908", "", "127.0.0.2:1908", "[::2]:1908"])
async def test_a_host_that_is_not_ours_is_misdirected(host: str) -> None:
    answer = await client().get("/", headers={"Host": host})
    assert answer.status_code == 421
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["trace"]) == ("misdirected", answer.headers["twinstack-trace"])
    assert problem["fix"]
    assert seen == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1908", "127.0.0.1:1908", "[::1]:1908", "twin.example:80"])
async def test_our_own_hosts_pass(host: str) -> None:
    assert (await client().get("/", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"])
async def test_forwarded_headers_are_refused_in_lab(name: str) -> None:
    answer = await client().get("/", headers={name: "127.0.0.1"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forwarded")
    assert seen == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1909"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:1908", "Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_foreign_page_changes_nothing(method: str, headers: dict[str, str]) -> None:
    answer = await client().request(method, "/topics/x", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    assert seen == []


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost:1908"}, {"Sec-Fetch-Site": "same-origin"}])
async def test_own_pages_and_programs_may_change(headers: dict[str, str]) -> None:
    assert (await client().post("/topics/x", headers=headers)).status_code == 200


async def test_reading_from_a_foreign_page_is_left_to_the_browser() -> None:
    assert (await client().get("/", headers={"Origin": "http://evil.example"})).status_code == 200


async def test_a_peer_elsewhere_is_denied_whatever_it_sends() -> None:
    async with client(peer="10.1.2.3") as remote:
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}):
            answer = await remote.get("/", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert seen == []


async def test_without_lab_nobody_is_let_in_but_the_servers_own_children() -> None:
    async with client(mode=Mode.UP) as local:
        assert (await local.get("/")).status_code == 403
        assert (await local.get("/", headers={"Authorization": "Bearer wrong"})).status_code == 403
        assert (await local.post("/api/log/v1/ping", headers={"Authorization": f"Bearer {TOKEN}"})).status_code == 200
    assert [s["actor"].kind for s in seen] == ["worker"]


async def chunks(n: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(n):
        yield b"x" * size


async def test_a_body_over_the_limit_is_413_told_or_counted() -> None:
    async with client() as local:
        told = await local.post("/api/v1/apps", content=b"x" * (limits.BODY_BYTES_MAX + 1))
        counted = await local.post("/api/v1/apps", content=chunks(17, limits.BODY_BYTES_MAX // 16))
        fits = await local.post("/api/v1/apps", content=chunks(16, limits.BODY_BYTES_MAX // 16))
    assert (told.status_code, counted.status_code, fits.status_code) == (413, 413, 200)
    assert json.loads(counted.content)["code"] == "too_large"
    assert [s["size"] for s in seen] == [limits.BODY_BYTES_MAX]


async def test_a_door_that_catches_everything_does_not_answer_for_a_body_that_was_cut_off() -> None:
    async def door(scope, receive, send) -> None:
        try:
            await echo(scope, receive, send)
        except Exception:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"failed"})

    requests = Requests()
    guard = Guard(door, mode=Mode.OPEN, requests=requests)
    transport = httpx.ASGITransport(app=guard, client=("127.0.0.1", 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:1908") as local:
        answer = await local.post("/v1.1/Observations", content=chunks(17, limits.BODY_BYTES_MAX // 16))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert requests.count == {("/v1.1", "POST", 413): 1}


def test_limits_by_path_and_names_of_hosts() -> None:
    assert body_limit("/api/log/v1/commit") == limits.LOG_COMMIT_BYTES_MAX
    assert body_limit("/v1.1/CreateObservations") == body_limit("/v1.1/$batch") == limits.UPLOAD_BYTES_MAX
    assert body_limit("/v1.1/Observations") == limits.BODY_BYTES_MAX
    assert [host_name(h) for h in ("a:1", "a", "[::1]:1", "[::1]")] == ["a", "a", "[::1]", "[::1]"]
