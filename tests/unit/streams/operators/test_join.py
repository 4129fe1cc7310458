"""Joins against brute force: any interleaving of partitions, any batches, ties, gaps, restarts at any record."""

from __future__ import annotations

from collections import Counter

from feeds import Feed, as_rows, feeds
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Row, asof_join, neighbour_join

from twinstack.core import limits
from twinstack.streams.operators.join import Join
from twinstack.streams.operators.seam import BEGINNING_US, END_US, JoinPlan, Letters, Pairs, Step, Watermarks

ORACLES = {"neighbour": neighbour_join, "asof": asof_join}
kinds = st.sampled_from(sorted(ORACLES))
withins = st.sampled_from([0, 2, 7, 1_000])


def orders(pairs: Pairs) -> list:
    blocks = (pairs.left, pairs.right)
    sides = [zip(b.times_us.tolist(), b.sources.tolist(), b.offsets.tolist(), strict=True) for b in blocks]
    return list(zip(*sides, strict=True))


def check_step(step: Step[Pairs]) -> None:
    """Keys fit, values are those of their rows, and within one key (left, right) ascends."""
    pairs, last = step.settled, {}
    assert pairs.left.keys == pairs.right.keys
    for key, pair in zip(pairs.left.keys, orders(pairs), strict=True):
        assert last.get(key, ()) < pair
        last[key] = pair
    for side, block in enumerate((pairs.left, pairs.right)):
        if len(block):
            places = zip(block.sources.tolist(), block.offsets.tolist(), strict=True)
            assert block.values["id"].tolist() == [f"{side}:{source}:{offset}" for source, offset in places]


def restarted(join: Join, plan: JoinPlan, state: dict) -> Join:
    commit(join, state)
    fresh = Join(plan)
    fresh.restore(state)
    assert fresh.rows == join.rows
    return fresh


def commit(join: Join, state: dict) -> None:
    for key, record in join.changes().items():
        if record is None:
            del state[key]  # a tombstone of a record that is there
        else:
            state[key] = record


@settings(max_examples=150, deadline=None)
@given(feeds(), kinds, withins, st.data())
def test_each_step_gives_what_its_watermarks_settle(feed: Feed, kind: str, within: int, data) -> None:
    plan = JoinPlan(kind=kind, within_us=within)
    join, state, seen = Join(plan), {}, Counter()
    for rows, marks in feed.batches():
        step = join.process([rows] if rows else [], marks)
        check_step(step)
        seen.update(orders(step.settled))
        assert not step.more and not step.letters
        expected = ORACLES[kind](feed.side(0), feed.side(1), within, marks.sides)
        arrived = {row.order for side in (0, 1) for row in feed.arrived(side)}
        assert seen == Counter({p: n for p, n in expected.items() if set(p) <= arrived})
        match data.draw(st.sampled_from(["go on", "commit", "restart"])):
            case "commit":
                commit(join, state)
            case "restart":
                join = restarted(join, plan, state)
    commit(join, state)
    assert join.rows == 0 and [*state] == [b"k/join/watermarks"]


@settings(max_examples=60, deadline=None)
@given(feeds(), kinds, withins, st.integers(1, 5), st.data())
def test_a_cut_output_goes_on_where_it_was_cut(feed: Feed, kind: str, within: int, limit: int, data) -> None:
    plan = JoinPlan(kind=kind, within_us=within)
    join, state, seen = Join(plan), {}, Counter()
    for rows, marks in feed.batches():
        step = join.process([rows] if rows else [], marks, limit)
        seen.update(orders(step.settled))
        while step.more and data.draw(st.booleans() if rows else st.just(True)):
            before = join.settled_us
            join = restarted(join, plan, state)
            step = join.process([], marks, limit)
            assert join.settled_us >= before
            seen.update(orders(step.settled))
    assert not step.more
    assert seen == ORACLES[kind](feed.side(0), feed.side(1), within)


@settings(max_examples=60, deadline=None)
@given(feeds(), kinds, st.integers(3, 9), st.data())
def test_at_the_bound_the_oldest_leave_and_no_wrong_pair_comes_out(feed: Feed, kind: str, rows_max: int, data) -> None:
    """Twice the same, one of them restarted at any turn."""
    plan = JoinPlan(kind=kind, within_us=1_000, rows_max=rows_max)
    join, twin, state, seen, left = Join(plan), Join(plan), {}, Counter(), set()
    for rows, marks in feed.batches():
        step, other = (j.process([rows] if rows else [], marks) for j in (join, twin))
        assert told_sorted(step) == told_sorted(other)
        seen.update(orders(step.settled))
        for letter in step.letters:
            assert letter.reason == "unpaired"
            left.update(places(letter))
        assert join.rows <= rows_max
        if data.draw(st.booleans()):
            twin = restarted(twin, plan, state)
    expected = ORACLES[kind](feed.side(0), feed.side(1), 1_000)
    assert not seen - expected
    assert all(set(pair) & left for pair in expected - seen)


