"""Windows against brute force with exact fractions, and against DuckDB."""

from __future__ import annotations

import math

from feeds import Feed, feeds
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import aggregated, windows_of

from twinstack.streams.operators.seam import Aggregate, Step, WindowPlan, Windows, as_values
from twinstack.streams.operators.windows import GroupBy

FUNCTIONS = ("sum", "avg", "min", "max", "stddev", "median", "percentile")
ANY = ("count", "first", "last", "count_distinct")
AGGREGATES = (
    Aggregate("rows", "count"),
    *(Aggregate(name, name, "value", fraction=0.9) for name in FUNCTIONS),
    *(Aggregate(name, name, "value", kind="any") for name in ANY),
)
floats = st.floats(allow_nan=False, allow_infinity=False)
values = st.sampled_from([None, 0, 1, 1.0, -0.0, 2.5, 0.1, 1e308, -1e308, 5e-324, "a", True, 2**62]) | floats
SHAPES = [(10, 10), (10, 5), (6, 4), (4, 6), (7, 1)]


def plain(windows: Windows) -> dict:
    """What stands in each window."""
    keys = zip(windows.keys, windows.starts_us.tolist(), windows.ends_us.tolist(), strict=True)
    columns = {name: column.tolist() for name, column in windows.values.items()}
    return {key: {name: none(column[i]) for name, column in columns.items()} for i, key in enumerate(keys)}


def none(value):
    return None if isinstance(value, float) and math.isnan(value) else value


def expected(feed: Feed, value: dict, plan: WindowPlan) -> dict:
    groups: dict = {}
    for row in feed.side(0):
        if row.key is not None:
            for start in windows_of(row.time, plan.size_us, plan.slide_us):
                end = start + plan.size_us
                groups.setdefault((row.key, start, end), []).append((row, value[row.source, row.offset]))
    return {
        window: {"rows": len(rows)}
        | {name: aggregated(name, rows, 0.9 if name == "percentile" else 0.5) for name in (*FUNCTIONS, *ANY)}
        for window, rows in groups.items()
    }


def commit(operator: GroupBy, state: dict) -> None:
    for key, record in operator.changes().items():
        if record is None:
            del state[key]
        else:
            state[key] = record


def restarted(operator: GroupBy, plan: WindowPlan, state: dict) -> GroupBy:
    commit(operator, state)
    fresh = GroupBy(plan)
    fresh.restore(state)
    assert fresh.rows == operator.rows
    return fresh


def drawn_values(data, feed: Feed) -> dict:
    value = {(row.source, row.offset): data.draw(values) for row in feed.side(0)}
    feed.values = lambda rows: {"value": as_values([value[row.source, row.offset] for row in rows])}
    return value


@settings(max_examples=60, deadline=None)
@given(feeds(sides=1, rows_max=12), st.sampled_from(SHAPES), st.sampled_from([1, 3, 10_000]), st.data())
def test_windows_close_once_with_what_belongs_to_them(feed: Feed, shape: tuple, limit: int, data) -> None:
    value = drawn_values(data, feed)
    plan = WindowPlan(*shape, AGGREGATES)
    operator, state, seen = GroupBy(plan), {}, {}
    for rows, marks in feed.batches():
        batch: list = [rows] if rows else []
        while True:
            step: Step[Windows] = operator.process(batch, marks, limit)
            made, batch = plain(step.settled), []
            assert not step.letters and len(made) <= limit
            assert list(made) == sorted(made, key=lambda window: (window[2], window[0]))
            assert all(end <= marks.sides[0] for _, _, end in made) and not made.keys() & seen.keys()
            seen |= made
            match data.draw(st.sampled_from(["go on", "commit", "restart"])):
                case "commit":
                    commit(operator, state)
                case "restart":
                    operator = restarted(operator, plan, state)
            if not step.more:
                break
        open_ = {window: v for window, v in expected(feed, value, plan).items() if window[2] <= marks.sides[0]}
        assert {w: {n: (type(x), x) for n, x in v.items()} for w, v in seen.items()} == {
            w: {n: (type(x), x) for n, x in v.items()} for w, v in open_.items()
        }
    commit(operator, state)
    assert operator.rows == 0 and [*state] == [b"k/window/watermark"]
