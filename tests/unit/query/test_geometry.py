import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinstack.core.errors import InvalidInput
from twinstack.query import geometry

POINT = '{"type":"Point","coordinates":[3,4]}'
whole = st.integers(-9, 9)


def test_a_literal_has_wkt_and_a_box():
    assert geometry.literal("SRID=4326; LINESTRING Z (1 5 9, 3 2 9)")[1:] == (1, 2, 3, 5, True)
    assert geometry.literal("point(30 10)") == ("POINT (30 10)", 30, 10, 30, 10, True)
    for text in ("POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))", "GEOMETRYCOLLECTION (POINT (1 1))"):
        assert not geometry.literal(text).simple


@pytest.mark.parametrize(
    "text", ["", "x", "POINT EMPTY", "POINT (NaN 1)", "SRID=1;POINT (1 2)", "LINEARRING (0 0,1 1,1 0,0 0)"]
)
def test_other_texts_are_no_literal(text):
    with pytest.raises(InvalidInput):
        geometry.literal(text)


@pytest.mark.parametrize("text", [None, "", "{}", '{"type":"Feature","geometry":null}', "[1]", "POINT EMPTY", 5])
def test_what_is_no_geometry_is_null(text):
    assert geometry.call("geo.distance", text, POINT) is None
    assert geometry.call("st_within", POINT, text) is None


def test_measures_are_degrees_and_heights_do_not_count():
    assert geometry.call("geo.distance", POINT, "POINT Z (0 0 100)") == 5
    assert geometry.call("geo.length", "MULTILINESTRING ((0 0, 0 1), (5 5, 5 7))") == 3
    assert (
        geometry.call("geo.length", "GEOMETRYCOLLECTION (LINESTRING (0 0, 0 1), POLYGON ((0 0, 1 0, 1 1, 0 0)))") == 1
    )


@given(whole, whole, whole, whole)
def test_a_box_is_the_shape_it_has_shrunk_to(west, south, width, height):
    east, north = west + abs(width), south + abs(height)
    text = geometry.from_box(west, south, east, north)
    assert text is not None
    assert text.split()[0] == {0: "POINT", 1: "LINESTRING", 2: "POLYGON"}[(width != 0) + (height != 0)]
    for x, y in ((west, south), (east, north)):
        assert geometry.call("geo.distance", text, f"POINT ({x} {y})") == 0
    assert math.isclose(geometry.call("geo.distance", text, f"POINT ({east + 3} {north + 4})"), 5)
    assert geometry.from_box(None, south, east, north) is None