def places(letter: Letters) -> list[tuple[int, int, int]]:
    block = letter.block
    return list(zip(block.times_us.tolist(), block.sources.tolist(), block.offsets.tolist(), strict=True))


def told(step: Step[Pairs]) -> list:
    return [orders(step.settled), *((letter.reason, letter.side, places(letter)) for letter in step.letters)]


def told_sorted(step: Step[Pairs]) -> list:
    """Keys have no order among each other."""
    return [
        sorted(orders(step.settled)),
        *((letter.reason, letter.side, sorted(places(letter))) for letter in step.letters),
    ]


LONG_AGO = Watermarks((BEGINNING_US, BEGINNING_US))


def row(time: int, source: int = 0, offset: int | None = None, key: bytes | None = b"a") -> Row:
    return Row(key, time, source, time if offset is None else offset)


def test_one_record_closes_at_most_so_many_others(monkeypatch) -> None:
    """Whether those that wait were there before it, or come when it is settled: the nearest alone is paired."""
    monkeypatch.setattr(limits, "FAN_OUT_MAX", 3)
    crowd, closing = [row(time, 1) for time in range(1, 6)], row(6)
    waiting = Join(JoinPlan())
    waiting.process([as_rows(1, crowd)], LONG_AGO)
    step = waiting.process([as_rows(0, [closing])], Watermarks((7, 2)))
    assert told(step) == [[((6, 0, 6), (5, 1, 5))], ("fan_out", 0, [(6, 0, 6)])]

    behind = Join(JoinPlan())
    behind.process([as_rows(0, [closing])], Watermarks((7, BEGINNING_US)))
    assert told(behind.process([as_rows(1, crowd[:2])], Watermarks((7, 0)))) == [
        [((6, 0, 6), (1, 1, 1)), ((6, 0, 6), (2, 1, 2))]
    ]
    assert told(behind.process([as_rows(1, crowd[2:])], Watermarks((7, 0)))) == [
        [((6, 0, 6), (5, 1, 5))],
        ("fan_out", 0, [(6, 0, 6)]),
    ]
    assert behind.process([as_rows(1, [row(2, 2)])], Watermarks((7, 0))).letters == []


def test_a_record_behind_its_sides_watermark_is_late_and_one_without_a_key_is_counted() -> None:
    join = Join(JoinPlan())
    join.process([], Watermarks((10, 0)))
    step = join.process([as_rows(1, [row(3, 1)]), as_rows(0, [row(10), row(9), row(5, key=None)])], Watermarks((10, 0)))
    (letter,) = step.letters
    assert (letter.reason, letter.side, letter.batch, letter.places.tolist()) == ("late", 0, 1, [1])
    assert places(letter) == [(9, 0, 9)] and letter.block.values["id"].tolist() == ["0:0:9"]
    assert step.null_keys == 1 and join.rows == 2


def test_a_side_that_stands_still_costs_no_more_memory_than_allowed() -> None:
    plan = JoinPlan(rows_max=1_000)
    join, left = Join(plan), 0
    for start in range(0, 5_000, 100):
        rows = [row(time) for time in range(start, start + 100)]
        step = join.process([as_rows(0, rows)], Watermarks((start + 99, BEGINNING_US)))
        left += sum(len(letter.block) for letter in step.letters)
        assert join.rows <= plan.rows_max
    assert left + join.rows == 5_000
    step = join.process([as_rows(1, [row(10, 1), row(4_999, 1)])], Watermarks((END_US, END_US)))
    assert [letter.reason for letter in step.letters] == ["unpaired"]
    held = 5_000 - left
    assert len(step.settled) == held  # all that was held waited for the one at 4,999


def test_memory_counts_too() -> None:
    plan = JoinPlan(bytes_max=200_000)
    join = Join(plan)
    for start in range(0, 5_000, 100):
        join.process([as_rows(0, [row(time) for time in range(start, start + 100)])], LONG_AGO)
        assert join.nbytes <= plan.bytes_max
    assert 0 < join.rows < 2_000
