"""From a record on the log to an Observation, and which Datastream it may belong to."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinstack.bridges.history import Claim, Unstorable, read
from twinstack.core import timestamps
from twinstack.core.observations import encode

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=3)
    ),
    max_leaves=5,
)
instants = st.integers(timestamps.parse_us("0001-01-01T00:00:00Z"), timestamps.parse_us("9999-12-31T23:59:59Z"))


@given(result=json_values, start=instants, length=st.integers(0, 10**9), parameters=json_values)
def test_what_is_encoded_is_read_back(result, start, length, parameters):
    end = min(start + length, timestamps.parse_us("9999-12-31T23:59:59Z"))
    value = encode(
        phenomenon_time=timestamps.format_interval_us(start, end),
        result_time=timestamps.format_us(start),
        result=result,
        datastream_id=7,
        log_key="a.b.c.d.T.q",
        attributes=None if parameters is None else {"parameters": parameters},
    )
    claim, row = read(b"k", value, 0)
    assert claim == Claim("k", "a.b.c.d.T.q", 7)
    assert (row.t, row.t_end, row.result_time) == (start, end, start)
    assert json.dumps(row.result) == json.dumps(result)
    assert (row.extra or {}).get("parameters") == parameters


def record(**keys):
    return json.dumps({"result": 1.0, "Datastream": {"@iot.id": 1}, **keys}).encode()


def test_a_missing_time_is_the_time_of_arrival():
    _, row = read(None, record(), 1_500)
    assert (row.t, row.t_end, row.result_time, row.extra) == (1_500_000, None, None, None)


@pytest.mark.parametrize(
    ("given_", "us"),
    [
        ("2018-12-04T14:18:11.376306+00:00", 1_543_933_091_376_306),
        (1_543_933_091, 1_543_933_091_000_000),
        (1_543_933_091_376, 1_543_933_091_376_000),
        (1_543_933_091.5, 1_543_933_091_500_000),
    ],
)
def test_times_of_old_producers(given_, us):
    assert read(None, record(phenomenonTime=given_), 0)[1].t == us


def test_the_registry_prefix_is_no_part_of_the_value():
    assert read(None, b"\0\0\0\0\7" + record(), 0)[1].result == 1.0


def test_attributes_join_the_parameters_whose_own_win():
    _, row = read(None, record(longitude=13.0, x="attribute", parameters={"x": "own"}), 0)
    assert row.extra == {"parameters": {"longitude": 13.0, "x": "own"}}
    _, row = read(None, record(longitude=13.0, parameters=[1]), 0)
    assert row.extra == {"parameters": {"longitude": 13.0, "parameters": [1]}}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xff", "encoding"),
        (b"{", "json"),
        (b"[]", "not_object"),
        (b"{} {}", "json"),
        (b'{"result": 1, "result": 2}', "duplicate_key"),
        (b'{"result": NaN}', "number"),
        (b'{"result": 1e999}', "number"),
        (b'{"a": ' * 100 + b"1" + b"}" * 100, "depth"),
        (b"{}", "missing_result"),
        (record(phenomenonTime="yesterday"), "timestamp"),
        (record(phenomenonTime="2026-01-02T00:00:00Z/2026-01-01T00:00:00Z"), "timestamp"),
        (record(phenomenonTime=12), "timestamp"),
        (record(resultTime=[]), "timestamp"),
        (record(result="\0"), "invalid_input"),
    ],
)
def test_what_cannot_be_stored_says_why(value, reason):
    with pytest.raises(Unstorable) as error:
        read(b"k", value, 0)
    assert error.value.reason == reason


@pytest.mark.parametrize(
    ("link", "claim"),
    [
        ({"@iot.id": 2}, Claim("k", None, 2)),
        ({"@iot.id": "2", "name": 5}, Claim("k", None, -1)),
        ({"@iot.id": True}, Claim("k", None, -1)),
        ({"@iot.id": 2**40}, Claim("k", None, -1)),
        ("text", Claim("k", None, None)),
        (None, Claim("k", None, None)),
    ],
)
def test_claims(link, claim):
    assert read(b"k", record(Datastream=link), 0)[0] == claim


def test_a_key_that_is_no_text_is_no_claim():
    assert read(b"\xff\xfe", record(), 0)[0] == Claim(None, None, 1)
