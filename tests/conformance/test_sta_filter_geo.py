"""OGC 18-088, 9.3.3.5.2 and 15-078r6, 9.3.3.5.2: the geospatial functions of `$filter`, planar on CRS84 in degrees."""

import json
from random import Random
from typing import Any

import httpx
import pytest
from sensorthings_api import Api, feature, location, thing, whole_thing

from twinstack.query import geometry
from twinstack.sensorthings.model import BY_NAME
from twinstack.sensorthings.options import lift, parse_query
from twinstack.sensorthings.plan import PlanCache
from twinstack.sensorthings.store import Store
from twinstack.sensorthings.versions import V11

STORES = ("sqlite", "postgresql", "postgresql without PostGIS")
REQUIREMENTS = ("request-data/built-in-query-functions",)

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]}
LINE = {"type": "LineString", "coordinates": [[0, 0], [3, 4]]}
FAR = {"type": "Feature", "properties": {"a": 1}, "geometry": {"type": "Point", "coordinates": [10, 10, 99]}}
PLACES = (
    ("Locations 1: a point", {"type": "Point", "coordinates": [1, 1]}),
    ("2: a square", SQUARE),
    ("3: a line of length 5", LINE),
    ("4: a Feature far away, with a height", FAR),
)


@pytest.fixture
async def placed(api: Api) -> Api:
    """Locations 1-4 as PLACES, 5 is no GeoJSON, 6 a Feature without geometry."""
    for name, place in PLACES:
        await api.post("/Locations", location(name, location=place))
    await api.post("/Locations", location("5: a street", encodingType="text/plain", location="Kitchen Road 1"))
    await api.post(
        "/Locations", location("6", location={"type": "Feature", "geometry": None, "properties": {"name": "nowhere"}})
    )
    return api


async def ask(api: Api, set_name: str, text: str, order: str = "id") -> httpx.Response:
    return await api.client.get(api.url(f"/{set_name}"), params={"$filter": text, "$orderby": order})


async def ids(api: Api, set_name: str, text: str, order: str = "id") -> list[int]:
    answer = await ask(api, set_name, text, order)
    assert answer.status_code == 200, answer.text
    return [entity["@iot.id"] for entity in answer.json()["value"]]


CASES = [
    ("geo.distance(location,geography'POINT (1 1)') eq 0", [1, 2]),
    ("geo.distance(location,geography'POINT (1 1)') lt 0.3", [1, 2, 3]),
    ("geo.distance(geography'POINT (13 14)',location) eq 5", [4]),
    ("geo.distance(location,geography'POINT (1 1)') gt 1", [4]),
    ("geo.distance(location,geography'SRID=4326;POINT (1 1)') eq 0", [1, 2]),
    ("geo.length(location) eq 5", [3]),
    ("geo.length(location) eq 0", [1, 2, 4]),
    ("geo.length(geography'LINESTRING (0 0, 0 2)') eq 2 and id eq 1", [1]),
    ("geo.intersects(location,geography'POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))')", [1, 2, 3]),
    ("geo.intersects(location,geography'POINT (0 4)')", [2]),
    ("st_intersects(location,geography'LINESTRING (9 9, 11 11)')", [4]),
    ("st_equals(location,geography'POLYGON ((4 4, 0 4, 0 0, 4 0, 4 4))')", [2]),
    ("st_equals(location,geography'POINT (10 10)')", [4]),
    ("st_disjoint(location,geography'POLYGON ((5 5, 20 5, 20 20, 5 20, 5 5))')", [1, 2, 3]),
    ("not st_disjoint(location,geography'POLYGON ((5 5, 20 5, 20 20, 5 20, 5 5))')", [4]),
    ("st_touches(location,geography'POLYGON ((4 0, 8 0, 8 4, 4 4, 4 0))')", [2]),
    ("st_within(location,geography'POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))')", [1]),
    ("st_within(location,geography'POLYGON ((-1 -1, 5 -1, 5 5, -1 5, -1 -1))')", [1, 2, 3]),
    ("not st_within(location,geography'POLYGON ((-1 -1, 5 -1, 5 5, -1 5, -1 -1))')", [4]),
    ("st_overlaps(location,geography'POLYGON ((2 2, 6 2, 6 6, 2 6, 2 2))')", [2]),
    ("st_crosses(location,geography'LINESTRING (0 3, 3 0)')", [3]),
    ("st_crosses(location,geography'LINESTRING (-1 2, 5 2)')", [2, 3]),
    ("st_contains(location,geography'POINT (2 2)')", [2]),
    ("st_contains(geography'POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))',location)", [1]),
    ("st_relate(location,geography'POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))','T*F**F***')", [1]),
    ("st_relate(location,geography'POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))','t********')", [1, 2, 3]),
    ("st_relate(location,geography'POINT (1 1)','0FFFFFFF2')", [1]),
    ("geo.distance(location,location) eq 0", [1, 2, 3, 4]),
    ("geo.distance(location,geography'POINT (1 1)') eq null", [5, 6]),
    ("st_within(location,geography'POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))') or id eq 5", [1, 5]),
    ("location/coordinates/0 eq 1", [1]),
    ("location/coordinates[1] lt 2", [1]),
    ("location/geometry/coordinates[2] eq 99", [4]),
]


