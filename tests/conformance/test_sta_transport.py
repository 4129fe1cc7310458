"""How requests and answers travel: codings of content (RFC 9110, 8.4 and 12.5.3), entity tags, addresses behind a
proxy, signs in addresses, `Accept`."""

import gzip
import json
import zlib
from typing import Any

import httpx
import pytest
import zstandard
from sensorthings_api import Api, Lab, thing, whole_thing

from twinstack.core import limits
from twinstack.sensorthings.compression import accepted
from twinstack.sensorthings.http import SensorThingsApp
from twinstack.sensorthings.store import Store

INFLATE = {
    "gzip": lambda raw: gzip.decompress(raw),
    "zstd": lambda raw: zstandard.ZstdDecompressor().decompressobj().decompress(raw),
}
DEFLATE = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "identity": bytes,
}


async def raw(api: Api, path: str, method: str = "GET", **headers: str) -> tuple[httpx.Headers, bytes]:
    """The answer as it came over the line."""
    async with api.client.stream(method, api.url(path), headers=headers) as answer:
        assert answer.status_code == 200
        return answer.headers, b"".join([part async for part in answer.aiter_raw()])


# --- answers --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_answers_above_a_size_are_compressed(api: Api, coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.post("/Things", whole_thing("A", 60))
    for path in ("/Observations?$top=50", "/Observations?$top=60&$resultFormat=CSV"):
        plain_headers, plain = await raw(api, path, **{"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain_headers
        for rows, on_loop in ((1000, 1 << 20), (7, 10)):  # at once and in parts, on the loop and in a thread
            monkeypatch.setattr(limits, "PAGE_ROWS_MAX", rows)
            monkeypatch.setattr(limits, "COMPRESS_ON_LOOP_BYTES_MAX", on_loop)
            headers, body = await raw(api, path, **{"Accept-Encoding": coding})
            assert headers["content-encoding"] == coding
            assert headers["vary"] == "accept-encoding"
            assert INFLATE[coding](body) == plain
            assert len(body) < len(plain) / 3
    headers, body = await raw(api, "/Things(1)/name", **{"Accept-Encoding": coding})
    assert "content-encoding" not in headers
    assert body == b'{"name":"A"}'
    headers, body = await raw(api, "/Observations?$top=50", "HEAD", **{"Accept-Encoding": coding})
    assert (headers["content-encoding"], body) == (coding, b"")


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (b"", None),
        (b"identity", None),
        (b"br", None),
        (b"gzip", "gzip"),
        (b"GZIP, deflate, br", "gzip"),
        (b"gzip, zstd", "zstd"),
        (b"zstd;q=0.5, gzip;q=0.8", "gzip"),
        (b"*", "zstd"),
        (b"zstd;q=0, *", "gzip"),
        (b"gzip;q=0", None),
        (b"gzip;q=x", None),
        (b",;,=", None),
    ],
)
def test_the_best_liked_coding(header: bytes, coding: str | None) -> None:
    assert accepted(header) == coding


# --- bodies ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("coding", DEFLATE)
async def test_bodies_may_be_compressed(api: Api, coding: str) -> None:
    body = DEFLATE[coding](json.dumps(thing("T" * 100)).encode())
    answer = await api.send("POST", "/Things", content=body, headers={"Content-Encoding": coding})
    assert answer.status_code == 201, answer.text
    array = {"Datastream": {"@iot.id": 1}, "components": ["phenomenonTime", "result"], "dataArray": []}
    body = DEFLATE[coding](json.dumps([array]).encode())
    answer = await api.send("POST", "/CreateObservations", content=body, headers={"Content-Encoding": coding})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("path", ["/Things", "/CreateObservations", "/$batch"])
async def test_a_bomb_is_413_and_never_inflated(api: Api, coding: str, path: str) -> None:
    bomb = DEFLATE[coding](b" " * (64 * limits.MIB))
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    assert len(bomb) < 100_000
    assert (await api.send("POST", path, content=bomb, headers=headers)).status_code == 413
    many = gzip.compress(b" " * 1000) * 9000
    headers["Content-Encoding"] = "gzip"
    assert (await api.send("POST", path, content=many, headers=headers)).status_code == 413


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
async def test_a_damaged_body_is_400(api: Api, coding: str) -> None:
    whole = DEFLATE[coding](json.dumps(thing("T" * 100)).encode())
    for body in (b"nonsense", whole[:-5], whole[: len(whole) // 2], whole + b"more"):
        answer = await api.send("POST", "/Things", content=body, headers={"Content-Encoding": coding})
        assert answer.status_code == 400, (body, answer.text)
    assert await api.values("/Things") == []


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "compress", "nonsense"])
async def test_other_codings_are_415(api: Api, coding: str) -> None:
    answer = await api.send("POST", "/Things", json=thing(), headers={"Content-Encoding": coding})
    assert answer.status_code == 415


