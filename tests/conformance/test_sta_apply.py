"""OData Data Aggregation 4.0, 3: `$apply` with filter, compute(timebucket), groupby and aggregate, on /v1.1."""

from typing import Any

import pytest
from sensorthings_api import Api, whole_thing

REQUIREMENTS = ()

HOURLY = (
    "compute(timebucket(phenomenonTime,duration'PT1H') as bucket)"
    "/groupby((Datastream/id,bucket),aggregate(result with average as avg,result with min as low,"
    "result with max as high,result with sum as total,$count as n))"
)


async def apply(api: Api, path: str, text: str, **options: Any) -> Any:
    answer = await api.client.get(api.url(path), params={"$apply": text, **options})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(api: Api, text: str, **options: Any) -> int:
    answer = await api.client.get(api.url("/Observations"), params={"$apply": text, **options})
    assert answer.json()["code"] == answer.status_code
    return answer.status_code


@pytest.fixture
async def series(api: Api) -> Api:
    """Datastream 1: every 20 minutes from 23:40 of 1969 to 01:20; Datastream 2: a text, a null and 7."""
    for name in ("A", "B"):
        await api.post("/Things", whole_thing(name, properties={"floor": 1, "name": name}))
        await api.patch("/Datastreams(1)", {"observationType": "any"})
    await api.patch("/Datastreams(2)", {"observationType": "any"})
    for n, time in enumerate(("1969-12-31T23:40", "1970-01-01T00:00", "1970-01-01T00:20", "1970-01-01T01:20")):
        await api.post("/Observations", {"result": n, "phenomenonTime": f"{time}:00Z", "Datastream": {"@iot.id": 1}})
    for result in ("hot", None, 7):
        await api.post(
            "/Observations",
            {"result": result, "phenomenonTime": "1970-01-01T00:10:00Z", "Datastream": {"@iot.id": 2}},
        )
    return api


async def test_averages_of_time_buckets(series: Api) -> None:
    made = await apply(series, "/Observations", HOURLY)
    assert made == {
        "value": [
            {
                "Datastream": {"@iot.id": stream},
                "bucket": bucket,
                "avg": avg,
                "low": low,
                "high": high,
                "total": total,
                "n": n,
            }
            for stream, bucket, avg, low, high, total, n in (
                (1, "1969-12-31T23:00:00Z", 0.0, 0.0, 0.0, 0.0, 1),
                (1, "1970-01-01T00:00:00Z", 1.5, 1.0, 2.0, 3.0, 2),
                (1, "1970-01-01T01:00:00Z", 3.0, 3.0, 3.0, 3.0, 1),
                (2, "1970-01-01T00:00:00Z", 7.0, 7.0, 7.0, 7.0, 3),
            )
        ]
    }


async def test_filter_and_paths(series: Api) -> None:
    text = "filter(result ge 1)/groupby((Datastream/Thing/name),aggregate($count as n))"
    value = [{"Datastream": {"Thing": {"name": "A"}}, "n": 3}, {"Datastream": {"Thing": {"name": "B"}}, "n": 1}]
    assert (await apply(series, "/Observations", text))["value"] == value
    assert (await apply(series, "/Datastreams(2)/Observations", text))["value"] == value[1:]
    counted = await apply(series, "/Observations", text, **{"$count": "true", "$top": "1"})
    assert counted["@iot.count"] == 2
    assert (await apply(series, "/Observations", "filter(id gt 99)/groupby((id),aggregate($count as n))"))[
        "value"
    ] == []


async def test_members_texts_and_times(series: Api) -> None:
    grouped = await apply(
        series, "/Things", "groupby((properties/floor,properties/none),aggregate(id with max as id_max))"
    )
    assert grouped["value"] == [{"properties": {"floor": 1, "none": None}, "id_max": 2.0}]
    latest = "groupby((Datastream/id),aggregate(phenomenonTime with max as last,result mul 2 with sum as double))"
    assert (await apply(series, "/Observations", latest))["value"] == [
        {"Datastream": {"@iot.id": 1}, "last": "1970-01-01T01:20:00Z", "double": 12.0},
        {"Datastream": {"@iot.id": 2}, "last": "1970-01-01T00:10:00Z", "double": 14.0},
    ]


