"""The window operator alone, with its state: `python -m bench.window_operator [--json] [--quick]`.

CPU microseconds a record: rows in, windows out, state records made for each transaction of 5,000 rows; no log, no
decoding. 10 and 100,000 keys, one-minute windows over event time that runs at 1,000 records a second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np

from bench.report import Line, main
from twinstack.streams.operators.keys import encode_group
from twinstack.streams.operators.seam import Aggregate, Rows, Watermarks, WindowPlan
from twinstack.streams.operators.windows import GroupBy

BATCH, STEP_US, MINUTE_US = 5_000, 1_000, 60_000_000
PLANS = {
    "avg": (Aggregate("result", "avg", "result"),),
    "five": tuple(Aggregate(name, name, "result") for name in ("count", "avg", "min", "max", "last")),
    "stddev": (Aggregate("result", "stddev", "result"),),
    "median": (Aggregate("result", "median", "result"),),
    "count_distinct": (Aggregate("result", "count_distinct", "result"),),
}


def batches(count: int, keys: int) -> list[Rows]:
    random = np.random.default_rng(1)
    names = [encode_group([f"Station_{number}"]) for number in range(keys)]
    made = []
    for start in range(0, count, BATCH):
        offsets = np.arange(start, start + BATCH)
        chosen = [names[code] for code in random.integers(0, keys, BATCH).tolist()]
        values = {"result": random.normal(20, 5, BATCH).round(2)}
        made.append(Rows(0, chosen, offsets * STEP_US, np.zeros(BATCH, np.int64), offsets, values))
    return made


def run(fed: list[Rows], plan: WindowPlan) -> float:
    """CPU microseconds a record."""
    operator, windows = GroupBy(plan), 0
    started = time.process_time()
    for rows in fed:
        step = operator.process([rows], Watermarks((int(rows.times_us[-1]),)))
        windows += len(step.settled)
        while step.more:
            step = operator.process([], Watermarks((int(rows.times_us[-1]),)))
            windows += len(step.settled)
        operator.changes()
    assert windows
    return (time.process_time() - started) / (len(fed) * BATCH) * 1e6


def measure(quick: bool) -> Iterator[Line]:
    for keys in (10, 100_000):
        fed = batches(150_000 if quick else 600_000, keys)
        for name, aggregates in PLANS.items():
            spent = run(fed, WindowPlan(MINUTE_US, MINUTE_US, aggregates))
            yield Line(f"window_{name}_{keys}_keys", "us a record", spent)
    fed = batches(150_000 if quick else 600_000, 10)
    yield Line("hop_avg_6_panes_10_keys", "us a record", run(fed, WindowPlan(MINUTE_US, MINUTE_US // 6, PLANS["avg"])))


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", measure))
