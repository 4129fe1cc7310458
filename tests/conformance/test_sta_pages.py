"""OGC 18-088, 9.3.1 and 9.3.3: `$orderby`, `$top`, `$skip`, `$count`, pages, and the order of evaluation."""

import random

import pytest
from sensorthings_api import Api, sensor, thing, whole_thing

from twinstack.core import limits
from twinstack.sensorthings.store import Store

REQUIREMENTS = (
    "request-data/order",
    "request-data/orderby",
    "request-data/top",
    "request-data/skip",
    "request-data/count",
    "request-data/pagination",
)


async def test_evaluation_order(api: Api) -> None:
    """$filter, $count, $orderby, $skip, $top, pages, $expand, $select."""
    for n in range(10):
        await api.post("/Things", thing(f"T{n}", properties={"n": n}))
    page = await api.get(
        "/Things?$select=name&$top=2&$skip=1&$orderby=properties/n desc&$count=true&$filter=properties/n lt 8"
    )
    assert page["@iot.count"] == 8
    assert page["value"] == [{"name": "T6"}, {"name": "T5"}]
    rest = await api.every(page["@iot.nextLink"])
    assert [t["name"] for t in rest] == ["T4", "T3", "T2", "T1", "T0"]


async def test_orderby_directions_keys_and_stable_ties(api: Api) -> None:
    for name, metadata in (("b", "1"), ("a", "2"), ("b", "3"), ("a", "4")):
        await api.post("/Sensors", sensor(name, metadata=metadata))
    assert await api.ids("/Sensors?$orderby=name") == [2, 4, 1, 3]
    assert await api.ids("/Sensors?$orderby=name asc") == [2, 4, 1, 3]
    assert await api.ids("/Sensors?$orderby=name desc") == [1, 3, 2, 4]
    assert await api.ids("/Sensors?$orderby=name desc,metadata desc") == [3, 1, 4, 2]
    assert await api.ids("/Sensors?$orderby=name,id desc") == [4, 2, 3, 1]
    assert await api.ids("/Sensors?$orderby=length(name) add id desc") == [4, 3, 2, 1]


async def test_texts_sort_by_code_point(api: Api) -> None:
    names = ["a", "B", "Z", "ä", "é", "10", "9", "_"]
    for name in names:
        await api.post("/Things", thing(name))
    assert [t["name"] for t in await api.values("/Things?$orderby=name")] == sorted(names)


async def test_nulls_come_first_ascending_and_last_descending(api: Api) -> None:
    for properties in ({"n": 1}, None, {"n": "x"}, {"n": 0.5}, {"n": None}):
        await api.post("/Things", thing("T", properties=properties))
    assert await api.ids("/Things?$orderby=properties/n") == [2, 5, 4, 1, 3]
    assert await api.ids("/Things?$orderby=properties/n desc") == [3, 1, 4, 2, 5]
    for order in ("properties/n", "properties/n desc"):
        everything = await api.every(f"/Things?$orderby={order}&$top=1&$select=id")
        assert [t["@iot.id"] for t in everything] == await api.ids(f"/Things?$orderby={order}")


async def test_orderby_through_navigation(api: Api) -> None:
    for name in ("B", "A", "C"):
        await api.post("/Things", whole_thing(name, 1))
    assert await api.ids("/Datastreams?$orderby=Thing/name") == [2, 1, 3]
    assert await api.ids("/Observations?$orderby=Datastream/Thing/name desc") == [3, 1, 2]
    await api.get("/Things?$orderby=Datastreams/name", 400)


async def test_orderby_expressions_that_differ_in_their_function_only(api: Api) -> None:
    await api.post("/Things", whole_thing())
    for time in ("2025-03-01", "2026-01-01", "2025-01-02"):
        await api.post(
            "/Observations", {"result": 0, "phenomenonTime": f"{time}T00:00:00Z", "Datastream": {"@iot.id": 1}}
        )
    order = "year(phenomenonTime),month(phenomenonTime) desc,day(phenomenonTime)"
    assert await api.ids(f"/Observations?$orderby={order}") == [1, 3, 2]
    assert [o["@iot.id"] for o in await api.every(f"/Observations?$top=1&$orderby={order}")] == [1, 3, 2]


async def test_results_of_all_types_sort(api: Api) -> None:
    await api.post("/Things", whole_thing())
    await api.patch("/Datastreams(1)", {"observationType": "any"})
    for result in (10, "9", 2.5, None, "10"):
        await api.post("/Observations", {"result": result, "Datastream": {"@iot.id": 1}})
    in_order = [o["result"] for o in await api.values("/Observations?$orderby=result")]
    assert in_order == [None, 2.5, 10, "10", "9"]


@pytest.mark.parametrize(
    "query",
    [
        "$orderby=",
        "$orderby=name up",
        "$orderby=nope",
        "$orderby=name,",
        "$orderby=null",
        "$orderby=5",
        "$orderby=geography'POINT (1 1)'",
    ],
)
async def test_malformed_orderby_is_refused(api: Api, query: str) -> None:
    await api.get(f"/Things?{query}", 400)


