"""OGC 18-088, 9.3.2 and 10: status codes. Bad input is 4xx, never 5xx, whatever it is."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sensorthings_api import Api, Lab, whole_thing

from twinstack.core import limits
from twinstack.core.errors import PermissionDenied
from twinstack.sensorthings.http import SensorThingsApp
from twinstack.sensorthings.store import Store

REQUIREMENTS = ("request-data/status-code", "request-data/query-status-code")


@pytest.mark.parametrize("query", ["$search=x", "$format=json", "$levels=3"])
@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_options_of_odata_that_are_not_served_are_501(api: Api, query: str, version: str) -> None:
    await Api(api.client, version).get(f"/Things?{query}", 501)


@pytest.mark.parametrize("query", ["$nope=1", "$Filter=1", "$", "$top=1&$top=2", "$filter=%FF", "$filter=%00", "%FF=1"])
async def test_other_dollar_names_and_bad_texts_are_400(api: Api, query: str) -> None:
    answer = await api.get(f"/Things?{query}", 400)
    assert set(answer) == {"code", "type", "message"}


async def test_options_without_dollar_are_ignored(api: Api) -> None:
    await api.get("/Things?top=-1&filter=x&&=&a")


async def test_known_resources_that_are_not_served_are_501(api: Api) -> None:
    await api.get("/$metadata", 501)


async def test_the_policy_is_asked_about_every_request(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 1))
    api.asked.clear()
    await api.get("")
    await api.get("/Things")
    await api.get("/Things(1)/Datastreams")
    await api.get("/Things(1)/name")
    await api.post("/Datastreams(1)/Observations", {"result": 1})
    await api.patch("/Things(1)", {"name": "x"})
    await api.put("/Things(1)", {"name": "x", "description": "y"})
    await api.delete("/Things(1)")
    assert api.asked == [
        ("read", "/"),
        ("read", "Things"),
        ("read", "Things(1)"),
        ("read", "Things(1)"),
        ("create", "Datastreams(1)"),
        ("write", "Things(1)"),
        ("write", "Things(1)"),
        ("delete", "Things(1)"),
    ]


async def test_a_denied_request_is_403_and_does_nothing(store: Store) -> None:
    def deny(actor: Any, action: str, target: str) -> None:
        raise PermissionDenied(f"{action} {target} is not allowed.")

    app = SensorThingsApp(store, base_url=None, decide=deny)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x/v1.1") as client:
        for method in ("GET", "POST", "HEAD"):
            answer = await client.request(method, "/Things", json={"name": "a", "description": "b"})
            assert answer.status_code == 403
        assert (await client.get("/Things(1)")).status_code == 403
    app.close()
    with store.reader() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM thing").scalar() == 0


async def test_a_query_that_takes_too_long_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.post("/Things", whole_thing("A", 300))
    monkeypatch.setattr(limits, "STATEMENT_TIMEOUT_MS", 20)
    slow = "contains(Datastream/Thing/Datastreams/Observations/Datastream/Observations/phenomenonTime,'x')"
    answer = await api.send("GET", "/Observations", params={"$filter": slow})
    assert answer.status_code == 400
    slow = "Datastream/Observations/Datastream/Observations/result eq 'nothing'"
    answer = await api.send("GET", "/Observations", params={"$filter": slow, "$count": "true"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "$filter" in answer.json()["message"]
    monkeypatch.undo()
    await api.get("/Observations?$filter=result eq 1")


async def test_too_many_slow_queries_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "READS_WAITING_MAX", 0)
    await api.get("/Things?$filter=name eq 'x'", 503)


async def test_a_failure_of_ours_is_500_in_the_same_shape(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinstack.sensorthings import http

    def broken(*_: Any) -> str:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(http, "service_root", broken)
    answer = await api.get("", 500)
    assert answer["code"] == 500
    assert "secret" not in answer["message"]


@pytest.mark.parametrize("host", ["a b", "x/y", "<script>", ""])
async def test_a_host_that_is_none_makes_no_links(store: Store, host: str) -> None:
    app = SensorThingsApp(store, base_url=None, decide=lambda *_: None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        answer = await client.get("http://x/v1.1/Things", headers={"Host": host})
    app.close()
    assert answer.status_code == (200 if host == "" else 400)


# --- whatever a client sends ----------------------------------------------------------------------------------------
WORDS = """/ // ( ) (1) (2) (-1) ('1') (99999999999999999999) Things Datastreams Observations Thing name properties
    $value $ref $count %00 %FF %2F .. ' , ; = & ? $filter= $top= $skip= $orderby= $select= $expand= $count=true
    $skiptoken= $search= name eq ne not and or in null true 'x' '' 1 -1 1e999 9223372036854775808 id @iot.id
    result phenomenonTime length( contains( now() duration'PT1H' 2026-01-01T00:00:00Z 2026-99-99 geography'POINT(1 2)'
    add sub mul div mod %20 + asc desc Datastreams/Observations/result Datastreams($top=1) ÄÖ 🙂 \\ " * { } [ ]"""
PIECES = st.sampled_from(WORDS.split())
URLS = st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=12).map("".join)
KEYS = st.sampled_from(
    ["name", "description", "result", "Datastream", "phenomenonTime", "properties", "@iot.id", "Locations", "location"]
)
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(min_value=-(2**70), max_value=2**70),
        st.floats(allow_nan=False),
        st.text(max_size=5),
        st.sampled_from(["\x00", "\ud800", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z/..", {"@iot.id": 1}]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)


def _encoded(value: Any) -> bytes:
    return json.dumps(value, allow_nan=True).encode()


@pytest.fixture
def anything(store: Store) -> Any:
    app = SensorThingsApp(store, base_url=None, decide=lambda *_: None)
    loop = asyncio.new_event_loop()

    def call(method: str, path: bytes, body: bytes = b"", content_type: bytes = b"application/json") -> int:
        raw, _, query = path.partition(b"?")
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": raw.decode("latin-1"),
            "raw_path": raw,
            "query_string": query,
            "twinstack.actor": Lab(),
            "headers": [(b"host", b"x"), (b"content-type", content_type)],
        }
        sent: list[Any] = []
        body_read: list[bool] = []

        async def receive() -> Any:
            if sent or body_read:
                await asyncio.Event().wait()  # a client that stays
            body_read.append(True)
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        loop.run_until_complete(app(scope, receive, send))
        return int(sent[0]["status"])

    assert call("POST", b"/v1.1/Things", _encoded(whole_thing("A", 3))) == 201
    yield call
    loop.close()
    app.close()


ANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ALLOWED = {501, 503}


@ANY
@given(url=URLS, method=st.sampled_from(["GET", "HEAD", "OPTIONS", "DELETE", "TRACE"]))
def test_no_address_is_a_5xx(anything: Any, url: str, method: str) -> None:
    for version in ("v1.0", "v1.1"):
        path = f"/{version}/{url}".encode("utf-8", "surrogatepass")
        status = anything(method, re.sub(rb"[\s]", b"%20", path))
        assert status < 500 or status in ALLOWED


@ANY
@given(
    body=st.one_of(JSON.map(_encoded), st.binary(max_size=30)),
    target=st.sampled_from(["Things", "Observations", "Things(1)/Locations", "Datastreams(1)/Observations", "Sensors"]),
)
def test_no_posted_body_is_a_5xx(anything: Any, body: bytes, target: str) -> None:
    for version in ("v1.0", "v1.1"):
        assert anything("POST", f"/{version}/{target}".encode(), body) < 500


@ANY
@given(
    body=st.one_of(
        JSON.map(_encoded),
        st.lists(
            st.fixed_dictionaries(
                {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"])},
                optional={
                    "path": st.sampled_from(
                        ["", "/name", "/properties", "/properties/a/0", "/-", "x", "/properties/-"]
                    ),
                    "from": st.sampled_from(["/name", "/properties", "", "/x"]),
                    "value": JSON,
                },
            ),
            max_size=4,
        ).map(_encoded),
    ),
    target=st.sampled_from(
        ["Things(1)", "Observations(1)", "Datastreams(1)", "Locations(1)", "Observations(1)/Datastream"]
    ),
    method=st.sampled_from(["PATCH", "PUT"]),
    content_type=st.sampled_from([b"application/json", b"application/json-patch+json"]),
)
def test_no_update_is_a_5xx(anything: Any, body: bytes, target: str, method: str, content_type: bytes) -> None:
    for version in ("v1.0", "v1.1"):
        assert anything(method, f"/{version}/{target}".encode(), body, content_type) < 500


async def test_the_query_of_a_client_that_left_ends(api: Api, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.post("/Things", whole_thing("A", 600))
    app = SensorThingsApp(store, base_url=None, decide=lambda *_: None)
    slow = b"$count=true&$filter=Datastream/Observations/Datastream/Observations/result%20eq%20-1"
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/v1.1/Observations", "query_string": slow}
    scope |= {"headers": [(b"host", b"x")], "twinstack.actor": Lab()}
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(0.2)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    # Without the disconnect it would take until the statement time-out.
    await asyncio.wait_for(app(scope, receive, send), limits.STATEMENT_TIMEOUT_MS / 1000 / 2)
    assert sent[0]["status"] == 503
    app.close()