async def test_locations(placed: Api) -> None:
    for text, expected in CASES:
        assert await ids(placed, "Locations", text) == expected, text
        assert await ids(placed.old(), "Locations", text) == expected, text


async def test_order_by_distance_pages_to_the_end(placed: Api) -> None:
    order = "geo.distance(location,geography'POINT (10 9)') desc"
    distances = {1: 145**0.5, 2: 61**0.5, 3: 74**0.5, 4: 1.0}
    expected = [*sorted(distances, key=lambda n: -distances[n]), 5, 6]
    assert await ids(placed, "Locations", "true", order) == expected
    assert [e["@iot.id"] for e in await placed.every(f"/Locations?$top=1&$orderby={order}")] == expected


async def test_through_links(api: Api) -> None:
    await api.post("/Things", whole_thing("Near", 2, properties={"area": SQUARE}))
    await api.post("/Things", thing("Far", Locations=[location(lon=100, lat=10)]))
    near = "geography'POLYGON ((16 48, 17 48, 17 49, 16 49, 16 48))'"
    assert await ids(api, "Things", f"st_within(Locations/location,{near})") == [1]
    assert await ids(api, "Things", f"st_within(Locations/location,{near}) and Locations/name eq 'Kitchen'") == []
    assert await ids(api, "Observations", f"geo.intersects(FeatureOfInterest/feature,{near})") == [1, 2]
    assert await ids(api, "Datastreams", f"st_within(Observations/FeatureOfInterest/feature,{near})") == [1]
    assert await ids(api, "Things", "st_contains(properties/area,geography'POINT (1 2)')") == [1]


async def test_the_observed_area_of_a_datastream(api: Api) -> None:
    """18-088, 8.2.4: the area the Observations lie in; before the first one what the client said."""
    await api.post("/Things", whole_thing("A"))
    await api.patch("/Datastreams(1)", {"observedArea": SQUARE})
    text = "geo.intersects(observedArea,geography'POINT (2 2)')"
    assert await ids(api, "Datastreams", text) == [1]
    for lon in (10.0, 12.0):
        place = feature(feature={"type": "Point", "coordinates": [lon, 5.0]})
        await api.post("/Observations", {"result": 1, "Datastream": {"@iot.id": 1}, "FeatureOfInterest": place})
    assert await ids(api, "Datastreams", text) == []
    assert await ids(api, "Datastreams", "st_intersects(observedArea,geography'POINT (11 5)')") == [1]
    assert await ids(api, "Datastreams", "geo.length(observedArea) eq 2") == [1]


NO_GEOMETRY = [
    "geo.distance(location,null) eq 0",
    "geo.distance(location,geography'POINT (1)') lt 1",
    "geo.distance(location,geography'POINT EMPTY') lt 1",
    "geo.distance(location,geography'POINT (1e999 1)') lt 1",
    "geo.distance(location,geography'nowhere') lt 1",
    "geo.distance(location,geography'') lt 1",
    "geo.distance(location,geography'SRID=3857;POINT (1 1)') lt 1",
    "geo.distance(location,geography'CIRCULARSTRING (0 0, 1 1, 1 0)') lt 1",
    "geo.distance(location,geography'POLYGON ((0 0, 1 1, 0 1))') lt 1",
    "geo.distance(location,'POINT (1 1)') lt 1",
    "geo.distance(name,geography'POINT (1 1)') lt 1",
    "geo.distance(location) lt 1",
    "st_within(location,geography'POINT (1 1)') lt 1",
    "st_relate(location,geography'POINT (1 1)')",
    "st_relate(location,geography'POINT (1 1)','nonsense')",
    "st_relate(location,geography'POINT (1 1)',name)",
    "geo.area(location) gt 1",
    "geography'POINT (1 1)' eq geography'POINT (1 1)'",
    "location eq geography'POINT (1 1)'",
    "geography'POINT (1 1)'",
]


