"""OGC 18-088, clause 11 (15-078r6, clause 11): batches as `multipart/mixed`, and as JSON (OData JSON 4.01, 19)."""

import email
import email.message
import json
from collections.abc import Sequence
from typing import Any

import pytest
from sensorthings_api import Api, datastream, location, observed_property, sensor, thing, whole_thing

from twinstack.core import limits

REQUIREMENTS = ("batch-request/batch-request",)
Answers = list[tuple[int, dict[str, str], Any]]


# --- multipart ------------------------------------------------------------------------------------------------------
def part(method: str, url: str, body: Any = None, content_id: str | None = None, **headers: str) -> str:
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    if content_id:
        lines.append(f"Content-ID: {content_id}")
    lines += ["", f"{method} {url} HTTP/1.1", "Host: twin.example:1908"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", "" if body is None else json.dumps(body)])


def change_set(*parts: str, boundary: str = "changes") -> str:
    return f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n{joined(parts, boundary)}"


def joined(parts: Sequence[str], boundary: str) -> str:
    return "".join(f"--{boundary}\r\n{one}\r\n" for one in parts) + f"--{boundary}--"


async def send(api: Api, *parts: str, status: int = 200) -> list[Any]:
    """The answers of the parts: `(status, headers, JSON)`, of a change set a list of them."""
    headers = {"Content-Type": "multipart/mixed; boundary=batch_36522ad7"}
    answer = await api.send("POST", "/$batch", content=joined(parts, "batch_36522ad7").encode(), headers=headers)
    assert answer.status_code == status, answer.text
    if status != 200:
        return []
    return read(
        email.message_from_bytes(
            b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.content
        )
    )


def read(message: email.message.Message) -> list[Any]:
    assert message.get_content_type() == "multipart/mixed"
    answers: list[Any] = []
    for one in message.get_payload():
        if one.get_content_type() == "multipart/mixed":
            answers.append(read(one))
            continue
        assert one.get_content_type() == "application/http"
        assert one["Content-Transfer-Encoding"] == "binary"
        raw = one.get_payload(decode=True)
        line, _, rest = raw.partition(b"\r\n")
        head, _, body = rest.partition(b"\r\n\r\n")
        headers = dict(email.message_from_bytes(head).items())
        headers["Content-ID"] = one["Content-ID"]
        answers.append((int(line.split()[1]), headers, json.loads(body) if body.strip() else None))
    return answers


async def test_requests_are_answered_in_order_and_each_by_itself(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 2))
    answers = await send(
        api,
        part("GET", "/v1.1/Things(1)?$select=name"),
        part("GET", "Things?$filter=name eq 'A'&$select=name"),
        part("GET", "http://twin.example:1908/v1.1/Datastreams(1)/Observations?$count=true&$top=1"),
        part("GET", "/v1.0/Things(99)"),
        part("POST", "Things", thing("B")),
        part("POST", "Things", {"name": "no description"}),
        part("PATCH", "Things(2)", {"description": "new"}),
        part("GET", "Things(2)/description"),
        part("DELETE", "Things(2)"),
        part("GET", "Things(2)"),
        part("GET", "Things?$resultFormat=GeoJSON"),
    )
    assert [a[0] for a in answers] == [200, 200, 200, 404, 201, 400, 200, 200, 200, 404, 400]
    assert answers[0][2] == {"name": "A"}
    assert answers[1][2] == {"value": [{"name": "A"}]}
    assert answers[2][2]["@iot.count"] == 2
    assert set(answers[3][2]) == {"code", "type", "message"}
    assert answers[4][1]["Location"] == "http://twin.example:1908/v1.1/Things(2)"
    assert answers[7][2] == {"description": "new"}


