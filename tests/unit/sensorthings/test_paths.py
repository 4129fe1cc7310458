import pytest

from twinstack.core.errors import InvalidInput, NotFound, NotServed
from twinstack.sensorthings.paths import PATH_SEGMENTS_MAX, decode, parse_path
from twinstack.sensorthings.versions import V10, V11


def test_a_path_says_entities_links_and_ids():
    path = parse_path("/Datastreams(7)/Thing/Locations", V11)
    assert [(s.entity.name, s.link.name if s.link else None, s.id) for s in path.steps] == [
        ("Datastream", None, 7),
        ("Thing", "Thing", None),
        ("Location", "Locations", None),
    ]
    assert not path.single
    assert path.ids() == {"id0": 7}


@pytest.mark.parametrize(
    ("text", "single", "keys", "tail"),
    [
        ("Things", False, (), ""),
        ("/Things(1)", True, (), ""),
        ("Things(1)/", True, (), ""),
        ("Datastreams(1)/Thing", True, (), ""),
        ("Things(1)/Datastreams(2)", True, (), ""),
        ("Things(1)/name", True, ("name",), ""),
        ("Things(1)/id", True, ("id",), ""),
        ("Things(1)/@iot.id", True, ("@iot.id",), ""),
        ("Things(1)/properties/a/b/$value", True, ("properties", "a", "b"), "$value"),
        ("Things/$ref", False, (), "$ref"),
        ("Datastreams(1)/Thing/$ref", True, (), "$ref"),
    ],
)
def test_ends_of_paths(text, single, keys, tail):
    path = parse_path(text, V11)
    assert (path.single, path.keys, path.tail) == (single, keys, tail)


def test_ids_alone_make_no_new_shape():
    assert parse_path("Things(1)/Datastreams(2)", V11).shape == parse_path("Things(8)/Datastreams(9)", V11).shape
    assert parse_path("Things(1)", V11).shape != parse_path("Things", V11).shape


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Nope", NotFound),
        ("things", NotFound),
        ("Things(1)/Nope", NotFound),
        ("Things/Datastreams", NotFound),
        ("Datastreams(1)/Thing(2)", NotFound),
        ("Things(-1)", NotFound),
        ("Things(9223372036854775808)", NotFound),
        ("Things(" + "9" * 5000 + ")", NotFound),
        ("Things(x)", InvalidInput),
        ("Things()", InvalidInput),
        ("Things(1)/$value", InvalidInput),
        ("Things(1)/name/$ref", InvalidInput),
        ("$ref", InvalidInput),
        ("Things(1)/name/$count", NotFound),
        ("$batch", NotServed),
        ("/".join(["Things(1)"] * (PATH_SEGMENTS_MAX + 1)), InvalidInput),
    ],
)
def test_errors(text, error):
    with pytest.raises(error):
        parse_path(text, V11)


def test_properties_of_1_1_are_not_found_on_1_0():
    parse_path("Sensors(1)/properties", V11)
    with pytest.raises(NotFound):
        parse_path("Sensors(1)/properties", V10)


def test_decode():
    assert decode(b"a%20%C3%A4+") == "a ä+"
    for bad in (b"%ff", b"%C3", b"a%00"):
        with pytest.raises(InvalidInput):
            decode(bad)
