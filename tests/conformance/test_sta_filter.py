"""OGC 18-088, 9.3.3.5: `$filter` with its operators and functions."""

from typing import Any

import pytest
from sensorthings_api import Api, observed_property, thing, whole_thing

REQUIREMENTS = ("request-data/filter", "request-data/built-in-filter-operations")

TIMES = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", "2026-01-01T02:30:15.5Z", "1969-12-31T23:59:59.5Z")


@pytest.fixture
async def seeded(api: Api) -> Api:
    """Things 1-4; Observations 1-8 of Datastream 1 with results of all types."""
    await api.post("/Things", whole_thing("Oven", properties={"floor": 2, "owner": {"name": "Sue"}, "hot": True}))
    await api.post("/Things", whole_thing("Fridge", properties={"floor": 1, "hot": False}))
    await api.post("/Things", thing("Lamp", properties={"floor": "2"}))
    await api.post("/Things", thing('it\'s 100% "new"; really', properties=None))
    await api.patch("/Datastreams(1)", {"observationType": "any"})
    for n, result in enumerate((1, 2.5, "2.5", "hot", True, None, {"a": {"b": 7}}, 2**60)):
        await api.post(
            "/Observations",
            {"result": result, "phenomenonTime": f"2026-01-01T00:00:{n:02d}Z", "Datastream": {"@iot.id": 1}},
        )
    return api


async def ids(api: Api, set_name: str, text: str) -> list[int]:
    answer = await api.client.get(api.url(f"/{set_name}"), params={"$filter": text, "$orderby": "id"})
    assert answer.status_code == 200, answer.text
    return [entity["@iot.id"] for entity in answer.json()["value"]]


