"""Results as columns and back; ETags; shards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinstack.core.names import DEFAULT_SYSTEM
from twinstack.sensorthings.store import outbox
from twinstack.sensorthings.store.types import Json
from twinstack.sensorthings.store.values import etag_matches, result_columns, result_value

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


@given(values, st.none() | st.just({"parameters": {"a": 1}}))
def test_a_result_comes_back_with_its_type(value, extra):
    result, kind, stored = result_columns(value, extra)
    assert same(result_value(result, kind, stored), value)
    assert extra is None or stored["parameters"] == {"a": 1}


@pytest.mark.parametrize(("value", "kind"), [(2**53, "i"), (-(2**53), "i"), (2**53 + 1, "j"), (10**400, "j")])
def test_integers_beyond_a_double_are_json(value, kind):
    assert result_columns(value, None)[1] == kind


@given(values)
def test_json_columns_keep_everything(value):
    from sqlalchemy.dialects import sqlite

    dialect = sqlite.dialect()
    stored = Json().process_bind_param(value, dialect)
    assert same(Json().process_result_value(stored, dialect), value)


@pytest.mark.parametrize(
    ("header", "matches"),
    [('W/"3"', True), ('"3"', True), ("*", True), ('"1", W/"3"', True), ('W/"33"', False), ("", False), ("3", False)],
)
def test_if_match(header, matches):
    assert etag_matches(header, 'W/"3"') is matches


def test_shards_do_not_move():
    """The number is on disk: a change would send a system's records past its marker."""
    assert outbox.shard_of(DEFAULT_SYSTEM) == 2
    assert outbox.shard_of("cz.icecars.iot4cps-wp5-CarFleet.Car1") == outbox.shard_of(
        "CZ.icecars.iot4cps-wp5-CarFleet.car1"
    )
    assert {outbox.shard_of(f"a.b.c.{i}") for i in range(100)} == set(range(8))