# --- entity tags ----------------------------------------------------------------------------------------------------
async def test_entity_tags(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 1))
    for path in ("/Things(1)", "/Observations(1)", "/Datastreams(1)/Thing", "/Datastreams(1)?$expand=Observations"):
        tag = (await api.send("GET", path)).headers["etag"]
        for given, status in (
            (tag, 304),
            (tag.removeprefix("W/"), 304),
            (f'"x", {tag}', 304),
            ("*", 304),
            ('"x"', 200),
        ):
            answer = await api.send("GET", path, headers={"If-None-Match": given})
            assert answer.status_code == status
            assert answer.headers["etag"] == tag
            assert (answer.content == b"") is (status == 304)
    tag = (await api.send("GET", "/Datastreams(1)")).headers["etag"]
    await api.post("/Observations", {"result": 1, "Datastream": {"@iot.id": 1}})
    answer = await api.send("GET", "/Datastreams(1)", headers={"If-None-Match": tag})
    assert answer.status_code == 200  # its phenomenonTime is another one
    stale = {"If-Match": 'W/"99"'}
    assert (await api.send("PATCH", "/Things(1)", json={"name": "B"}, headers=stale)).status_code == 412
    body = {"name": "B", "description": "x"}
    assert (await api.send("PUT", "/Things(1)", json=body, headers=stale)).status_code == 412
    assert (await api.send("DELETE", "/Things(1)", headers=stale)).status_code == 412
    good = {"If-Match": (await api.send("GET", "/Things(1)")).headers["etag"]}
    assert (await api.send("PATCH", "/Things(1)", json={"name": "B"}, headers=good)).status_code == 200
    assert (await api.send("PATCH", "/Things(1)", json={"name": "C"}, headers=good)).status_code == 412


# --- addresses ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "image/png;q=0.1", "nonsense", ""])
async def test_the_answer_is_json_whatever_accept_says(api: Api, accept: str) -> None:
    for path in ("", "/Things", "/Nothing"):
        answer = await api.send("GET", path, headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json"
        assert answer.status_code in (200, 404)


async def test_signs_in_queries(api: Api) -> None:
    for name in ("a b", "a+b", "it's", "50%"):
        await api.post("/Things", thing(name))
    for query, names in (
        ("$filter=name+eq+'a+b'", ["a b"]),
        ("$filter=name%20eq%20'a%2Bb'", ["a+b"]),
        ("$filter=name eq 'a b'", ["a b"]),
        ("%24filter=name%20eq%20%27a%20b%27", ["a b"]),
        ("$filter=name eq 'it''s'", ["it's"]),
        ("$filter=name+eq+'50%25'", ["50%"]),
    ):
        address = f"http://twin.example:1908/v1.1/Things?{query}".replace(" ", "%20")
        request = api.client.build_request("GET", address)
        request.url = request.url.copy_with(raw_path=b"/v1.1/Things?" + address.partition("?")[2].encode())
        answer = await api.client.send(request)
        assert [one["name"] for one in answer.json()["value"]] == names, query


@pytest.mark.parametrize("public", ["https://data.example/twin", "https://data.example/twin/"])
async def test_addresses_behind_a_proxy_are_public(store: Store, public: str) -> None:
    app = SensorThingsApp(store, base_url=public, decide=lambda *_: None)

    async def as_lab(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "twinstack.actor": Lab()}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(as_lab), base_url="http://10.0.0.7:1908") as client:
        for path in ("/v1.1", "/v1.1/"):
            root = (await client.get(path)).json()
            assert root["value"][0]["url"].startswith("https://data.example/twin/v1.1/")
        created = await client.post("/v1.1/Things", json=whole_thing("A", 3))
        assert created.headers["location"] == "https://data.example/twin/v1.1/Things(1)"
        for path in (
            "/v1.1/Things?$expand=Datastreams",
            "/v1.1/Observations?$top=1",
            "/v1.1/Things/$ref",
            "/v1.1/Observations?$resultFormat=dataArray",
            "/v1.1/api",
        ):
            text = (await client.get(path)).text
            assert "https://data.example/twin/v1.1" in text
            assert "10.0.0.7" not in text
        array = {
            "Datastream": {"@iot.id": 1},
            "components": ["phenomenonTime", "result"],
            "dataArray": [["2026-01-01T00:00:00Z", 1]],
        }
        [url] = (await client.post("/v1.1/CreateObservations", json=[array])).json()
        assert url == "https://data.example/twin/v1.1/Observations(4)"
        requests = [{"id": "1", "method": "GET", "url": "Things(1)"}]
        batch = (await client.post("/v1.1/$batch", json={"requests": requests})).json()
        assert batch["responses"][0]["body"]["@iot.selfLink"] == "https://data.example/twin/v1.1/Things(1)"
    app.close()
