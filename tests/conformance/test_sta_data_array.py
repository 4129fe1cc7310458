"""OGC 18-088, clause 13 (15-078r6, clause 13): data arrays, read by `$resultFormat=dataArray` and created by
`POST /CreateObservations`."""

from typing import Any

import pytest
from sensorthings_api import Api, whole_thing
from test_sta_multi_datastream import mast

REQUIREMENTS = ("data-array/data-array",)
URL = "http://twin.example:1908/v1.1"


async def two_streams(api: Api) -> None:
    for name in ("A", "B"):
        await api.post("/Things", whole_thing(name, 2))


# --- reading --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_one_object_per_datastream(api: Api, version: str) -> None:
    await two_streams(api)
    await api.post("/Observations", {"result": "late", "Datastream": {"@iot.id": 1}})
    answer = await Api(api.client, version).get("/Observations?$resultFormat=dataArray&$count=true")
    assert answer["@iot.count"] == 5
    first, second = answer["value"]
    assert set(first) == {"Datastream@iot.navigationLink", "components", "dataArray@iot.count", "dataArray"}
    assert first["Datastream@iot.navigationLink"].endswith(f"/{version}/Datastreams(1)")
    assert first["components"] == ["id", "phenomenonTime", "result", "resultTime"]
    assert first["dataArray@iot.count"] == 3
    assert first["dataArray"][:2] == [
        [1, "2026-01-01T00:00:00Z", 0.0, None],
        [2, "2026-01-01T00:00:01Z", 0.5, None],
    ]
    assert first["dataArray"][2][2] == "late"
    assert second["Datastream@iot.navigationLink"].endswith("/Datastreams(2)")
    assert [row[0] for row in second["dataArray"]] == [3, 4]


async def test_select_chooses_the_components(api: Api) -> None:
    await two_streams(api)
    [one] = (await api.get("/Datastreams(2)/Observations?$resultFormat=dataArray&$select=result,id"))["value"]
    assert one["components"] == ["id", "result"]
    assert one["dataArray"] == [[3, 0.0], [4, 0.5]]
    [one] = (await api.get("/Datastreams(2)/Observations?$resultFormat=dataArray&$select=parameters"))["value"]
    assert (one["components"], one["dataArray"]) == (["parameters"], [[None], [None]])
    await api.get("/Observations?$resultFormat=dataArray&$select=Datastream", 400)


async def test_rare_components_stand_where_a_row_has_them(api: Api) -> None:
    await two_streams(api)
    body = {"result": {"a": [1, "x"]}, "parameters": {"p": 1}, "Datastream": {"@iot.id": 1}}
    await api.post("/Observations", body)
    first, second = (await api.get("/Observations?$resultFormat=dataArray"))["value"]
    assert first["components"] == ["id", "phenomenonTime", "result", "resultTime", "parameters"]
    assert [row[4] for row in first["dataArray"]] == [None, None, {"p": 1}]
    assert first["dataArray"][2][2] == {"a": [1, "x"]}
    assert "parameters" not in second["components"]


async def test_options_hold_and_pages_go_on_in_the_same_format(api: Api) -> None:
    await two_streams(api)
    path = "/Observations?$resultFormat=dataArray&$filter=result ge 0.5&$orderby=id desc&$top=1"
    page = await api.get(path)
    assert [row[0] for row in page["value"][0]["dataArray"]] == [4]
    rest = await api.get(page["@iot.nextLink"])
    assert [row[0] for row in rest["value"][0]["dataArray"]] == [2]
    assert "@iot.nextLink" not in rest
    assert (await api.get("/Observations?$resultFormat=dataArray&$filter=id lt 0"))["value"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/Things?$resultFormat=dataArray",
        "/Datastreams?$resultFormat=dataArray",
        "/Observations(1)?$resultFormat=dataArray",
        "/Observations?$resultFormat=dataArray&$expand=Datastream",
        "/Observations?$resultFormat=array",
        "/Observations?$resultFormat=",
        "/Datastreams?$expand=Observations($resultFormat=dataArray)",
        "/Datastreams?$filter=id eq 1 div 0&$resultFormat=nope",
    ],
)
async def test_other_sets_and_formats_are_400(api: Api, path: str) -> None:
    await two_streams(api)
    await api.get(path, 400)


# --- creating -------------------------------------------------------------------------------------------------------
def array(datastream: Any = 1, rows: Any = None, **more: Any) -> dict[str, Any]:
    rows = [["2026-02-01T00:00:00Z", 1.5]] if rows is None else rows
    return {
        "Datastream": {"@iot.id": datastream},
        "components": ["phenomenonTime", "result"],
        "dataArray@iot.count": len(rows),
        "dataArray": rows,
        **more,
    }


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_rows_of_several_datastreams_are_created_in_order(api: Api, version: str) -> None:
    await two_streams(api)
    at = Api(api.client, version)
    body = [
        array(2, [["2026-02-01T00:00:00Z", 1], ["2026-02-01T00:00:00Z/2026-02-01T01:00:00Z", "two"]]),
        array(
            1,
            [
                ["2026-02-02T00:00:00Z", [3], "2026-02-02T00:00:01Z", {"a": 1}, "good", 2],
                ["2026-02-03T00:00:00Z", None, None, None, None, None],
            ],
            components=[
                "phenomenonTime",
                "result",
                "resultTime",
                "parameters",
                "resultQuality",
                "FeatureOfInterest/id",
            ],
        ),
    ]
    answer = await at.send("POST", "/CreateObservations", json=body)
    assert answer.status_code == 201, answer.text
    assert [url.rpartition("/")[2] for url in answer.json()] == [f"Observations({n})" for n in (5, 6, 7, 8)]
    assert all(url.startswith(f"http://twin.example:1908/{version}/") for url in answer.json())
    stored = [await api.get(f"/Observations({n})?$expand=Datastream,FeatureOfInterest") for n in (5, 6, 7, 8)]
    assert [o["result"] for o in stored] == [1, "two", [3], None]
    assert [o["Datastream"]["@iot.id"] for o in stored] == [2, 2, 1, 1]
    assert stored[1]["phenomenonTime"] == "2026-02-01T00:00:00Z/2026-02-01T01:00:00Z"
    assert (stored[2]["resultTime"], stored[2]["resultQuality"]) == ("2026-02-02T00:00:01Z", "good")
    assert (stored[2]["parameters"], stored[2]["FeatureOfInterest"]["@iot.id"]) == ({"a": 1}, 2)
    assert stored[3]["FeatureOfInterest"]["@iot.id"] == 1
    assert (await api.get("/Datastreams(2)/Observations?$count=true"))["@iot.count"] == 4


