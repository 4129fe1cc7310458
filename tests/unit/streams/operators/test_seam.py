"""The vocabulary of the seam: values as columns, keys as bytes, places on the log as integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinstack.core.errors import CorruptState
from twinstack.streams.operators.keys import decode_key, encode_group, encode_key
from twinstack.streams.operators.seam import as_values, source_code

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=3)
)


@given(st.lists(scalars | st.lists(scalars, max_size=2), max_size=6))
def test_a_column_gives_back_what_went_in(items) -> None:
    column = as_values(items)
    assert column.shape == (len(items),)
    given_back = column.tolist()
    if column.dtype == np.float64:
        given_back = [None if math.isnan(value) else value for value in given_back]
    assert [(type(v), v) for v in given_back] == [(type(v), v) for v in items]


@given(st.lists(scalars, max_size=3), st.lists(scalars, max_size=3))
def test_equal_keys_have_equal_bytes_and_others_have_not(left, right) -> None:
    """As the language compares: 1 = 1.0, 0.0 = -0.0, but TRUE is no number."""

    def same(a, b) -> bool:
        return a == b and isinstance(a, bool) == isinstance(b, bool)

    equal = len(left) == len(right) and all(map(same, left, right))
    assert (encode_group(left) == encode_group(right)) == equal
    assert decode_key(encode_group(left)) == tuple(left)


def test_a_null_makes_no_key() -> None:
    assert encode_key(["a", None]) is None
    assert encode_key(["a", 1.0]) == encode_key(["a", 1])


def test_a_key_that_nobody_encoded_is_refused() -> None:
    with pytest.raises(CorruptState, match="key"):
        decode_key(b"\xc1")


def test_sources_order_as_topic_and_partition() -> None:
    places = [(0, 0), (0, 1), (0, 2**31), (1, 0), (2, 5)]
    assert sorted(source_code(*place) for place in reversed(places)) == [source_code(*place) for place in places]
