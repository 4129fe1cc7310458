import pytest

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, NotServed
from twinstack.query.tree import Path
from twinstack.sensorthings.model import BY_NAME
from twinstack.sensorthings.options import lift, parse_query
from twinstack.sensorthings.plan import is_latest
from twinstack.sensorthings.versions import V10, V11

THING, DATASTREAM = BY_NAME["Thing"], BY_NAME["Datastream"]


def parse(text, entity=THING, version=V11):
    return parse_query(text.encode(), entity, version)


def test_all_options():
    options = parse(
        "$filter=name eq 'a;b,(c'&$orderby=name desc,id&$top=5&$skip=2&$count=true&$select=name,id&$expand=Datastreams"
    )
    assert options.filter is not None
    assert [(o.expr, o.descending) for o in options.orderby] == [(Path(("name",)), True), (Path(("id",)), False)]
    assert (options.top, options.skip, options.count) == (5, 2, True)
    assert options.select == ("name", "@iot.id")
    assert [e.link.name for e in options.expand] == ["Datastreams"]


def test_plus_is_a_blank_and_percent_2b_a_plus():
    assert parse("$filter=name+eq+'a%2Bb'") == parse("%24filter=name%20eq%20'a%2bb'")


def test_nested_options_stand_between_semicolons():
    [one] = parse("$expand=Datastreams($filter=name eq 'x;)';$top=1;$expand=Sensor($select=name),Observations)").expand
    assert one.options.top == 1
    assert [e.link.name for e in one.options.expand] == ["Sensor", "Observations"]
    assert one.options.expand[0].options.select == ("name",)


def test_paths_merge():
    one = parse("$expand=Datastreams/Sensor,Datastreams/Observations($top=1),Locations")
    two = parse("$expand=Datastreams($expand=Sensor,Observations($top=1)),Locations")
    assert one == two
    assert parse("$expand=Datastreams($top=1),Datastreams/Sensor").expand[0].options.top == 1
    assert parse("$expand=Datastreams/Sensor,Datastreams($top=1)").expand[0].options.top == 1


def test_a_next_link_of_a_merged_expand_says_the_same():
    [one] = parse("$expand=Datastreams($top=1),Datastreams/Sensor,Datastreams/Observations($top=1)").expand
    again = parse("&".join(f"{name}={text}" for name, text in one.options.raw), DATASTREAM)
    assert again == one.options


@pytest.mark.parametrize("name", ["Sensors", "sensor", "SENSORS", "Sensor"])
def test_lenient_names_on_1_0(name):
    [one] = parse(f"$expand={name}", DATASTREAM, V10).expand
    assert one.link.name == "Sensor"
    if name != "Sensor":
        with pytest.raises(InvalidInput):
            parse(f"$expand={name}", DATASTREAM, V11)


@pytest.mark.parametrize("text", ["$search=x", "$apply=x", "$format=json", "$compute=x"])
def test_not_served(text):
    with pytest.raises(NotServed):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "$nope=1",
        "$top=1&$top=1",
        "$top=-1",
        "$top=1_000",
        "$top=²",
        "$skip= x",
        "$count=1",
        "$select=a",
        "$select=name,",
        "$expand=Datastreams(",
        "$expand=Datastreams)(",
        "$expand=Datastreams($top=1)Sensor",
        "$expand=Datastreams('",
        "$expand=Datastreams($top)",
        "$expand=Datastreams($skiptoken=x)",
        "$expand=Datastreams($top=1),Datastreams($top=2)",
        "$expand=" + "/".join(["Datastreams", "Thing"] * 5),
        "$orderby=name desc asc",
        "$orderby=" + ",".join(["name"] * (limits.ORDER_KEYS_MAX + 1)),
        "$filter=%ff",
    ],
)
def test_errors(text):
    with pytest.raises(InvalidInput):
        parse(text)


def test_options_that_differ_in_values_have_one_shape():
    def shape(text):
        values = {}
        return lift(parse(text), values), values

    one, first = shape("$filter=name eq 'a' and id gt 5&$top=7&$skip=3&$expand=Locations($filter=name eq 'x')")
    two, second = shape("$filter=name eq 'b' and id gt 6&$top=9&$skip=1&$expand=Locations($filter=name eq 'y')")
    assert one == two
    assert hash(one) == hash(two)
    assert sorted(first) == sorted(second)
    assert set(map(str, first.values())) == {"a", "5", "x"}
    # What SQL depends on is part of the shape.
    assert shape("$filter=name eq '5'")[0] != shape("$filter=name eq 'x'")[0]
    assert shape("$filter=name eq null")[0] != shape("$filter=name eq 'x'")[0]
    assert shape("$top=1")[0] != shape("$top=2")[0] == shape("$top=3")[0]


def test_the_latest_observation_is_recognised():
    def latest(text):
        return is_latest(lift(parse_query(text.encode(), BY_NAME["Observation"], V11), {}))

    assert latest("$top=1&$orderby=phenomenonTime desc")
    assert latest("$select=result&$orderby=phenomenonTime desc&$top=1&$count=true")
    for other in ("$top=2&$orderby=phenomenonTime desc", "$top=1", "$top=1&$orderby=phenomenonTime"):
        assert not latest(other)
    assert not latest("$top=1&$orderby=phenomenonTime desc&$skip=1")
    assert not latest("$top=1&$orderby=phenomenonTime desc&$filter=result gt 1")