async def test_pages_have_the_size_of_the_version_and_a_cap(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_ROWS_MAX", 1000)
    await api.post("/Things", whole_thing("A", 1001))
    for path, rows in (
        ("/Observations", 100),
        ("/Observations?$top=3", 3),
        ("/Observations?$top=1000", 1000),
        ("/Observations?$top=5000", 1000),
        ("/Observations?$top=99999999999999999999", 1000),
    ):
        page = await api.get(path)
        assert len(page["value"]) == rows
        assert "@iot.nextLink" in page
        assert len(await api.every(path)) == 1001 if rows != 3 else True
    assert len((await api.old().get("/Observations"))["value"]) == 200
    assert await api.get("/Observations?$top=0") == {"value": []}


async def test_a_next_link_stands_only_where_more_rows_are(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 5))
    for path in ("/Observations", "/Observations?$top=5", "/Observations?$skip=3", "/Observations?$skip=9", "/Sensors"):
        assert "@iot.nextLink" not in await api.get(path), path
    assert [o["result"] for o in await api.values("/Observations?$skip=3")] == [1.5, 2.0]


@pytest.mark.parametrize(
    "path",
    [
        "/Observations?$top=7",
        "/Observations?$top=7&$skip=3",
        "/Datastreams(1)/Observations?$top=7",
        "/Datastreams(1)/Observations?$top=7&$orderby=phenomenonTime desc",
        "/Observations?$top=7&$orderby=result",
        "/Observations?$top=7&$orderby=result desc,phenomenonTime",
        "/Observations?$top=7&$orderby=resultTime,result mul -1",
        "/Observations?$top=7&$filter=result ge 2&$orderby=Datastream/name desc,result",
        "/FeaturesOfInterest(1)/Observations?$top=7",
    ],
)
async def test_pages_neither_skip_nor_repeat(api: Api, path: str) -> None:
    await api.post("/Things", whole_thing("A", 40))
    await api.post("/Things", whole_thing("B", 11))
    for n in random.Random(7).sample(range(40), 9):
        await api.patch(f"/Observations({n + 1})", {"result": 1.0})
    whole = await api.values(path.replace("$top=7", "$top=1000"))
    assert len(whole) > 7
    assert await api.every(path) == whole


async def test_pages_stand_while_rows_come_and_go(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 10))
    page = await api.get("/Observations?$top=4")
    await api.delete("/Observations(2)")
    await api.delete("/Observations(4)")
    await api.post("/Observations", {"result": 1, "Datastream": {"@iot.id": 1}})
    rest = await api.every(page["@iot.nextLink"])
    assert [o["@iot.id"] for o in rest] == [5, 6, 7, 8, 9, 10, 11]


async def test_counts(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 7))
    await api.post("/Things", whole_thing("B", 3))
    for path, count in (
        ("/Observations", 10),
        ("/Things", 2),
        ("/Datastreams(1)/Observations", 7),
        ("/FeaturesOfInterest(2)/Observations", 3),
        ("/Things(1)/Datastreams", 1),
    ):
        assert (await api.get(f"{path}?$count=true&$top=1"))["@iot.count"] == count
        assert "@iot.count" not in await api.get(f"{path}?$count=false")
        assert "@iot.count" not in await api.get(path)
    assert (await api.get("/Observations?$count=true&$filter=result ge 1"))["@iot.count"] == 6
    assert (await api.get("/Observations?$count=true&$top=0&$skip=5"))["@iot.count"] == 10


@pytest.mark.parametrize(
    "query", ["$top=-1", "$top=x", "$top=1.5", "$top=", "$skip=-1", "$skip=x", "$count=yes", "$count=", "$count=True"]
)
async def test_malformed_numbers_are_refused(api: Api, query: str) -> None:
    await api.get(f"/Things?{query}", 400)


async def test_a_token_belongs_to_its_query(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 5))
    page = await api.get("/Observations?$top=2&$orderby=result")
    token = page["@iot.nextLink"].split("$skiptoken=")[1]
    assert len(await api.values(f"/Observations?$top=2&$orderby=result&$skiptoken={token}")) == 2
    for path in (
        f"/Observations?$skiptoken={token}",
        f"/Observations?$orderby=resultTime&$skiptoken={token}",
        f"/Sensors?$orderby=name&$skiptoken={token}",
        "/Observations?$orderby=result&$skiptoken=AAAA",
        "/Observations?$orderby=result&$skiptoken=",
        "/Observations?$orderby=result&$skiptoken=%C3%A4",
        f"/Observations?$orderby=result&$skiptoken={token[:-2]}",
    ):
        await api.get(path, 400)


async def test_sort_values_too_long_for_an_address_go_on_by_number(api: Api) -> None:
    for n in range(5):
        await api.post("/Things", thing("x" * 200, description=f"{n}" + "y" * 9000))
    page = await api.get("/Things?$orderby=description&$top=2&$select=id")
    assert len(page["@iot.nextLink"]) < 400
    assert [t["@iot.id"] for t in await api.every("/Things?$orderby=description&$top=2&$select=id")] == [1, 2, 3, 4, 5]


async def test_sort_values_beyond_the_doubles_end(api: Api, store: Store) -> None:
    if store.engine.dialect.name == "postgresql":
        await api.post("/Things", thing())
        await api.get("/Things?$orderby=id mul 1e308 mul 1e308", 400)
        return
    for _ in range(3):
        await api.post("/Things", thing())
    assert len(await api.every("/Things?$orderby=id mul 1e308 mul 1e308&$top=1")) == 3


async def test_a_page_of_large_entities_is_cut_and_goes_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinstack.core import limits

    monkeypatch.setattr(limits, "ANSWER_PAGE_BYTES_MAX", 25_000)
    for _ in range(5):
        await api.post("/Things", thing("T", properties={"x": "y" * 10_000}))
    page = await api.get("/Things")
    assert len(page["value"]) == 3
    assert len(await api.every("/Things")) == 5
