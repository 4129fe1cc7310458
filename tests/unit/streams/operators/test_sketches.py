"""Beyond the bound: sketches that no order shows in, near enough to the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from twinstack.core import limits
from twinstack.streams.operators import sketches
from twinstack.streams.operators.exact import deviation, group_squares, group_sums, ratio

BOUND = limits.AGGREGATE_VALUES_EXACT_MAX


def parts(values: np.ndarray, seed: int) -> list[np.ndarray]:
    """The values in another order, cut at other places."""
    random = np.random.default_rng(seed)
    cuts = np.sort(random.integers(0, len(values), 6))
    return [part for part in np.split(random.permutation(values), cuts) if len(part)]


@pytest.mark.parametrize("n", [BOUND, BOUND + 1, 5 * BOUND])
def test_quantiles_do_not_depend_on_the_order_and_are_near(n: int) -> None:
    values = np.random.default_rng(n).normal(3, 10, n)
    states = set()
    for seed in range(3):
        state = sketches.EXACT
        for part in parts(values, seed):
            state = sketches.join_values([state, sketches.value_state(part)])
        states.add(
            state if state[:1] == sketches.SKETCH else state[:1] + np.sort(np.frombuffer(state, offset=1)).tobytes()
        )
    (state,) = states
    assert (state[:1] == sketches.EXACT) == (n <= BOUND)
    assert len(state) <= 8 * BOUND + 1
    for fraction in (0.0, 0.01, 0.5, 0.9, 1.0):
        truth = float(np.quantile(values, fraction))
        near = 1e-12 if n <= BOUND else 2 * sketches.ACCURACY
        assert sketches.quantile(state, fraction) == pytest.approx(truth, rel=near, abs=1e-12 if n <= BOUND else 0.02)


def test_zero_and_signs_keep_their_order_in_a_sketch() -> None:
    values = np.concatenate([np.full(BOUND, -5.0), np.zeros(BOUND), np.full(BOUND, 7.0)])
    state = sketches.value_state(values)
    found = [sketches.quantile(state, fraction) for fraction in (0.1, 0.5, 0.9)]
    assert found == [pytest.approx(-5, rel=0.01), 0.0, pytest.approx(7, rel=0.01)]


@pytest.mark.parametrize("n", [1, BOUND, BOUND + 1, 40_000])
def test_distinct_counts_do_not_depend_on_the_order_and_are_near(n: int) -> None:
    values = np.repeat(np.arange(n), 2)
    counts = set()
    for seed in range(3):
        states = [sketches.distinct_state(map(sketches.digest, part.tolist())) for part in parts(values, seed)]
        one_by_one = states[0]
        for state in states[1:]:
            one_by_one = sketches.join_distinct([one_by_one, state])
        counts |= {sketches.count_distinct(one_by_one), sketches.count_distinct(sketches.join_distinct(states))}
        assert len(one_by_one) <= 16 * BOUND + 1
    (count,) = counts
    assert count == n if n <= BOUND else count == pytest.approx(n, rel=0.06)


def test_equal_values_have_one_digest_and_others_their_own() -> None:
    distinct = [0, 1, 1.5, -1, True, False, "1", "", 2**62, 1e300, [1], {"a": 1}]
    assert len({sketches.digest(value) for value in distinct}) == len(distinct)
    assert sketches.digest(1.0) == sketches.digest(1) and sketches.digest(-0.0) == sketches.digest(0)


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300, 1e-8])
def test_sums_of_any_size_are_exact(scale: float) -> None:
    """Wide exponents take the long way, near ones the short: both are the sum of the fractions."""
    values = np.random.default_rng(1).normal(size=4_000) * scale
    values[::7] *= 1e-7
    sums = group_sums(values, np.array([0, 1_000]))
    squares = group_squares(values[:1_000] / scale, np.array([0]))
    for place, group in enumerate((values[:1_000], values[1_000:])):
        assert ratio(sums.values[place], sums.unit) == math.fsum(group)
    units = group_sums(values[:1_000] / scale, np.array([0]))
    assert deviation(1_000, units.values[0], squares.values[0], units.unit) == pytest.approx(
        np.std(values[:1_000] / scale, ddof=1), rel=1e-12
    )
