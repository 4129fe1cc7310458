"""Joins against brute force: any interleaving of partitions, any batches, ties, gaps, restarts at any record."""

from __future__ import annotations

from collections import Counter

from feeds import Feed, feeds
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import asof_join, neighbour_join

from twinstack.streams.operators.join import Join
from twinstack.streams.operators.seam import JoinPlan, Pairs, Step

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


@settings(max_examples=300, deadline=None)
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