async def test_a_change_set_links_what_it_creates_by_content_id(api: Api) -> None:
    stream = datastream(Sensor={"@iot.id": "$s"}, ObservedProperty={"@iot.id": "$p"})
    [created, (status, _, found)] = await send(
        api,
        change_set(
            part("POST", "Things", thing("T"), "t"),
            part("POST", "Sensors", sensor(), "s"),
            part("POST", "ObservedProperties", observed_property(), "p"),
            part("POST", "$t/Locations", location("L"), "l"),
            part("POST", "/v1.1/$t/Datastreams", stream, "d"),
            part("POST", "Observations", {"result": 7, "Datastream": {"@iot.id": "$d"}}, "o"),
            part("PATCH", "$t", {"properties": {"a": 1}}),
            part(
                "PATCH",
                "http://twin.example:1908/v1.1/$t",
                [{"op": "add", "path": "/properties/b", "value": 2}],
            ).replace("application/json", "application/json-patch+json"),
        ),
        part("GET", "$t?$expand=Locations,Datastreams/Observations&$select=name,properties"),
    )
    assert [a[0] for a in created] == [201] * 6 + [200] * 2
    assert [a[1]["Content-ID"] for a in created] == ["t", "s", "p", "l", "d", "o", None, None]
    assert created[4][1]["Location"].endswith("/Datastreams(1)")
    assert created[7][2]["properties"] == {"a": 1, "b": 2}
    assert status == 200
    assert (found["name"], found["properties"]) == ("T", {"a": 1, "b": 2})
    assert found["Locations"][0]["name"] == "L"
    assert found["Datastreams"][0]["Observations"][0]["result"] == 7


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (part("POST", "Things", {"name": "no description"}, "bad"), 400),
        (part("PATCH", "Things(99)", {"name": "x"}, "bad"), 404),
        (part("DELETE", "Things(99)", content_id="bad"), 404),
        (part("PATCH", "Things(1)", {"name": "x"}, "bad", If_Match='W/"77"'), 412),
        (part("GET", "Things(1)", content_id="bad"), 400),
        (part("POST", "$nothing/Datastreams", datastream(), "bad"), 400),
        (part("POST", "Observations", {"result": 1, "Datastream": {"@iot.id": "$t"}}, "bad"), 400),
        (part("POST", "Observations", {"result": 1, "Datastream": {"@iot.id": 99}}, "bad"), 400),
        (part("POST", "Nothing", {}, "bad"), 404),
        (part("POST", "Things(1)", {}, "bad"), 400),
        (part("DELETE", "Things", content_id="bad"), 400),
        (part("POST", "$batch", {}, "bad"), 400),
        (part("PATCH", "Things(1)", {"nope": 1}, "bad"), 400),
        (part("POST", "Things", "no object", "bad"), 400),
    ],
)
async def test_a_failed_change_set_is_undone_as_a_whole_and_the_others_run(api: Api, bad: str, status: int) -> None:
    await api.post("/Things", whole_thing("A", 1))
    before = await api.get("/Things(1)?$expand=Datastreams/Observations")
    answers = await send(
        api,
        change_set(
            part("POST", "Things", thing("undone"), "t"),
            part("PATCH", "Things(1)", {"name": "undone"}),
            part("DELETE", "Observations(1)"),
            bad,
            part("POST", "Sensors", sensor("undone")),
        ),
        part("POST", "Sensors", sensor("done")),
        part("GET", "$t"),
    )
    assert [a[0] for a in answers] == [status, 201, 400]
    assert answers[0][1]["Content-ID"] == "bad"
    assert "bad" in answers[0][2]["message"]
    assert await api.get("/Things(1)?$expand=Datastreams/Observations") == before
    assert [t["name"] for t in await api.values("/Things")] == ["A"]
    assert [s["name"] for s in await api.values("/Sensors?$filter=name ne 'A sensor'")] == ["done"]


async def test_what_a_failed_change_set_would_have_sent_to_the_log_is_not_sent(api: Api, store: Any) -> None:
    await api.post("/Things", whole_thing("A", 0))

    def waiting() -> int:
        return sum(len(store.outbox_read(shard, 0, 1000)) for shard in range(limits.OUTBOX_SHARDS))

    before = waiting()
    observation = part("POST", "Observations", {"result": 1, "Datastream": {"@iot.id": 1}})
    assert [a[0] for a in await send(api, change_set(observation, part("DELETE", "Things(9)")))] == [404]
    assert waiting() == before
    await send(api, change_set(observation))
    assert waiting() == before + 1


