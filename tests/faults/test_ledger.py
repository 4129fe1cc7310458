from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.faults.ledger import compare


def test_what_is_right_differs_in_nothing() -> None:
    assert compare({"a": [0, 1, 2]}, {"a": [0, 1, 2]}).none
    assert compare({"a": [0, 1, 2]}, {"a": [0, 2]}, {"a": [1]}).none
    assert compare({"a": [0, 2]}, {"a": [0, 2]}, {"a": [1]}).none
    assert compare({"a": [2, 0]}, {"a": [0, 2]}, ordered=False).none


@given(st.lists(st.integers(0, 50), unique=True, min_size=2).map(sorted), st.data())
def test_every_kind_of_damage_is_seen(numbers: list[int], data: st.DataObject) -> None:
    wanted = {"a": numbers}
    i = data.draw(st.integers(0, len(numbers) - 1))
    assert compare({"a": numbers[:i] + numbers[i + 1 :]}, wanted).missing == 1
    assert compare({"a": [*numbers[: i + 1], *numbers[i:]]}, wanted).duplicate == 1
    assert compare({"a": [*numbers, 99]}, wanted).extra == 1
    assert compare({"a": numbers[::-1]}, wanted).disorder == len(numbers) - 1
    assert compare({"a": numbers, "b": [1]}, wanted).extra == 1
    assert compare({}, wanted).missing == len(numbers)
    assert compare({"a": [*numbers, 99, 99]}, wanted, {"a": [99]}).duplicate == 1