THINGS: list[tuple[str, list[int]]] = [
    ("name eq 'Oven'", [1]),
    ("name ne 'Oven'", [2, 3, 4]),
    ("name gt 'Lamp'", [1, 4]),
    ("name ge 'Lamp'", [1, 3, 4]),
    ("name lt 'Lamp'", [2]),
    ("name le 'Lamp'", [2, 3]),
    ("'Oven' eq name", [1]),
    ("name eq 'it''s 100% \"new\"; really'", [4]),
    ("id eq 2", [2]),
    ("@iot.id eq 2", [2]),
    ("id eq '2'", [2]),
    ("id gt 1 and id lt 4", [2, 3]),
    ("id eq 1 or id eq 3", [1, 3]),
    ("id eq 1 or id eq 2 and name eq 'x'", [1]),
    ("(id eq 1 or id eq 2) and name eq 'Oven'", [1]),
    ("not (id eq 1)", [2, 3, 4]),
    ("not startswith(name,'O') and id lt 4", [2, 3]),
    ("id in (1, 3, 99)", [1, 3]),
    ("name in ('Oven','Lamp')", [1, 3]),
    ("not (id in (1,2))", [3, 4]),
    ("id add 1 eq 3", [2]),
    ("id sub 1 eq 2", [3]),
    ("id mul 2 eq 8", [4]),
    ("id div 2 eq 1", [2, 3]),
    ("id mod 2 eq 0", [2, 4]),
    ("-id lt -3", [4]),
    ("id add 2 mul 3 eq 7", [1]),
    ("id div 0 eq 1 or id eq 4", [4]),
    ("(id add 2) div 3 eq 1", [1, 2, 3]),
    ("(id add 1) mul 2 eq 6", [2]),
    ("6 div (id add 1) eq 2", [2]),
    ("7 sub (id sub 1) eq 5", [3]),
    ("-(id add 1) eq -3", [2]),
    ("(id add 1) mod 3 eq 0", [2]),
    ("contains(name,'e')", [1, 2, 4]),
    ("substringof('e',name)", [1, 2, 4]),
    ("startswith(name,'Fr')", [2]),
    ("endswith(name,'dge')", [2]),
    ("endswith(name,'')", [1, 2, 3, 4]),
    ("endswith(name,'a very long text that cannot be its end at all')", []),
    ("length(name) eq 4", [1, 3]),
    ("indexof(name,'v') eq 1", [1]),
    ("indexof(name,'#') eq -1", [1, 2, 3, 4]),
    ("substring(name,1) eq 'ven'", [1]),
    ("substring(name,1,2) eq 've'", [1]),
    ("substring(name,-5,-1) eq ''", [1, 2, 3, 4]),
    ("tolower(name) eq 'oven'", [1]),
    ("toupper(name) eq 'OVEN'", [1]),
    ("trim(concat('  ',name)) eq 'Oven'", [1]),
    ("concat(concat(name,'-'),description) eq 'Oven-A thing.'", [1]),
    ("contains(name,'100%')", [4]),
    ("properties/floor eq 2", [1]),
    ("properties/floor eq '2'", [1, 3]),
    # Values of different types differ, a missing one matches nothing.
    ("properties/floor ne 2", [2, 3]),
    ("not (properties/floor ne 2)", [1]),
    ("properties/floor gt 0", [1, 2]),
    ("properties/owner/name eq 'Sue'", [1]),
    ("properties/owner eq null", [2, 3, 4]),
    ("properties/owner ne null", [1]),
    ("properties eq null", [4]),
    ("properties/hot eq true", [1]),
    ("properties/hot eq false", [2]),
    ("properties/hot", [1]),
    ("not properties/hot", [2]),
    ("round(2.5) eq 3 and floor(2.5) eq 2 and ceiling(2.5) eq 3", [1, 2, 3, 4]),
    ("5.5 mod 2 eq 1.5", [1, 2, 3, 4]),
    ("true", [1, 2, 3, 4]),
    ("name eq null", []),
    ("name gt null", []),
    ("not (name gt null)", []),
    ("name eq concat(null,'x') or null", []),
    ("length(null) eq 1 or year(null) eq 1 or before(null,now()) or null add 1 eq 1 or id eq 3", [3]),
    ("1 div 0 eq null and 1 mod 0 eq null and 1.5 div 0.0 eq null", [1, 2, 3, 4]),
    ("null eq null", [1, 2, 3, 4]),
    # Through links: true if some linked entity makes it true; conditions on one path speak of the same entity.
    ("Datastreams/name eq 'Oven temperature'", [1]),
    ("Datastreams/Observations/result eq 1", [1]),
    ("Datastreams/Observations/result eq 1 and Datastreams/Observations/result eq 'hot'", []),
    ("Datastreams/Observations/result eq 1 or name eq 'Lamp'", [1, 3]),
    ("Datastreams/id eq null", [3, 4]),
    ("Datastreams/Sensor/name eq 'Fridge sensor' and Locations/name eq 'Fridge place'", [2]),
    ("Locations/location/coordinates eq null", [3, 4]),
    ("Datastreams/Observations/id gt 0", [1]),
]
RESULTS: list[tuple[str, list[int]]] = [
    ("result eq 1", [1]),
    ("result eq 2.5", [2]),
    ("result eq '2.5'", [2, 3]),
    ("result eq 'hot'", [4]),
    ("result ne 'hot'", [1, 2, 3, 5, 7, 8]),
    ("not (result ne 'hot')", [4]),
    ("result ne 1", [2, 3, 4, 5, 7, 8]),
    ("result ne true", [1, 2, 3, 4, 7, 8]),
    ("result gt 0", [1, 2, 8]),
    ("result gt '2'", [2, 3, 4, 8]),
    ("result lt 3", [1, 2]),
    ("result eq true", [5]),
    ("result eq null", [6]),
    ("result ne null", [1, 2, 3, 4, 5, 7, 8]),
    ("result/a/b eq 7", [7]),
    ("result add 1 eq 2", [1]),
    ("result div 2 eq 0.5", [1]),
    ("floor(result) eq 2 or ceiling(result) eq 1 or round(result) eq null and id lt 6", [1, 2, 3, 4, 5]),
    ("result lt true", []),
    ("result lt result", []),
    ("result ge result", [1, 2, 3, 4, 5, 8]),
    ("contains(result,'o')", [4]),
    (f"result eq {2**60}", [8]),
    ("Datastream/Thing/name eq 'Oven' and result eq 1", [1]),
    ("Datastream/Thing/Locations/name eq 'Oven place' and id le 2", [1, 2]),
    ("Datastream/id eq 2", []),
    ("FeatureOfInterest/feature/type eq 'Point' and id eq 3", [3]),
    ("phenomenonTime gt 2026-01-01T00:00:05Z", [7, 8]),
    ("phenomenonTime ge 2026-01-01T01:00:06+01:00", [7, 8]),
    ("phenomenonTime ge '2026-01-01T00:00:06Z'", [7, 8]),
    ("phenomenonTime eq 2026-01-01T00:00:03Z", [4]),
    ("phenomenonTime lt 2026-01-01T00:00:01Z or phenomenonTime gt 2026-01-01T00:00:06Z", [1, 8]),
    ("resultTime eq null and id lt 3", [1, 2]),
    ("resultTime ne null", []),
    ("resultTime gt 2020-01-01", []),
]


