"""Checked drafts and GeoJSON, without a store."""

import pytest

from twinstack.core.errors import InvalidInput, InvalidTimestamp
from twinstack.sensorthings import geojson, model
from twinstack.sensorthings.geojson import Box
from twinstack.sensorthings.validate import Draft, Ref, parse_create, parse_id, parse_update

THING = {"name": "t", "description": "d"}


def test_annotations_are_ignored_so_that_an_entity_can_be_sent_back():
    body = {
        **THING,
        "@iot.id": 5,
        "@iot.selfLink": "x",
        "Datastreams@iot.navigationLink": "y",
        "Locations": [{"@iot.id": 3, "name": 5}],
    }
    draft = parse_create(model.THING, body, "1.1")
    assert draft.values == THING
    assert draft.links == {"Locations": [Ref(3)]}


def test_nested_entities_become_drafts():
    body = {**THING, "HistoricalLocations": [{"time": "1970-01-01T00:00:01Z"}]}
    (nested,) = parse_create(model.THING, body, "1.1").links["HistoricalLocations"]
    assert isinstance(nested, Draft) and nested.values == {"time": 1_000_000}


def test_nesting_has_an_end():
    body = {"name": "s", "description": "d", "encodingType": "x", "metadata": "m"}
    for _ in range(10):
        body = {"name": "n", "description": "d", "Datastreams": [{"Thing": body}]}
    with pytest.raises(InvalidInput):
        parse_create(model.THING, body, "1.1")


@pytest.mark.parametrize(
    ("entity", "body", "property_"),
    [
        (model.THING, {**THING, "Locations": {"@iot.id": 1}}, "Locations"),
        (model.HISTORICAL_LOCATION, {"time": "1970-01-01T00:00:00Z", "Thing": [{"@iot.id": 1}]}, "Thing"),
        (model.THING, {**THING, "Locations": [1]}, "Locations"),
        (model.THING, {**THING, "description": None}, "description"),
        (model.SENSOR, {**THING, "encodingType": "x", "metadata": None}, "metadata"),
        (model.OBSERVATION, {"result": "\ud800"}, "result"),
        (model.OBSERVATION, {"result": [float("inf")]}, "result"),
    ],
)
def test_errors_name_the_property(entity, body, property_):
    with pytest.raises(InvalidInput) as error:
        parse_create(entity, body, "1.1")
    assert error.value.fields["property"] == property_


@pytest.mark.parametrize("time", ["then", 5, "2026-02-30T00:00:00Z", "2026-01-01T00:00:00Z/2025-01-01T00:00:00Z", ""])
def test_bad_times(time):
    with pytest.raises(InvalidTimestamp, match="phenomenonTime"):
        parse_create(model.OBSERVATION, {"result": 1, "phenomenonTime": time}, "1.1")


def test_a_null_result_is_a_result():
    assert parse_create(model.OBSERVATION, {"result": None}, "1.1").values == {"result": None}
    assert parse_update(model.OBSERVATION, {"result": None}, "1.1", replace=False).values == {"result": None}


def test_properties_of_1_1_are_not_known_on_1_0():
    body = {**THING, "encodingType": "x", "metadata": "m", "properties": {}}
    assert "properties" not in parse_create(model.SENSOR, body, "1.0").values
    assert "properties" in parse_create(model.SENSOR, body, "1.1").values


def test_put_names_every_property_of_its_version():
    assert parse_update(model.THING, THING, "1.1", replace=True).values == {**THING, "properties": None}
    assert parse_update(model.THING, {"name": "x"}, "1.1", replace=False).values == {"name": "x"}


@pytest.mark.parametrize("value", [0, 1, "1", 2**63 - 1])
def test_ids(value):
    assert parse_id(value) == int(value)


@pytest.mark.parametrize("value", [-1, 2**63, True, 1.0, None, "x", "-1", "1" * 20, "\u0661"])
def test_what_is_no_id(value):
    with pytest.raises(InvalidInput):
        parse_id(value)


RING = [[0, 0], [4, 0], [4, 2], [0, 0]]


@pytest.mark.parametrize(
    ("value", "box"),
    [
        ({"type": "Point", "coordinates": [1, 2, 99]}, Box(1, 2, 1, 2)),
        ({"type": "LineString", "coordinates": [[1, 2], [-3, 5]]}, Box(-3, 2, 1, 5)),
        ({"type": "Polygon", "coordinates": [RING]}, Box(0, 0, 4, 2)),
        ({"type": "MultiPolygon", "coordinates": [[RING]]}, Box(0, 0, 4, 2)),
        ({"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [1, 2]}}, Box(1, 2, 1, 2)),
        ({"type": "Feature", "geometry": None}, None),
        (
            {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]}]},
            Box(1, 2, 1, 2),
        ),
        ({"type": "MultiPoint", "coordinates": []}, None),
    ],
)
def test_geojson_boxes(value, box):
    geojson.check(value, "location")
    assert geojson.box(value) == box


@pytest.mark.parametrize(
    "value",
    [
        None,
        "POINT (1 2)",
        {},
        {"type": "Circle", "coordinates": [1, 2]},
        {"type": ["Point"], "coordinates": [1, 2]},
        {"type": "Point"},
        {"type": "Point", "coordinates": [1]},
        {"type": "Point", "coordinates": [1, True]},
        {"type": "Point", "coordinates": [[1, 2]]},
        {"type": "LineString", "coordinates": [[1, 2]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1]]]},
        {"type": "MultiPolygon", "coordinates": [[RING, RING[:-1]]]},
        {"type": "Point", "coordinates": [10**400, 0]},
        {"type": "GeometryCollection", "geometries": 5},
        {"type": "Feature", "geometry": {"type": "Nothing"}},
    ],
)
def test_what_is_not_geojson(value):
    with pytest.raises(InvalidInput, match="GeoJSON"):
        geojson.check(value, "location")
    assert geojson.box(value) is None


def test_the_box_of_a_polygon_is_itself():
    assert geojson.box(Box(1, 2, 3, 4).polygon()) == Box(1, 2, 3, 4)
