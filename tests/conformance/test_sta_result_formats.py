"""`$resultFormat=CSV|GeoJSON`: extensions that users of other servers know (RFC 4180, RFC 7946)."""

import csv
import io
import json

import pytest
from sensorthings_api import Api, datastream, feature, location, observed_property, sensor, thing, whole_thing

from twinstack.core import limits


async def table(api: Api, path: str) -> list[list[str]]:
    answer = await api.send("GET", path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.reader(io.StringIO(answer.text, newline=""), strict=True))


async def test_csv_has_a_column_for_each_property(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 2))
    header, *rows = await table(api, "/Observations?$resultFormat=CSV&$orderby=id")
    assert header == ["id", "phenomenonTime", "result", "resultTime", "resultQuality", "validTime", "parameters"]
    assert rows[1] == ["2", "2026-01-01T00:00:01Z", "0.5", "", "", "", ""]
    header, cells = await table(api, "/Datastreams?$resultFormat=CSV&$select=name,unitOfMeasurement,properties")
    assert header == [
        "name",
        "unitOfMeasurement/name",
        "unitOfMeasurement/symbol",
        "unitOfMeasurement/definition",
        "properties",
    ]
    assert cells == ["A temperature", "degree Celsius", "°C", "ucum:Cel", ""]


async def test_csv_flattens_expanded_entities(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 2))
    path = (
        "/Datastreams?$resultFormat=CSV&$select=id&$expand=Thing($select=name;$expand=Locations($top=1;$select=name))"
    )
    newest = "Observations($top=1;$orderby=phenomenonTime desc;$select=result)"
    header, *rows = await table(api, f"{path},{newest}")
    assert header == ["id", "Thing/name", "Thing/Locations/name", "Observations/result"]
    assert rows == [["1", "A", "A place", "0.5"]]
    answer = await api.get("/Things?$resultFormat=CSV&$expand=Datastreams", 400)
    assert "$top=1" in answer["message"]


async def test_csv_quotes_and_disarms_formulas(api: Api) -> None:
    names = ['a "quote", and\r\na line', "=1+1", "+x", "-x", "@x", "\tx", "-5", "+1.5e3", "x=1", ""]
    for name in names:
        await api.post("/Things", thing(name, properties={"k": [1, "é"]}))
    answer = await api.send("GET", "/Things?$resultFormat=CSV&$select=name,properties")
    assert answer.text.startswith('name,properties\r\n"a ""quote"", and\r\na line","{""k"":')
    _, *rows = await table(api, "/Things?$resultFormat=CSV&$select=name,properties")
    disarmed = ("=1+1", "+x", "-x", "@x", "\tx")
    assert [row[0] for row in rows] == [f"'{name}" if name in disarmed else name for name in names]
    assert json.loads(rows[0][1]) == {"k": [1, "é"]}


async def test_csv_has_no_pages(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_ROWS_MAX", 7)
    monkeypatch.setattr(limits, "ANSWER_PAGE_BYTES_MAX", 100)
    monkeypatch.setattr(limits, "ANSWER_BYTES_MAX", 1000)
    await api.post("/Things", whole_thing("A", 150))
    for query, rows in (("", 150), ("&$top=120", 120), ("&$top=5", 5), ("&$top=0", 0), ("&$skip=140", 10)):
        _, *found = await table(api, f"/Observations?$resultFormat=CSV&$orderby=result desc{query}")
        assert len(found) == rows
        assert len({row[0] for row in found}) == rows


@pytest.mark.parametrize("path", ["/Things(1)?$resultFormat=CSV", "/Things?$resultFormat=CSV&$select=Datastreams"])
async def test_csv_is_for_sets_with_columns(api: Api, path: str) -> None:
    await api.post("/Things", thing())
    await api.get(path, 400)


# --- GeoJSON --------------------------------------------------------------------------------------------------------
async def test_locations_and_features_are_a_feature_collection(api: Api) -> None:
    await api.post("/Locations", location("A", 16.4, 48.2))
    body = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {"x": 1}}
    await api.post("/Locations", location("B", location=body))
    await api.post("/Locations", location("C", encodingType="text/plain", location="behind the house"))
    answer = await api.send("GET", "/Locations?$resultFormat=GeoJSON&$count=true")
    assert answer.headers["content-type"] == "application/geo+json"
    collection = answer.json()
    assert (collection["type"], collection["@iot.count"]) == ("FeatureCollection", 3)
    first, second, third = collection["features"]
    assert (first["type"], first["id"]) == ("Feature", 1)
    assert first["geometry"] == {"type": "Point", "coordinates": [16.4, 48.2]}
    assert first["properties"]["name"] == "A"
    assert first["properties"]["@iot.selfLink"].endswith("/Locations(1)")
    assert second["geometry"] == {"type": "Point", "coordinates": [1, 2]}
    assert third["geometry"] is None
    await api.post("/FeaturesOfInterest", feature())
    [one] = (await api.get("/FeaturesOfInterest?$resultFormat=GeoJSON&$select=name"))["features"]
    assert one["geometry"] == {"type": "Point", "coordinates": [1.0, 2.0]}
    assert set(one["properties"]) == {"name", "@iot.selfLink"}


async def test_datastreams_have_their_observed_area(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 1))
    [one] = (await api.get("/Datastreams?$resultFormat=GeoJSON"))["features"]
    assert one["geometry"]["type"] == "Polygon"


async def test_an_expanded_entity_may_give_the_geometry(api: Api) -> None:
    await api.post("/Things", whole_thing("A", 1))
    await api.post("/Things", thing("nowhere"))
    somewhere, nowhere = (await api.get("/Things?$resultFormat=GeoJSON&$expand=Locations"))["features"]
    assert somewhere["geometry"] == {"type": "Point", "coordinates": [16.4, 48.2]}
    assert nowhere["geometry"] is None
    [one] = (await api.get("/Observations?$resultFormat=GeoJSON&$expand=FeatureOfInterest"))["features"]
    assert one["geometry"] == {"type": "Point", "coordinates": [16.4, 48.2]}


async def test_geojson_has_pages(api: Api) -> None:
    for n in range(5):
        await api.post("/Locations", location(f"L{n}"))
    page = await api.get("/Locations?$resultFormat=GeoJSON&$top=3")
    assert len(page["features"]) == 3
    rest = await api.get(page["@iot.nextLink"])
    assert [one["properties"]["name"] for one in rest["features"]] == ["L3", "L4"]


@pytest.mark.parametrize(
    "path",
    ["/Things", "/Sensors", "/Observations", "/Things(1)/Datastreams(1)", "/Things?$expand=Locations($select=name)"],
)
async def test_what_has_no_geometry_is_400(api: Api, path: str) -> None:
    await api.post("/Sensors", sensor())
    await api.post("/ObservedProperties", observed_property())
    body = datastream(Sensor={"@iot.id": 1}, ObservedProperty={"@iot.id": 1})
    await api.post("/Things", thing(Datastreams=[body]))
    await api.get(f"{path}{'&' if '?' in path else '?'}$resultFormat=GeoJSON", 400)