async def test_what_is_no_geometry_is_400(placed: Api) -> None:
    for text in NO_GEOMETRY:
        answer = await ask(placed, "Locations", text)
        assert answer.status_code == 400, (text, answer.text)


def _random_shape(random: Random) -> dict[str, Any]:
    """A point, line, area, or something broken or mixed, on a small grid: neighbours often touch."""
    x, y, w, h = random.randint(0, 5), random.randint(0, 5), random.randint(1, 3), random.randint(1, 3)
    corners = [[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]
    shapes: list[dict[str, Any]] = [
        {"type": "Point", "coordinates": [x, y]},
        {"type": "MultiPoint", "coordinates": [[x, y], [x + w, y + h]]},
        {"type": "LineString", "coordinates": [[x, y], [x + w, y + h]]},
        {"type": "Polygon", "coordinates": [corners]},
        {"type": "Polygon", "coordinates": [[corners[0], corners[2], corners[1], corners[3], corners[0]]]},
    ]
    shapes.append({"type": "GeometryCollection", "geometries": [shapes[0], shapes[3]]})
    shapes.append({"type": "Feature", "properties": {}, "geometry": shapes[random.randrange(4)]})
    return random.choice(shapes)


async def test_random_shapes_agree_with_shapely(api: Api, store: Store) -> None:
    random = Random(20)
    shapes = [_random_shape(random) for _ in range(30)]
    for shape in shapes:
        await api.post("/Locations", location(location=shape))
    texts = [json.dumps(shape) for shape in shapes]
    others = [
        "POINT (3 3)",
        "LINESTRING (0 3, 8 3)",
        "POLYGON ((2 2, 5 2, 5 5, 2 5, 2 2))",
        "POLYGON ((0 0, 9 9, 9 0, 0 9, 0 0))",
    ]
    for name in sorted(geometry.NAMES - {"geo.distance", "geo.length", "st_relate"}):
        for other in others:
            expected = [n for n, text in enumerate(texts, 1) if geometry.call(name, text, other)]
            assert await ids(api, "Locations", f"{name}(location,geography'{other}')") == expected, (name, other)
    for other in others:
        expected = [n for n, text in enumerate(texts, 1) if (geometry.call("geo.distance", text, other) or 0) >= 1.5]
        assert await ids(api, "Locations", f"geo.distance(geography'{other}',location) ge 1.5") == expected
        expected = [n for n, text in enumerate(texts, 1) if geometry.call("st_relate", text, other, "T********")]
        assert await ids(api, "Locations", f"st_relate(location,geography'{other}','T********')") == expected


async def test_postgis_is_used_where_it_is(api: Api, store: Store, request: pytest.FixtureRequest) -> None:
    database = request.node.callspec.params["store"]
    planner = PlanCache(store.engine.dialect).planner(V11)
    options = parse_query(b"$filter=st_within(location,geography'POINT (1 1)')", BY_NAME["Location"], V11)
    level = planner.whole_set(BY_NAME["Location"], lift(options, {}), of_system=False)
    text = level.statement().text
    assert ("ST_Within(" in text) == (database == "postgresql")
    assert ("jsonb" in text) == (database != "sqlite")
    assert len(level.look_ups) == (database != "sqlite")


async def test_a_broken_geometry_fails_no_query(api: Api) -> None:
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    flat = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0], [1, 1], [0, 0]]]}
    mixed = {"type": "GeometryCollection", "geometries": [bow, {"type": "Point", "coordinates": [1, 1]}]}
    for place in (bow, flat, mixed):
        await api.post("/Locations", location(location=place))
    for function in ("equals", "disjoint", "touches", "within", "overlaps", "crosses", "intersects", "contains"):
        for other in ("POINT (1 1)", "POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))"):
            answer = await ask(api, "Locations", f"st_{function}(location,geography'{other}')")
            assert answer.status_code == 200, answer.text
