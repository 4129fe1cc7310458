"""What operators write: chunks of bounded size, little that is dead, and a clear error for what cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinstack.core import limits
from twinstack.core.errors import CorruptState
from twinstack.streams.operators.join import Join
from twinstack.streams.operators.packing import pack_column, unpack_column
from twinstack.streams.operators.previous import PreviousRecord
from twinstack.streams.operators.seam import (
    BEGINNING_US,
    END_US,
    Aggregate,
    JoinPlan,
    Rows,
    Watermarks,
    WindowPlan,
    as_values,
)
from twinstack.streams.operators.windows import GroupBy

EVERY = tuple(
    Aggregate(name, name, "result", fraction=0.9)
    for name in (
        "count",
        "sum",
        "avg",
        "min",
        "max",
        "first",
        "last",
        "stddev",
        "median",
        "percentile",
        "count_distinct",
    )
)


def rows(side: int, start: int, n: int, *, keys: int = 40, text: str = "x") -> Rows:
    random = np.random.default_rng(start + side)
    numbers = np.arange(start, start + n)
    ids = as_values([f"{side}-{number}-{text}" for number in numbers.tolist()])
    chosen = [b"%d" % key for key in random.integers(0, keys, n).tolist()]
    return Rows(side, chosen, numbers, np.zeros(n, np.int64), numbers, {"result": random.normal(size=n), "id": ids})


def apply(operator, state: dict) -> int:
    changes = operator.changes()
    for key, record in changes.items():
        if record is None:
            del state[key]
        else:
            assert len(record) <= limits.STATE_CHUNK_BYTES_MAX
            state[key] = record
    return sum(len(record or b"") for record in changes.values())


def test_a_large_state_is_cut_into_chunks() -> None:
    join, state = Join(JoinPlan()), {}
    join.process([rows(0, 0, 4_000, text="long" * 100)], Watermarks((BEGINNING_US, BEGINNING_US)))
    apply(join, state)
    assert len([key for key in state if key.startswith(b"b/join/")]) >= 7
    fresh = Join(JoinPlan())
    fresh.restore(state)
    assert fresh.rows == 4_000 and fresh.changes() == {}


def test_a_value_larger_than_a_chunk_is_a_chunk_of_its_own() -> None:
    join = Join(JoinPlan())
    large = "x" * 2 * limits.STATE_CHUNK_BYTES_MAX
    join.process([rows(0, 0, 3, text=large), rows(1, 100, 1)], Watermarks((BEGINNING_US, BEGINNING_US)))
    records = {key: record for key, record in join.changes().items() if record is not None}
    fresh = Join(JoinPlan())
    fresh.restore(records)
    assert fresh.rows == 4


@pytest.mark.parametrize("keys", [1, 40, 3_000])
def test_what_is_read_at_restore_is_a_small_multiple_of_what_is_alive(keys: int) -> None:
    """And a restart at each transaction gives the pairs of one that never stops."""
    plan, state, written = JoinPlan(within_us=20_000), {}, 0
    join, steady, both = Join(plan), Join(plan), []
    for start in range(0, 30_000, 300):
        batch = [rows(side, start, 300, keys=keys) for side in (0, 1)]
        marks = Watermarks((start + 299, start + 150))
        both.append(tuple(len(j.process(batch, marks).settled) for j in (join, steady)))
        written += apply(join, state)
        if start % 3_000 == 0:
            join = Join(plan)
            join.restore(state)
    assert all(one == other for one, other in both) and sum(one for one, _ in both) > 10_000
    anew, alive = Join(plan), {}
    anew.restore(state)
    copy = Join(plan)
    copy._sides, copy._names = anew._sides, anew._names  # its live rows, as if all were new
    for side in copy._sides:
        side.set_chunk(np.arange(len(side)), -1)
    apply(copy, alive)
    assert sum(map(len, state.values())) <= 3 * sum(map(len, alive.values())) + 64 * 16 * limits.KIB
    assert len(state) < 400


def operators() -> list:
    join, windows, keyed, previous = (
        Join(JoinPlan()),
        GroupBy(WindowPlan(1_000, 500, EVERY)),
        GroupBy(WindowPlan(1_000, 1_000, EVERY, name="keyed", clock="key")),
        PreviousRecord(),
    )
    first = rows(0, 0, 600)
    join.process([first, rows(1, 0, 600)], Watermarks((500, 400)))
    windows.process([first], Watermarks((500,)))
    highs = Rows(0, first.keys, first.times_us, first.sources, first.offsets, first.values, first.times_us)
    keyed.process([highs], Watermarks((500,), {0: 599}))
    previous.process(first)
    return [
        (join, lambda: Join(JoinPlan())),
        (windows, lambda: GroupBy(WindowPlan(1_000, 500, EVERY))),
        (keyed, lambda: GroupBy(WindowPlan(1_000, 1_000, EVERY, name="keyed", clock="key"))),
        (previous, PreviousRecord),
    ]


def test_operators_share_a_state_topic() -> None:
    made = operators()
    state: dict = {}
    for operator, _ in made:
        changes = operator.changes()
        assert not changes.keys() & state.keys()
        state |= changes
    for operator, anew in made:
        fresh = anew()
        fresh.restore(state)
        assert fresh.rows == operator.rows and fresh.changes() == {}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 3), st.data())
def test_damaged_state_is_a_clear_error_or_does_no_harm(which: int, data) -> None:
    """Whatever byte is changed or cut off: never a traceback of a vendor."""
    operator, anew = operators()[which]
    state = operator.changes()
    key = data.draw(st.sampled_from(sorted(state)))
    record = bytearray(state[key])
    place = data.draw(st.integers(0, len(record) - 1))
    if data.draw(st.booleans()):
        del record[place:]
    else:
        record[place] ^= data.draw(st.integers(1, 255))
    try:
        anew().restore({**state, key: bytes(record)})
    except CorruptState as error:
        assert key.decode() in error.message and error.fix and error.fields["key"] == key.decode()


def test_another_version_is_told() -> None:
    with pytest.raises(CorruptState, match="version 9"):
        Join(JoinPlan()).restore({b"k/join/watermarks": b"\x09abc"})
    with pytest.raises(CorruptState, match="number"):
        Join(JoinPlan()).restore({b"b/join/x": b"\x01"})


numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
items = st.none() | st.booleans() | numbers | st.text(max_size=3)


@given(st.lists(items | st.lists(items, max_size=2) | st.binary(max_size=3), max_size=8))
def test_a_column_comes_back_as_it_was(values) -> None:
    column = as_values(values)
    back = unpack_column(pack_column(column), len(values))
    given_back = [None if v != v else v for v in back.tolist()] if back.dtype == np.float64 else back.tolist()
    assert [(type(v), v) for v in given_back] == [(type(v), v) for v in values]


def test_the_values_of_a_median_count_as_memory() -> None:
    plan = WindowPlan(10, 10, (Aggregate("median", "median", "result"),), bytes_max=100_000)
    operator = GroupBy(plan)
    for start in range(0, 9_000, 300):
        operator.process([rows(0, start, 300)], Watermarks((BEGINNING_US,)))
        assert operator.nbytes <= plan.bytes_max + 10_000  # and the names of 40 keys
    assert operator.rows
    operator.process([], Watermarks((END_US,)))
    assert operator.rows == 0 and operator.nbytes < 20_000  # the names are left


def test_at_the_bound_the_oldest_panes_leave_and_no_part_of_a_window_comes_out() -> None:
    plan = WindowPlan(100, 50, (Aggregate("n", "count"),), panes_max=64)
    operator, state, left, seen = GroupBy(plan), {}, 0, {}
    for start in range(0, 3_000, 100):
        step = operator.process([rows(0, start, 100, keys=10)], Watermarks((0,)))
        left += sum(len(letter.block) for letter in step.letters if letter.reason == "unpaired")
        assert operator.rows <= 64
        apply(operator, state)
        operator = GroupBy(plan)
        operator.restore(state)
    step = operator.process([rows(0, 0, 10)], Watermarks((END_US,)))
    assert [letter.reason for letter in step.letters] == ["unpaired"] and left > 0
    whole = GroupBy(WindowPlan(100, 50, (Aggregate("n", "count"),)))
    everything = whole.process([rows(0, start, 100, keys=10) for start in range(0, 3_000, 100)], Watermarks((END_US,)))
    for windows, into in ((everything.settled, expected := {}), (step.settled, seen)):
        keys = zip(windows.keys, windows.starts_us.tolist(), strict=True)
        into.update(zip(keys, windows.values["n"].tolist(), strict=True))
    assert seen and seen.items() <= expected.items()
