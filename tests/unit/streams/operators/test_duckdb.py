"""DuckDB as the second oracle: ASOF JOIN and GROUP BY."""

from __future__ import annotations

import math

import duckdb
import numpy as np
import pytest

from twinstack.streams.operators.join import Join
from twinstack.streams.operators.seam import END_US, Aggregate, JoinPlan, Rows, Watermarks, WindowPlan, as_values
from twinstack.streams.operators.windows import GroupBy

END = Watermarks((END_US, END_US))


def made(side: int, n: int, seed: int, *, keys: int = 5) -> tuple[Rows, list[tuple]]:
    """Rows with distinct times within a key: between equal ones DuckDB takes any."""
    random = np.random.default_rng(seed)
    times = random.choice(100_000, n, replace=False).astype(np.int64)
    codes = random.integers(0, keys, n)
    result = random.integers(-1_000, 1_000, n) / 8
    rows = Rows(side, [b"%d" % code for code in codes], times, np.zeros(n, np.int64), np.arange(n), {"result": result})
    return rows, list(zip(codes.tolist(), times.tolist(), result.tolist(), strict=True))


def table(name: str, rows: list[tuple]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE {name} (key INTEGER, time BIGINT, result DOUBLE)")
    connection.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", rows)
    return connection


@pytest.mark.parametrize("within", [50, 2_000, 100_000])
def test_asof_join(within: int) -> None:
    (left, lefts), (right, rights) = made(0, 300, 1), made(1, 200, 2)
    connection = table("l", lefts)
    connection.execute("CREATE TABLE r (key INTEGER, time BIGINT, result DOUBLE)")
    connection.executemany("INSERT INTO r VALUES (?, ?, ?)", rights)
    expected = connection.execute(
        "SELECT l.time, r.time, l.result, r.result FROM l ASOF JOIN r ON l.key = r.key AND l.time >= r.time "
        "WHERE l.time - r.time <= ? ORDER BY ALL",
        [within],
    ).fetchall()
    pairs = Join(JoinPlan(kind="asof", within_us=within)).process([left, right], END).settled
    columns = (pairs.left.times_us, pairs.right.times_us, pairs.left.values["result"], pairs.right.values["result"])
    assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == expected
    assert len(expected) > 3


def test_group_by() -> None:
    functions = {
        "count": "count(result)",
        "sum": "sum(result)",
        "avg": "avg(result)",
        "min": "min(result)",
        "max": "max(result)",
        "first": "arg_min(result, time)",
        "last": "arg_max(result, time)",
        "stddev": "stddev_samp(result)",
        "median": "median(result)",
        "percentile": "quantile_cont(result, 0.9)",
        "count_distinct": "count(DISTINCT result)",
    }
    rows, raw = made(0, 2_000, 3)
    expected = (
        table("t", raw)
        .execute(
            f"SELECT key, time // 5000 * 5000 AS start, {', '.join(functions.values())} FROM t GROUP BY ALL "
            "ORDER BY start, key"
        )
        .fetchall()
    )
    aggregates = tuple(Aggregate(name, name, "result", fraction=0.9) for name in functions)
    windows = GroupBy(WindowPlan(5_000, 5_000, aggregates)).process([rows], END).settled
    assert list(zip(map(int, windows.keys), windows.starts_us.tolist(), strict=True)) == [row[:2] for row in expected]
    for place, name in enumerate(functions, 2):
        for ours, theirs in zip(windows.values[name].tolist(), (row[place] for row in expected), strict=True):
            if theirs is None:
                assert math.isnan(ours)
            else:
                assert ours == pytest.approx(theirs, rel=1e-12), name


def test_hop_counts_each_record_in_each_window() -> None:
    rows, raw = made(0, 500, 4, keys=2)
    expected = (
        table("t", raw)
        .execute(
            "SELECT key, start, count(*), sum(result) FROM t, range(-10000, 110000, 2500) w(start) "
            "WHERE time >= start AND time < start + 10000 GROUP BY ALL ORDER BY start, key"
        )
        .fetchall()
    )
    aggregates = (Aggregate("n", "count"), Aggregate("sum", "sum", "result"))
    windows = GroupBy(WindowPlan(10_000, 2_500, aggregates)).process([rows], END).settled
    columns = (windows.starts_us, windows.values["n"], windows.values["sum"])
    assert list(zip(map(int, windows.keys), *(column.tolist() for column in columns), strict=True)) == expected


def test_values_read_from_lists_are_those_of_the_record() -> None:
    """An INT stays one through join and state."""
    rows = Rows(0, [b"a"], np.array([1]), np.array([0]), np.array([0]), {"x": as_values([1]), "y": as_values([[1, 2]])})
    other = Rows(1, [b"a"], np.array([1]), np.array([0]), np.array([0]), {"x": as_values([2.0])})
    join, fresh = Join(JoinPlan()), Join(JoinPlan())
    join.process([rows], Watermarks((0, 0)))
    fresh.restore({key: record for key, record in join.changes().items() if record is not None})
    left = fresh.process([other], END).settled.left
    assert [(type(v), v) for v in (left.values["x"][0].item(), left.values["y"][0])] == [(int, 1), (list, [1, 2])]