async def test_a_bad_row_is_error_in_its_place_and_the_others_are_stored(api: Api) -> None:
    await two_streams(api)
    rows = [
        ["2026-02-01T00:00:00Z", 1],
        ["no time", 2],
        ["2026-02-01T00:00:00Z"],
        ["2026-02-01T00:00:00Z", 1, 2],
        "no row",
        [None, 1],
        ["2026-02-01T00:00:00Z", "\u0000"],
        ["2026-02-02T00:00:00Z", 7],
    ]
    with_feature = array(
        1, [["2026-02-01T00:00:00Z", 1, 99]], components=["phenomenonTime", "result", "FeatureOfInterest/id"]
    )
    body = [array(1, rows), array(99), with_feature, array(2)]
    answer = (await api.send("POST", "/CreateObservations", json=body)).json()
    assert [text == "error" for text in answer] == [False] + [True] * 6 + [False, True, True, False]
    assert [o["result"] for o in await api.values("/Observations?$filter=id gt 4")] == [1, 7, 1.5]


@pytest.mark.parametrize(
    "body",
    [
        {},
        None,
        "x",
        [1],
        [{}],
        [{**array(), "Datastream": {}}],
        [{**array(), "Datastream": 1}],
        [{**array(), "Datastream": {"@iot.id": "x"}}],
        [{**array(), "Datastream": {"@iot.id": -1}}],
        [{k: v for k, v in array().items() if k != "Datastream"}],
        [{k: v for k, v in array().items() if k != "components"}],
        [{k: v for k, v in array().items() if k != "dataArray"}],
        [array(components=["phenomenonTime"])],
        [array(components=["result"])],
        [array(components=["phenomenonTime", "result", "nope"])],
        [array(components=["phenomenonTime", "result", "result"])],
        [array(components=["phenomenonTime", "result", 1])],
        [array(rows={})],
        [array(unknown=1)],
        [array(), array(components=["phenomenonTime", "result", "\u0000"])],
    ],
)
async def test_a_malformed_request_is_400_before_any_row_is_stored(api: Api, body: Any) -> None:
    await two_streams(api)
    answer = await api.send("POST", "/CreateObservations", json=body)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"code", "type", "message"}
    assert (await api.get("/Observations?$count=true"))["@iot.count"] == 4


async def test_nothing_creates_nothing(api: Api) -> None:
    for body in ([], [array(1, [])]):
        answer = await api.send("POST", "/CreateObservations", json=body)
        assert (answer.status_code, answer.json()) == (201, [])


async def test_only_post_creates(api: Api) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = await api.send(method, "/CreateObservations")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


async def test_more_rows_than_one_request_may_have_are_413(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinstack.core import limits

    await two_streams(api)
    monkeypatch.setattr(limits, "STORE_REQUEST_ROWS_MAX", 2)
    row = ["2026-02-01T00:00:00Z", 1.5]
    assert (await api.send("POST", "/CreateObservations", json=[array(1, [row] * 2)])).status_code == 201
    assert (await api.send("POST", "/CreateObservations", json=[array(1, [row] * 2), array()])).status_code == 413


# --- MultiDatastream ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
async def test_data_arrays_of_multi_datastreams(api: Api, version: str) -> None:
    at = Api(api.client, version)
    await at.post("/Things", whole_thing("A", 1))
    await at.post("/Things", mast())
    cells = ["phenomenonTime", "result"]
    rows = [["2026-02-01T00:00:00Z", [1.5, 270]], ["2026-02-01T00:00:01Z", [1.5]], ["2026-02-01T00:00:02Z", 1]]
    body = [
        {"MultiDatastream": {"@iot.id": 2}, "components": cells, "dataArray": rows},
        {"MultiDatastream": {"@iot.id": 1}, "components": cells, "dataArray": rows[:1]},
        {"Datastream": {"@iot.id": 2}, "components": cells, "dataArray": rows[:1]},
        {"Datastream": {"@iot.id": 1}, "components": cells, "dataArray": [["2026-02-01T00:00:00Z", 3]]},
    ]
    answer = await at.send("POST", "/CreateObservations", json=body)
    assert [text == "error" for text in answer.json()] == [False, True, True, True, True, False]
    first, second = (await at.get("/Observations?$resultFormat=dataArray&$select=result"))["value"]
    assert first["Datastream@iot.navigationLink"].endswith("/Datastreams(1)")
    assert first["dataArray"] == [[0.0], [3]]
    assert second["MultiDatastream@iot.navigationLink"].endswith("/MultiDatastreams(2)")
    assert second["dataArray"] == [[[1.5, 270]]]
    both = {**body[3], "MultiDatastream": {"@iot.id": 2}}
    assert (await at.send("POST", "/CreateObservations", json=[both])).status_code == 400
