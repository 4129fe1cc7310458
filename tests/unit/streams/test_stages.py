"""Two stages on logs in memory: any interleaving, batch size and restart gives what the oracle says."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_pump import BEGIN_US, NAMES, Pump, Record, S, partition_of, record
from stream_fakes import OTHER, spec

from twinstack.core.ids import derived_id
from twinstack.core.timestamps import format_us
from twinstack.query.streamsql import Columns
from twinstack.streams.headers import parse_source
from twinstack.streams.view import Everything

JOIN = """SELECT a.result AS result, b.result AS other, b.name AS partner
FROM * FILTER (datastream IN ('Quantity_0', 'Quantity_1')) AS a
NEIGHBOUR JOIN * FILTER (datastream IN ('Quantity_2', 'Quantity_3')) AS b
ON a.thing = b.thing WITHIN 10 SECONDS WHERE a.result + b.result < 1900"""
OFF: dict[str, Any] = {"idle_after_ms": None}


@st.composite
def logs(draw: st.DrawFn) -> tuple[int, list[list[Record]], list[tuple[int, int, int]]]:
    """Number of partitions, their records in order of time, and turns: (stage, which input, how many; 0 commits, -1
    restarts)."""
    partitions = draw(st.integers(1, 8))
    steps = draw(
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 1, 3, 12]), st.integers(0, 999)), max_size=40)
    )
    made: list[list[Record]] = [[] for _ in range(partitions)]
    now = BEGIN_US
    for i, (number, seconds, result) in enumerate(steps):
        now += seconds * S
        made[partition_of(number, partitions)].append(record(number, now, result, i))
    turns = draw(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 7), st.integers(-1, 7)), max_size=40))
    return partitions, made, turns


def run(pump: Pump, turns: list[tuple[int, int, int]]) -> None:
    for stage, which, n in turns:
        inputs = pump.inputs(stage)
        if n == 0:
            pump.commit(stage)
        elif n < 0:
            pump.restart(stage)
        else:
            pump.read(stage, inputs[which % len(inputs)], n)
    pump.finish()


def flush(pump: Pump, partitions: int) -> None:
    for p in range(partitions):
        pump.put(p, record(0, BEGIN_US + 86_400 * S, 99_999, 10_000 + p))


def pairs_of(made: list[list[Record]]) -> Counter[tuple[str, str, int, int]]:
    """Brute force over all records (times of a partition never fall, so nothing is late)."""
    rows = []
    for p, records in enumerate(made):
        for offset, each in enumerate(records):
            body = json.loads(each.value or b"")
            number = body["Datastream"]["@iot.id"]
            at = int(np.datetime64(body["phenomenonTime"].removesuffix("Z"), "us").astype(np.int64))
            rows.append((number, (at, p, offset), body["result"], dict(each.headers)["ts-id"].decode()))
    found: Counter[tuple[str, str, int, int]] = Counter()
    for thing in (0, 1):
        left = sorted((r for r in rows if r[0] == thing), key=lambda r: r[1])
        right = sorted((r for r in rows if r[0] == thing + 2), key=lambda r: r[1])
        pairs = set()
        for mine, others, swapped in ((left, right, False), (right, left, True)):
            for row in mine:
                before = [o for o in others if o[1][0] <= row[1][0]][-1:]
                after = [o for o in others if o[1][0] >= row[1][0]][:1]
                pairs |= {(o, row) if swapped else (row, o) for o in (*before, *after)}
        for a, b in pairs:
            if abs(a[1][0] - b[1][0]) <= 10 * S and a[2] + b[2] < 1900:
                ident = derived_id(spec().uid, a[3], b[3])
                found[ident, format_us(max(a[1][0], b[1][0])), a[2], b[2]] += 1
    return found


@settings(max_examples=150, deadline=None)
@given(logs())
def test_a_join_of_two_stages_is_exact(given_logs: tuple[int, list[list[Record]], list[tuple[int, int, int]]]) -> None:
    partitions, made, turns = given_logs
    pump = Pump(JOIN, partitions, **OFF)
    for p, records in enumerate(made):
        pump.put(p, *records)
    flush(pump, partitions)
    run(pump, turns)
    got = Counter((o["id"], o["phenomenonTime"], o["result"], o["parameters"]["other"]) for o in pump.observations())
    assert got == pairs_of(made)
    assert not pump.letters


def test_what_a_pair_becomes() -> None:
    pump = Pump(JOIN, 1, **OFF)
    pump.put(0, record(0, BEGIN_US, 7, 1), record(2, BEGIN_US + S, 8, 2), record(0, BEGIN_US + 100 * S, 9, 3))
    pump.finish()
    (made,) = pump.outputs
    body = json.loads(made.value or b"")
    key = f"{spec().target}.app.result"
    assert made.key == key.encode()
    assert body == {
        "phenomenonTime": format_us(BEGIN_US + S),
        "resultTime": format_us(BEGIN_US + S + 2),
        "result": 7,
        "Datastream": {"name": key},
        "parameters": {"other": 8, "partner": "Station_0.Quantity_2"},
    }
    headers = dict(made.headers)
    ids = [f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2)]
    assert parse_source(headers["ts-source"]) == [(NAMES[0], ids[0]), (NAMES[2], ids[1])]
    assert headers["ts-id"].decode() == derived_id(spec().uid, *ids)
    assert headers["ts-app"] == b"abcdefghij.1"


def test_letters_of_the_first_stage() -> None:
    pump = Pump(JOIN, 1, **OFF, grace_us=S)
    late = record(0, BEGIN_US - 2 * S, 1, 2)
    future = record(0, BEGIN_US + 7_200 * S, 1, 3, logged_ms=BEGIN_US // 1000)
    timeless = Record(
        (late.value or b"").replace(b'"phenomenonTime": "', b'"phenomenonTime": "x'), late.key, late.headers, 0
    )
    pump.put(0, record(0, BEGIN_US, 7, 1), late, future, timeless, record(2, BEGIN_US - S, 4, 5))
    pump.finish()
    assert [(x["error"], x["offset"]) for x in pump.told()] == [("late", 1), ("future", 2), ("time", 3)]
    assert pump.letters[0].value == late.value
    assert pump.counters[0].dead == 3


def test_a_silent_partition_holds_nothing_once_it_was_declared_idle() -> None:
    pump = Pump(JOIN, 2, idle_after_ms=1)
    mine = partition_of(0, 2)
    pump.put(mine, record(0, BEGIN_US, 7, 1), record(2, BEGIN_US + S, 8, 2), record(0, BEGIN_US + 100 * S, 9, 3))
    pump.finish()
    assert not pump.outputs
    pump.quiet([1 - mine])
    pump.commit(0)
    pump.restart(0)
    pump.finish()
    assert len(pump.outputs) == 1
    # It comes back with a record that is older than what was settled: that one is late, the app goes on.
    other = record(2, BEGIN_US, 8, 4)
    pump.put(1 - mine, other, record(2, BEGIN_US + 101 * S, 6, 5))
    pump.put(mine, record(0, BEGIN_US + 200 * S, 3, 6))
    pump.finish()
    assert [x["error"] for x in pump.told()] == ["late"]
    assert pump.told()[0]["offset"] == 0


class Hiding(Everything):
    """The view of a grant: no results of 500 and more, nothing of Quantity_1."""

    own = False
    columns = frozenset({"result", "name"})
    headers = (("ts-grant", b"g.1"),)

    def visible(self, columns: Columns) -> Any:
        results = columns.columns["result"].values
        names = columns.columns["name"]
        codes = names.codes if names.codes is not None else np.arange(columns.n)
        hidden = np.array([str(names.values[c]).endswith("Quantity_1") for c in codes])
        large = np.array([not isinstance(r, int | float | np.number) or r >= 500 for r in results])
        return ~(hidden | large)


@settings(max_examples=40, deadline=None)
@given(logs(), st.randoms(use_true_random=False))
def test_what_a_view_hides_changes_nothing(
    given_logs: tuple[int, list[list[Record]], list[tuple[int, int, int]]], draw: random.Random
) -> None:
    partitions, made, _ = given_logs
    hidden = [
        record(0, BEGIN_US + 4_000 * S, 700, 500),
        record(1, BEGIN_US + 4_000 * S, 3, 501),
        record(2, BEGIN_US - 4_000 * S, 900, 502),
        record(3, BEGIN_US + 80_000 * S, 600, 503, logged_ms=BEGIN_US // 1000),
        Record(b"{", NAMES[0].encode(), [], 0),
        Record(b'{"result":1,"Datastream":{"name":"it.other.system.here.T.D"}}', None, [], 0),
    ]
    outcomes = []
    for noisy in (False, True):
        pump = Pump(JOIN, partitions, views=lambda topic: Hiding(), **OFF)
        for p, records in enumerate(made):
            for each in records:
                if noisy and draw.random() < 0.5:
                    pump.put(p, draw.choice(hidden))
                pump.put(p, each)
        for p in range(partitions):
            late = record(0, BEGIN_US - 50_000 * S, 5, 20_000 + p)
            pump.put(p, record(0, BEGIN_US + 86_400 * S, 499, 10_000 + p), late)
        pump.finish()
        sent = sorted((r.key or b"", r.value or b"", repr(r.headers)) for r in pump.outputs)
        letters = sorted((r.key or b"", r.value or b"", repr(r.headers)) for r in pump.letters)
        outcomes.append((sent, letters, pump.counters))
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0][1]) == partitions


def test_an_output_carries_the_grants_of_its_inputs() -> None:
    pump = Pump(JOIN, 1, views=lambda topic: Hiding(), **OFF)
    pump.put(0, record(0, BEGIN_US, 7, 1), record(2, BEGIN_US + S, 8, 2), record(0, BEGIN_US + 100 * S, 9, 3))
    pump.finish()
    assert [h for h in pump.outputs[0].headers if h[0] == "ts-grant"] == [("ts-grant", b"g.1")]


@pytest.mark.parametrize("text", ["SELECT result * 2 AS result, name FROM * WHERE result < 500"])
def test_a_projection_makes_observations(text: str) -> None:
    pump = Pump(text, 1)
    odd = record(3, BEGIN_US, "warm", 3)
    pump.put(0, record(0, BEGIN_US, 7, 1), record(1, BEGIN_US, 700, 2), odd, record(2, BEGIN_US + S, -1, 4))
    pump.finish()
    first, second = pump.observations()
    assert (first["result"], first["phenomenonTime"]) == (14, format_us(BEGIN_US))
    assert first["parameters"] == {"name": "Station_0.Quantity_0"}
    assert first["id"] == derived_id(spec().uid, "00000000-0000-4000-8000-000000000001")
    assert (second["result"], second["resultTime"]) == (-2, format_us(BEGIN_US + S + 1))
    assert pump.outputs[0].key == f"{spec().target}.app.result".encode()
    assert OTHER not in str(pump.outputs)


WINDOW = """SELECT AVG(result) AS result, COUNT(*) AS n, MAX(result) - MIN(result) AS span, LAST(time) AS last
FROM * WHERE result < 900 GROUP BY {keys}, {window} HAVING COUNT(*) > 1"""


def windows_of(made: list[list[Record]], keys: str, size: int, slide: int) -> Counter[tuple[str, str, float, int, int]]:
    """Brute force: (phenomenonTime, Datastream, mean, count, span)."""
    groups: dict[tuple[int, str], list[int]] = {}
    for records in made:
        for each in records:
            body = json.loads(each.value or b"")
            at = int(np.datetime64(body["phenomenonTime"].removesuffix("Z"), "us").astype(np.int64))
            name = body["Datastream"]["name"] if keys == "full_name" else ""
            first = (at // slide - size // slide + 1) * slide
            for start in range(first, at + 1, slide):
                if start <= at < start + size and body["result"] < 900:
                    groups.setdefault((start, name), []).append(body["result"])
    return Counter(
        (
            f"{format_us(start)}/{format_us(start + size)}",
            f"{spec().target}.app.{name or 'result'}",
            sum(results) / len(results),
            len(results),
            max(results) - min(results),
        )
        for (start, name), results in groups.items()
        if len(results) > 1
    )


@pytest.mark.parametrize("keys", ["full_name", "''", "thing = 'x'"])
@pytest.mark.parametrize(
    ("window", "size", "slide"),
    [("TUMBLE(time, 10 SECONDS)", 10, 10), ("HOP(time, 12 SECONDS, 4 SECONDS)", 12, 4)],
)
@settings(max_examples=30, deadline=None)
@given(logs())
def test_windows_of_two_stages_are_exact(
    keys: str,
    window: str,
    size: int,
    slide: int,
    given_logs: tuple[int, list[list[Record]], list[tuple[int, int, int]]],
) -> None:
    partitions, made, turns = given_logs
    pump = Pump(WINDOW.format(keys=keys, window=window), partitions, **OFF, grace_us=3 * S)
    for p, records in enumerate(made):
        pump.put(p, *records)
    # One of each Datastream, so that the clocks of all keys go on; their partition is the one of the key.
    for number in range(4):
        pump.put(partition_of(number, partitions), record(number, BEGIN_US + 86_400 * S, 1_000, 10_000 + number))
    for p in range(partitions):
        pump.put(p, record(0, BEGIN_US + 86_400 * S, 1_000, 11_000 + p))
    run(pump, turns)
    got = Counter(
        (o["phenomenonTime"], o["Datastream"]["name"], o["result"], o["parameters"]["n"], o["parameters"]["span"])
        for o in pump.observations()
    )
    assert got == windows_of(made, keys, size * S, slide * S)
    assert not pump.letters


def test_other_keys_are_parameters() -> None:
    text = "SELECT COUNT(*) FROM * GROUP BY thing, datastream, result > 5, TUMBLE(time, 1 MINUTE)"
    pump = Pump(text, 1, **OFF, grace_us=0)
    pump.put(0, record(0, BEGIN_US, 7, 1), record(2, BEGIN_US, 3, 2), record(0, BEGIN_US + 600 * S, 9, 3))
    pump.finish()
    found = {o["Datastream"]["name"].rpartition(".")[2]: (o["result"], o["parameters"]) for o in pump.observations()}
    assert found == {
        "Quantity_0": (1, {"thing": "Station_0", "key_3": True}),
        "Quantity_2": (1, {"thing": "Station_0", "key_3": False}),
    }


def test_a_window_by_datastream_takes_a_days_buffer_at_once() -> None:
    text = "SELECT SUM(result) AS result FROM * GROUP BY full_name, TUMBLE(time, 1 MINUTE)"
    pump = Pump(text, 1, **OFF)
    pump.put(0, *[record(0, BEGIN_US + n * 60 * S, 1, n) for n in range(100)])
    pump.finish()
    pump.put(0, *[record(2, BEGIN_US + n * 60 * S, 1, 200 + n) for n in range(100)])
    pump.put(0, record(2, BEGIN_US, 5, 400), record(0, BEGIN_US + 6_000 * S, 1, 401))
    pump.finish()
    per_stream = Counter(o["Datastream"]["name"].rpartition("_")[2] for o in pump.observations())
    assert per_stream["2"] > 95
    assert [(x["error"], x["offset"]) for x in pump.told()] == [("late", 200)]


FOLLOWING = [
    ("SELECT * FROM * WHERE DELTA(result) > 5", lambda r, p, s: p is not None and r - p > 5, None),
    ("SELECT RATE(result) AS result FROM *", lambda r, p, s: p is not None, lambda r, p, s: (r - p) / s),
    (
        "SELECT PREV(result) AS result FROM * WHERE result > 3",
        lambda r, p, s: p is not None and r > 3,
        lambda r, p, s: p,
    ),
]


@pytest.mark.parametrize(("text", "passes", "makes"), FOLLOWING)
@settings(max_examples=25, deadline=None)
@given(logs())
def test_the_record_before(
    text: str, passes: Any, makes: Any, given_logs: tuple[int, list[list[Record]], list[tuple[int, int, int]]]
) -> None:
    partitions, made, turns = given_logs
    pump = Pump(text, partitions, **OFF)
    expected: Counter[tuple[str, Any]] = Counter()
    before: dict[int, tuple[float, int]] = {}
    for p, records in enumerate(made):
        pump.put(p, *records)
        for each in records:
            body = json.loads(each.value or b"")
            number, result = body["Datastream"]["@iot.id"], body["result"]
            at = int(np.datetime64(body["phenomenonTime"].removesuffix("Z"), "us").astype(np.int64))
            known = before.get(number)
            prev, seconds = (known[0], (at - known[1]) / 1e6) if known and known[1] < at else (None, None)
            before[number] = (result, at)
            if passes(result, prev, seconds):
                ident = dict(each.headers)["ts-id"].decode()
                expected[
                    (ident, result) if makes is None else (derived_id(spec().uid, ident), makes(result, prev, seconds))
                ] += 1
    run(pump, turns)
    assert Counter((o["id"], o["result"]) for o in pump.observations()) == expected
    if makes is None:
        assert {r.value for r in pump.outputs} <= {r.value for records in made for r in records}
