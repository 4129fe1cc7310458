import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinstack.core import timestamps
from twinstack.core.errors import NotServed, QueryError, TwinstackError
from twinstack.query import odata
from twinstack.query.odata import Slot, lift
from twinstack.query.tree import Binary, Call, Chain, In, Literal, Path, Unary


def path(text):
    return Path(tuple(text.split("/")))


def number(value):
    return Literal(value, "int")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name eq 'it''s'", Binary("eq", path("name"), Literal("it's", "string"))),
        ("@iot.id eq 3", Binary("eq", path("@iot.id"), number(3))),
        ("Datastream/@iot.id eq 3", Binary("eq", path("Datastream/@iot.id"), number(3))),
        ("properties/my-key/0 eq null", Binary("eq", path("properties/my-key/0"), Literal(None, "null"))),
        ("a or b and not c eq 1", None),
        ("1 add 2 mul 3", Binary("add", number(1), Binary("mul", number(2), number(3)))),
        ("(1 add 2) mul 3", Binary("mul", Binary("add", number(1), number(2)), number(3))),
        ("8 sub 2 sub 1", Binary("sub", Binary("sub", number(8), number(2)), number(1))),
        ("-5 lt -a", Binary("lt", number(-5), Unary("-", path("a")))),
        ("a in (1,2)", In(path("a"), (number(1), number(2)))),
        ("geography'POINT (30 10)' eq a", Binary("eq", Literal("POINT (30 10)", "geography"), path("a"))),
        ("length(name)", Call("length", (path("name"),))),
        ("time", path("time")),
        ("time eq 12:30", Binary("eq", path("time"), Literal(45_000_000_000, "clock"))),
        ("x eq duration'P1DT1M'", Binary("eq", path("x"), Literal(86_460_000_000, "duration"))),
        ("x eq duration'-PT0.5S'", Binary("eq", path("x"), Literal(-500_000, "duration"))),
        ("a/b[3]/c eq 1", Binary("eq", path("a/b/3/c"), number(1))),
        ("result[0] eq 1", Binary("eq", path("result/0"), number(1))),
        ("not a", Unary("not", path("a"))),
        ("in eq 1", None),
    ],
)
def test_trees(text, expected):
    if text == "a or b and not c eq 1":
        expected = Chain(
            "or",
            (path("a"), Chain("and", (path("b"), Unary("not", Binary("eq", path("c"), number(1)))))),
        )
    if text == "in eq 1":
        with pytest.raises(QueryError):
            odata.parse(text)
        return
    assert odata.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", None),
        ("2026-01-01T00:00:00.5+02:00", "2025-12-31T22:00:00.5Z", None),
        ("2026-01-01", "2026-01-01T00:00:00Z", None),
        ("2026-01-01T00:00:00Z/2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("2026-01-01T00:00:00Z/P1D", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("PT1H/2026-01-01T01:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
    ],
)
def test_times(text, start, end):
    tree = odata.parse(f"t eq {text}")
    us = timestamps.parse_us(start)
    expected = Literal(us, "time") if end is None else Literal((us, timestamps.parse_us(end)), "interval")
    assert tree.right == expected


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("name eq 'x", 9),
        ("name eq", 8),
        ("name = 1", 6),
        ("name eq 1 1", 11),
        ("f(1)", 1),
        ("name in ()", 10),
        ("length(a,b)", 1),
        ("x eq 2026-02-30", 6),
        ("x eq 2026-01-02/2026-01-01", 6),
        ("x eq duration'P1Y'", 6),
        ("x eq 1e999", 6),
        ("", 1),
        ("5x", 1),
    ],
)
def test_errors_have_a_place(text, column):
    with pytest.raises(QueryError) as caught:
        odata.parse(text)
    assert (caught.value.line, caught.value.column) == (1, column)


def test_known_functions_that_are_not_served():
    for text in ("cast(a,b) eq 1", "isof(a)"):
        with pytest.raises(NotServed):
            odata.parse(text)


def test_lift_puts_slots_for_values():
    values = {}
    shape = lift(odata.parse("a eq 'x' and b eq '7' or c gt '2026-01-01T00:00:00Z' and d eq 1.5 and e eq null"), values)
    assert "x" not in repr(shape)
    assert values["v0"] == "x"
    assert (values["v1"], values["v1n"]) == ("7", 7)
    assert values["v3t"] == values["v3e"] == timestamps.parse_us("2026-01-01")
    second = {}
    assert lift(odata.parse("a eq 'y' and b eq '8' or c gt '2027-01-01' and d eq 2.5 and e eq null"), second) == shape
    assert second.keys() == values.keys()
    [slot] = {lift(odata.parse(f"a eq '{text}'"), {}).right.value for text in ("x", "1e999", "2026-13-01", "NaN")}
    assert slot == Slot("v0")


WORDS = (
    "name eq ne and or not in ( ) , 'x' '' 5 -5 1.5 null true id/x @iot.id now() length( contains( add mul div mod - "
    "2026-01-01T00:00:00Z duration'PT1H' geography'x' / ' . a.b $ ä"
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(WORDS.split()), st.text(max_size=3)), max_size=20).map(" ".join))
def test_any_text_is_a_tree_or_an_error_of_ours(text):
    with contextlib.suppress(TwinstackError):
        lift(odata.parse(text), {})