async def test_groups_sort_and_page(series: Api) -> None:
    by_time = "groupby((phenomenonTime),aggregate(result with average as avg,$count as n))"
    made = (await apply(series, "/Observations", by_time))["value"]
    assert [(g["phenomenonTime"], g["avg"], g["n"]) for g in made][2:4] == [
        ("1970-01-01T00:10:00Z", 7.0, 3),
        ("1970-01-01T00:20:00Z", 2.0, 1),
    ]
    for order in ("avg desc", "n,phenomenonTime desc", "n mul -1 asc,avg"):
        whole = (await apply(series, "/Observations", by_time, **{"$orderby": order}))["value"]
        assert whole != made
        page = await apply(series, "/Observations", by_time, **{"$orderby": order, "$top": "2"})
        assert page["value"] + await series.every(page["@iot.nextLink"]) == whole
        rest = await apply(series, "/Observations", by_time, **{"$orderby": order, "$skip": "3"})
        assert rest["value"] == whole[3:]


async def test_a_token_belongs_to_its_groups(series: Api) -> None:
    page = await apply(series, "/Observations", HOURLY, **{"$top": "1"})
    token = page["@iot.nextLink"].split("$skiptoken=")[1]
    other = HOURLY.replace("PT1H", "PT2H")
    assert await refused(series, other, **{"$skiptoken": token}) == 400


OTHERS = [
    "filter(result gt 1)",
    "compute(timebucket(phenomenonTime,duration'PT1H') as bucket)",
    "compute(result mul 2 as double)/groupby((double),aggregate($count as n))",
    "aggregate($count as n)",
    "topcount(2,result)",
    "identity",
    "groupby((id),aggregate(result with countdistinct as n))",
    "groupby((id),aggregate($count as n))/filter(n gt 1)",
    "filter(id gt 1)/filter(id gt 2)/groupby((id),aggregate($count as n))",
    "compute(timebucket(phenomenonTime,duration'PT1H') as b)/filter(id gt 1)/groupby((b),aggregate($count as n))",
]


async def test_other_transformations_are_501(api: Api) -> None:
    for text in OTHERS:
        assert await refused(api, text) == 501, text


@pytest.mark.parametrize("options", [{"$filter": "id gt 1"}, {"$expand": "Datastream"}, {"$select": "id"}])
async def test_other_options_beside_it_are_501(api: Api, options: dict[str, str]) -> None:
    assert await refused(api, HOURLY, **options) == 501


async def test_it_is_not_served_on_1_0_and_within_expand(api: Api) -> None:
    assert await refused(api.old(), HOURLY) == 501
    await api.get("/Datastreams?$expand=Observations($apply=x)", 501)
    await api.post("/Things", whole_thing())
    await api.get(f"/Things(1)?$apply={HOURLY}", 400)


MALFORMED = [
    "",
    "groupby",
    "groupby(",
    "groupby((id)",
    "groupby((id))",
    "groupby((id),aggregate())",
    "groupby((),aggregate($count as n))",
    "groupby((nope),aggregate($count as n))",
    "groupby((id add 1),aggregate($count as n))",
    "groupby((id,id),aggregate($count as n))",
    "groupby((id),aggregate($count as n,$count as n))",
    "groupby((result),aggregate($count as result))",
    "groupby((id),aggregate($count as n)) x",
    "groupby((id),aggregate($count n))",
    "groupby((id),aggregate(result average as n))",
    "groupby((id),aggregate(Datastream/name with sum as n))",
    "groupby((id),aggregate(phenomenonTime with sum as n))",
    "groupby((Datastream/Thing/Locations/name),aggregate($count as n))",
    "groupby((Datastream),aggregate($count as n))",
    "filter(nope eq 1)/groupby((id),aggregate($count as n))",
    "filter(id eq 1/groupby((id),aggregate($count as n))",
    "compute(timebucket(phenomenonTime,duration'PT0S') as b)/groupby((b),aggregate($count as n))",
    "compute(timebucket(phenomenonTime,'PT1H') as b)/groupby((b),aggregate($count as n))",
    "compute(timebucket(result,duration'PT1H') as b)/groupby((b),aggregate($count as n))",
    "compute(timebucket(phenomenonTime) as b)/groupby((b),aggregate($count as n))",
    "compute(timebucket(phenomenonTime,duration'PT1H') as a/b)/groupby((b),aggregate($count as n))",
]


async def test_malformed_texts_are_400(api: Api) -> None:
    for text in MALFORMED:
        assert await refused(api, text) == 400, text


async def test_orderby_knows_the_names_that_it_makes(api: Api) -> None:
    assert await refused(api, HOURLY, **{"$orderby": "result"}) == 400
    assert (await apply(api, "/Observations", HOURLY, **{"$orderby": "Datastream/@iot.id desc,n"}))["value"] == []