async def test_data_arrays_and_moves_in_a_change_set(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 1))
    array = [
        {
            "Datastream": {"@iot.id": 1},
            "components": ["phenomenonTime", "result"],
            "dataArray": [["2026-02-01T00:00:00Z", 1], ["never", 2]],
        }
    ]
    [done] = await send(
        api,
        change_set(
            part("POST", "Things(1)/Locations", location("new place")),
            part("POST", "CreateObservations", array),
            part("DELETE", "Sensors(1)"),
            part("POST", "Things", thing("gone at once"), "x"),
            part("DELETE", "$x"),
        ),
    )
    assert [a[0] for a in done] == [201, 201, 200, 201, 200]
    assert [text == "error" for text in done[1][2]] == [False, True]
    assert [p["name"] for p in await api.values("/Things(1)/Locations")] == ["new place"]
    assert len(await api.values("/Things(1)/HistoricalLocations")) == 2
    assert await api.values("/Datastreams") == []
    assert await api.ids("/Things") == [1]


async def test_ids_of_parts_outside_a_change_set_are_known_too(api: Api) -> None:
    answers = await send(
        api,
        part("POST", "Things", thing("T"), "1"),
        part("POST", "$1/Locations", location()),
        part("GET", "$1/Locations"),
    )
    assert [a[0] for a in answers] == [201, 201, 200]
    assert len(answers[2][2]["value"]) == 1


async def test_a_part_that_cannot_be_read_is_an_error_in_its_place(api: Api) -> None:
    answers = await send(
        api,
        "Content-Type: text/plain\r\n\r\nGET Things HTTP/1.1\r\n\r\n",
        "Content-Type: application/http\r\n\r\n???\r\n\r\n",
        "\r\nnothing",
        "no header\r\n\r\nGET Things HTTP/1.1\r\n\r\n",
        part("GET", "/v9/Things"),
        part("BREW", "Things"),
        part("GET", "Things", content_id="ok"),
        change_set(change_set(part("POST", "Things", thing()))),
        "Content-Type: multipart/mixed\r\n\r\n",
        change_set(),
    )
    assert [a[0] if isinstance(a, tuple) else a for a in answers] == [400, 400, 400, 400, 404, 405, 200, 400, 400, []]
    assert answers[6][1]["Content-ID"] == "ok"
    assert await api.values("/Things") == []


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("multipart/mixed", b"--a\r\n--a--", 400),
        ("multipart/mixed; boundary=a", b"", 400),
        ("multipart/mixed; boundary=a", b"--a\r\n", 400),
        ("multipart/mixed; boundary=b", b"--a\r\n--a--", 400),
        ("text/plain", b"--a--", 415),
        ("", b"", 415),
        ("application/json", b"", 400),
        ("application/json", b"[]", 400),
        ("application/json", b'{"requests": {}}', 400),
        ("application/json", b'{"requests": [1]}', 400),
        ("application/json", b'{"requests": [{"id": "1", "method": "GET"}]}', 400),
        ("application/json", b'{"requests": [{"url": "Things", "method": "GET"}]}', 400),
        ("application/json", b'{"requests": [{"id": "1", "url": "Things", "method": 1}]}', 400),
        (
            "application/json",
            b'{"requests": [{"id": "1", "url": "Things", "method": "GET", "headers": {"a": 1}}]}',
            400,
        ),
        ("application/json", b'{"requests": [{"id": "1", "url": "Things", "method": "GET", "dependsOn": "1"}]}', 400),
        ("application/json", b"\xff", 400),
    ],
)
async def test_a_batch_that_cannot_be_read_does_nothing(api: Api, content_type: str, body: bytes, status: int) -> None:
    answer = await api.send("POST", "/$batch", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "type", "message"}