async def test_things(seeded: Api) -> None:
    for text, expected in THINGS:
        assert await ids(seeded, "Things", text) == expected, text


async def test_results_and_paths(seeded: Api) -> None:
    for text, expected in RESULTS:
        assert await ids(seeded, "Observations", text) == expected, text


@pytest.fixture
async def timed(api: Api) -> Api:
    """Observations 1-4 at TIMES, 5 over 01:00/02:00, 6 over 02:00/03:00."""
    await api.post("/Things", whole_thing())
    for time in (*TIMES, "2026-01-01T01:00:00Z/2026-01-01T02:00:00Z", "2026-01-01T02:00:00Z/2026-01-01T03:00:00Z"):
        await api.post("/Observations", {"result": 0, "phenomenonTime": time, "Datastream": {"@iot.id": 1}})
    return api


MOMENTS: list[tuple[str, list[int]]] = [
    ("year(phenomenonTime) eq 2026", [1, 2, 3, 5, 6]),
    ("year(phenomenonTime) eq 1969 and month(phenomenonTime) eq 12 and day(phenomenonTime) eq 31", [4]),
    ("hour(phenomenonTime) eq 2", [3, 6]),
    ("minute(phenomenonTime) eq 30", [3]),
    ("second(phenomenonTime) eq 59", [4]),
    ("fractionalseconds(phenomenonTime) eq 0.5", [3, 4]),
    ("date(phenomenonTime) eq 2026-01-01", [1, 2, 3, 5, 6]),
    ("time(phenomenonTime) ge 02:00:00", [3, 4, 6]),
    ("totaloffsetminutes(phenomenonTime) eq 0", [1, 2, 3, 4, 5, 6]),
    ("phenomenonTime lt now()", [1, 4]),
    ("phenomenonTime gt mindatetime() and phenomenonTime lt maxdatetime()", [1, 2, 3, 4, 5, 6]),
    ("phenomenonTime add duration'PT1H' eq 2026-01-01T01:00:00Z", [1]),
    ("phenomenonTime sub duration'PT1H' eq 2026-01-01T00:00:00Z", [2]),
    ("phenomenonTime sub 2026-01-01T00:00:00Z gt duration'PT2H'", [3]),
    ("phenomenonTime lt 2026-01-01T01:00:00Z", [1, 4]),
    ("phenomenonTime le 2026-01-01T02:00:00Z", [1, 2, 4, 5]),
    ("phenomenonTime gt 2026-01-01T01:00:00Z", [3, 6]),
    ("phenomenonTime eq 2026-01-01T01:00:00Z/2026-01-01T02:00:00Z", [5]),
    ("phenomenonTime ne 2026-01-01T01:00:00Z/2026-01-01T02:00:00Z and id gt 4", [6]),
    ("phenomenonTime gt 2026-01-01T00:00:00Z/2026-01-01T00:30:00Z", [2, 3, 5, 6]),
    ("before(phenomenonTime,2026-01-01T01:00:00Z)", [1, 4]),
    ("after(phenomenonTime,2026-01-01T01:30:00Z)", [3, 6]),
    ("during(phenomenonTime,2026-01-01T01:00:00Z/2026-01-01T02:00:00Z)", [2, 5]),
    ("during(phenomenonTime,2026-01-01T01:00:00Z/PT1H)", [2, 5]),
    ("during(phenomenonTime,'2026-01-01T01:00:00Z/2026-01-01T02:00:00Z')", [2, 5]),
    ("meets(phenomenonTime,2026-01-01T02:00:00Z/2026-01-01T03:00:00Z)", [5]),
    ("overlaps(phenomenonTime,2026-01-01T01:30:00Z/2026-01-01T02:30:00Z)", [5, 6]),
    ("starts(phenomenonTime,2026-01-01T01:00:00Z/2026-01-01T03:00:00Z)", [2, 5]),
    ("finishes(phenomenonTime,2026-01-01T01:00:00Z/2026-01-01T03:00:00Z)", [6]),
]


