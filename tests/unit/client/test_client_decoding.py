"""A client takes no value for an observation that history and apps call poison."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinstack.client.consuming import fast_decode
from twinstack.core.errors import InvalidRecord
from twinstack.core.observations import decode

GOOD = '{"phenomenonTime": "2026-11-24T12:00:00Z", "result": 1.5, "Datastream": {"@iot.id": 1, "name": "ä.b"}, "x": 2}'


def test_what_is_plain_takes_the_fast_way() -> None:
    assert fast_decode(GOOD.encode()) == json.loads(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        GOOD[:-1] + ', "result": 2}',
        GOOD[:-1] + ', "r\\u0065sult": 2}',
        GOOD[:-1] + ', "phenomenonTime": "2027-11-24T12:00:00Z"}',
        GOOD[:-1] + ', "x": 3}',
        GOOD.replace('"name"', '"name": "c.d", "name"'),
        GOOD.replace("2}", '{"y": 1, "y": 2}}'),
        GOOD.replace("2}", '[{"y": 1, "y": 2}]}'),
        GOOD.replace("2}", '"\\ud800"}'),
        GOOD.replace("1.5", "1e999"),
        GOOD + GOOD,
        GOOD[:-5],
    ],
)
def test_poison_does_not(text: str) -> None:
    with pytest.raises(InvalidRecord):
        decode(text.encode())
    assert fast_decode(text.encode()) is None


pieces = st.recursive(
    st.sampled_from(['"a"', "1", "null", '"\\u0061"', "1e999", "NaN"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(['"k"', '"result"', '"\\u006b"']), inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{k}:{v}" for k, v in pairs) + "}"
        )
    ),
    max_leaves=8,
)


@given(pieces)
def test_both_ways_agree(text: str) -> None:
    found: Any = fast_decode(text.encode())
    if found is not None:
        assert decode(text.encode()) == found