async def test_a_batch_has_a_size(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_PARTS_MAX", 2)
    await send(api, part("GET", "Things"), part("GET", "Things"))
    await send(
        api, part("GET", "Things"), change_set(part("DELETE", "Things(1)"), part("DELETE", "Things(1)")), status=413
    )


async def test_empty_batches(api: Api) -> None:
    assert await send(api) == []
    assert await post_json(api) == {}


# --- JSON -----------------------------------------------------------------------------------------------------------
async def post_json(api: Api, *requests: dict[str, Any]) -> dict[str, Any]:
    answer = await api.send("POST", "/$batch", json={"requests": list(requests)})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return {one["id"]: one for one in answer.json()["responses"]}


def request(id_: str, method: str, url: str, **more: Any) -> dict[str, Any]:
    return {"id": id_, "method": method, "url": url, **more}


async def test_json_requests(api: Api) -> None:
    answers = await post_json(
        api,
        request("a", "post", "Things", body=thing("T")),
        request("b", "GET", "$a?$select=name"),
        request("c", "GET", "/v1.1/Nothing"),
        request("d", "patch", "Things(1)", body={"name": "U"}, headers={"If-Match": 'W/"99"'}),
        request("e", "GET", "Things?$resultFormat=CSV&$select=name"),
        request("f", "GET", "Things(1)/name/$value"),
        request("g", "DELETE", "Things(1)", dependsOn=["a", "d"]),
        request("h", "DELETE", "Things(1)", dependsOn=["a"]),
    )
    assert [answers[name]["status"] for name in "abcdefgh"] == [201, 200, 404, 412, 200, 200, 424, 200]
    assert answers["a"]["headers"]["location"].endswith("/Things(1)")
    assert answers["b"]["body"] == {"name": "T"}
    assert answers["c"]["body"]["code"] == 404
    assert answers["e"]["body"] == "name\r\nT\r\n"
    assert answers["e"]["headers"]["content-type"].startswith("text/csv")
    assert answers["f"]["body"] == "T"
    assert "body" not in answers["h"]


async def test_json_groups_are_change_sets(api: Api) -> None:
    answers = await post_json(
        api,
        request("t", "POST", "Things", body=thing("T"), atomicityGroup="g1"),
        request("l", "POST", "$t/Locations", body=location("L"), atomicityGroup="g1"),
        request("u", "POST", "Things", body=thing("U"), atomicityGroup="g2"),
        request("x", "POST", "Things", body={}, atomicityGroup="g2"),
        request("y", "GET", "$t/Locations?$select=name"),
        request("z", "GET", "$u"),
    )
    assert [answers[name]["status"] for name in "tluxyz"] == [201, 201, 424, 400, 200, 400]
    assert answers["t"]["atomicityGroup"] == "g1"
    assert answers["y"]["body"]["value"] == [{"name": "L"}]
    assert [t["name"] for t in await api.values("/Things")] == ["T"]


async def test_json_ids_are_unique_and_groups_together(api: Api) -> None:
    twice = [request("a", "GET", "Things"), request("a", "GET", "Things")]
    apart = [
        request("a", "DELETE", "Things(1)", atomicityGroup="g"),
        request("b", "GET", "Things"),
        request("c", "DELETE", "Things(1)", atomicityGroup="g"),
    ]
    for requests in (twice, apart):
        assert (await api.send("POST", "/$batch", json={"requests": requests})).status_code == 400


async def test_large_answers_within_a_batch(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.post("/Things", whole_thing("A", 30))
    monkeypatch.setattr(limits, "PAGE_ROWS_MAX", 7)
    urls = ["Observations?$top=20", "Observations?$resultFormat=CSV", "Observations?$top=30&$resultFormat=dataArray"]
    rows, table, array = (await post_json(api, *(request(str(n), "GET", url) for n, url in enumerate(urls)))).values()
    assert len(rows["body"]["value"]) == 20
    assert table["body"].count("\r\n") == 31
    assert array["body"]["value"][0]["dataArray@iot.count"] == 30
    answers = await send(api, part("GET", urls[0]), part("GET", urls[2]))
    assert [answers[0][2], answers[1][2]] == [rows["body"], array["body"]]


async def test_the_policy_is_asked_about_each_request(api: Api) -> None:
    await api.post("/Things", thing("A"))
    api.asked.clear()
    await send(api, part("GET", "Things(1)"), change_set(part("PATCH", "Things(1)", {}), part("DELETE", "Things(1)")))
    assert api.asked == [("read", "Things(1)"), ("write", "Things(1)"), ("delete", "Things(1)")]