async def test_times_and_intervals(timed: Api) -> None:
    for text, expected in MOMENTS:
        assert await ids(timed, "Observations", text) == expected, text


async def test_the_extent_of_a_datastream_filters(seeded: Api) -> None:
    assert await ids(seeded, "Datastreams", "phenomenonTime ge 2026-01-01T00:00:00Z") == [1]
    assert await ids(seeded, "Datastreams", "phenomenonTime eq null") == [2]
    assert await ids(seeded, "Datastreams", "unitOfMeasurement/symbol eq '°C' and Observations/result eq 1") == [1]


MALFORMED = [
    "id gt 1e400",
    "during(HistoricalLocations/time,2026-01-01T01:00:00Z/duration)",
    "name",
    "name eq",
    "eq 'x'",
    "name eq 'x",
    "name eq x'",
    "(name eq 'x'",
    "name eq 'x')",
    "name = 'x'",
    "name eq 'a' 'b'",
    "nope eq 1",
    "Thing/name eq 'x'",
    "Datastreams eq 1",
    "Datastreams/Nope/name eq 1",
    "name/x eq 1",
    "name eq 5",
    "id eq 'x'",
    "length(5) eq 1",
    "length() eq 1",
    "length(name,name) eq 1",
    "nosuch(name)",
    "name in ()",
    "name in 'x'",
    "id add 'x' eq 1",
    "year(name) eq 1",
    "name eq 2026-99-99",
    "name eq duration'x'",
    "1e999 eq id",
    "Datastreams/any(d:d/id eq 1)",
    "not name",
    "",
    "\u0000",
    "name eq '\u0000'",
    "(" * 100 + "id eq 1" + ")" * 100,
    "not " * 100 + "true",
    " and ".join(["id eq 1"] * 2000),
    " add ".join(["id"] * 700) + " eq 1",
    "id in (" + ",".join(["1"] * 5000) + ")",
]


async def test_malformed_filters_are_400(api: Api) -> None:
    for text in MALFORMED:
        answer = await api.client.get(api.url("/Things"), params={"$filter": text})
        assert answer.status_code == 400, (text, answer.text)
        assert answer.json()["code"] == 400


@pytest.mark.parametrize("text", ["cast(id,Edm.String) eq '1'", "isof(name,'x')"])
async def test_known_functions_that_are_not_served_are_501(api: Api, text: str) -> None:
    answer = await api.client.get(api.url("/Things"), params={"$filter": text})
    assert answer.status_code == 501


async def test_encodings_of_a_query(api: Api) -> None:
    await api.post("/ObservedProperties", observed_property("a+b c&d"))
    for query in (
        "$filter=name%20eq%20%27a%2Bb%20c%26d%27",
        "$filter=name+eq+'a%2Bb+c%26d'",
        "%24filter=name%20eq%20'a%2bb c%26d'",
        "foo=bar&$filter=name eq 'a%2Bb c%26d'&x",
    ):
        request = api.client.build_request("GET", api.url("/ObservedProperties"))
        # As written: httpx would encode it again.
        request.url = request.url.copy_with(raw_path=f"/v1.1/ObservedProperties?{query}".encode())
        answer = await api.client.send(request)
        assert [e["name"] for e in answer.json()["value"]] == ["a+b c&d"], query


async def test_the_same_query_with_other_values_and_types(api: Api) -> None:
    """One SQL text serves equal shapes: the values of one request must not stay for the next."""
    for name in ("1", "2", "x"):
        await api.post("/Things", thing(name))
    seen: dict[str, Any] = {}
    for value in ("'1'", "'2'", "'x'", "'2026-01-01T00:00:00Z'", "null"):
        seen[value] = await ids(api, "Things", f"name eq {value}")
    assert seen == {"'1'": [1], "'2'": [2], "'x'": [3], "'2026-01-01T00:00:00Z'": [], "null": []}
