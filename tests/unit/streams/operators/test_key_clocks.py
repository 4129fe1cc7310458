"""Windows whose keys have clocks of their own, against one record after the other."""

from __future__ import annotations

import numpy as np
from feeds import Feed, as_rows, feeds
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Row, windows_of

from twinstack.streams.operators.seam import END_US, Aggregate, Rows, Watermarks, WindowPlan
from twinstack.streams.operators.windows import GroupBy

COUNT = (Aggregate("rows", "count"),)
NEVER = -(10**18)


def judged(partition: list[Row], plan: WindowPlan) -> tuple[dict, list[Row]]:
    """Rows of each window, and the late ones, of one partition: follows from the order of its records alone."""
    greatest: dict = {}
    high_then: dict = {}
    closed: dict = {}
    windows, late, high = {}, [], NEVER
    for row in partition:
        high = max(high, row.time)
        if row.key is None:
            continue
        before = greatest.get(row.key, NEVER)
        clock = before + high - high_then.get(row.key, high) - plan.grace_us
        last = before // plan.slide_us * plan.slide_us + plan.size_us
        closed[row.key] = max(closed.get(row.key, NEVER), min(clock, last))
        starts = windows_of(row.time, plan.size_us, plan.slide_us)
        first_end = min(starts) + plan.size_us if starts else None
        if row.time < before - plan.grace_us or (first_end is not None and first_end <= closed[row.key]):
            late.append(row)
        else:
            for start in starts:
                windows.setdefault((row.key, start), []).append(row)
        greatest[row.key], high_then[row.key] = max(before, row.time), high
    return windows, late


def own(row: Row) -> Row:
    return row._replace(key=row.key and row.key + str(row.source).encode())


def fed(rows: list[Row], highs: list[int]) -> Rows:
    made = as_rows(0, rows)
    return Rows(0, made.keys, made.times_us, made.sources, made.offsets, made.values, np.array(highs, np.int64))


@settings(max_examples=60, deadline=None)
@given(feeds(sides=1), st.sampled_from([(10, 10), (10, 5), (6, 4)]), st.sampled_from([2, 10_000]), st.data())
def test_windows_and_letters_follow_from_the_order_of_each_partition(feed: Feed, shape, limit: int, data) -> None:
    plan = WindowPlan(*shape, COUNT, clock="key", grace_us=feed.grace)
    logs = [[own(row) for row in rows] for _, rows in feed.partitions]
    highs = [np.maximum.accumulate([row.time for row in rows]).tolist() if rows else [] for rows in logs]
    operator, state, seen, late, now = GroupBy(plan), {}, {}, [], {}
    turns = [*feed.turns, *((source, len(rows)) for source, rows in enumerate(logs))]
    for source, count in [*turns, (None, 0)]:
        batch = []
        if source is None:
            now = dict.fromkeys(range(len(logs)), END_US)
        else:
            start, end = feed.read[source], min(feed.read[source] + count, len(logs[source]))
            if start == end:
                continue
            batch = [fed(logs[source][start:end], highs[source][start:end])]
            feed.read[source], now[source] = end, highs[source][end - 1]
        while True:
            step = operator.process(batch, Watermarks((END_US,), now), limit)
            batch = []
            made = zip(step.settled.keys, step.settled.starts_us.tolist(), strict=True)
            counted = dict(zip(made, step.settled.values.get("rows", np.empty(0)).tolist(), strict=True))
            assert not counted.keys() & seen.keys()
            seen |= counted
            for letter in step.letters:
                assert letter.reason == "late"
                late += zip(letter.block.sources.tolist(), letter.block.offsets.tolist(), strict=True)
            if data.draw(st.booleans()):
                operator = restarted(operator, plan, state)
            if not step.more:
                break
    expected = [judged(log, plan) for log in logs]
    assert seen == {window: len(rows) for windows, _ in expected for window, rows in windows.items()}
    assert sorted(late) == sorted((row.source, row.offset) for _, rows in expected for row in rows)
    assert operator.rows == 0


def restarted(operator: GroupBy, plan: WindowPlan, state: dict) -> GroupBy:
    for key, record in operator.changes().items():
        if record is None:
            del state[key]
        else:
            state[key] = record
    fresh = GroupBy(plan)
    fresh.restore(state)
    assert fresh.rows == operator.rows
    return fresh


def test_a_day_of_buffered_records_is_counted_and_a_silent_key_closes() -> None:
    """One device sends, falls silent, and comes back with what it measured meanwhile; the other sends on."""
    minute = 60
    plan = WindowPlan(minute, minute, COUNT, clock="key", grace_us=0)
    operator, given_, highs = GroupBy(plan), {}, -1

    def send(key: bytes, times: list[int]) -> list:
        nonlocal highs
        rows, reached = [Row(key, time, 0, len(given_) * 10**6 + i + time) for i, time in enumerate(times)], []
        for time in times:
            highs = max(highs, time)
            reached.append(highs)
        step = operator.process([fed(rows, reached)], Watermarks((0,), {0: highs}))
        keys = zip(step.settled.keys, step.settled.starts_us.tolist(), strict=True)
        given_.update(dict(zip(keys, step.settled.values.get("rows", np.empty(0)).tolist(), strict=True)))
        return [letter.places.tolist() for letter in step.letters]

    send(b"buffered", [0, 10, 20])
    for time in range(0, 6_000, 20):
        send(b"steady", [time])
    assert given_[b"buffered", 0] == 3  # silent for longer than the window
    assert send(b"buffered", list(range(30, 6_000, 10))) == [[0, 1, 2]]  # what belongs to the closed window is late
    assert all(given_[b"buffered", start] == 6 for start in range(60, 5_940, 60))
    send(b"steady", [6_050])
    assert all(given_[b"steady", start] == 3 for start in range(0, 6_000, 60))
    assert given_[b"buffered", 5_940] == 6
