"""The join operator alone, with its state: `python -m bench.join_operator [--json] [--quick]`.

CPU microseconds a pair: rows in, pairs out, state records made for a transaction of 5,000 rows; no log, no decoding.
Goal of the whole app with kept state is a quarter of Kafka Streams' 32 us a pair, 8 us: the operator may take the half.
One key is one long series on each side; with 100,000 keys nearly each row waits for its next in a later transaction and
is written (no goal: there are few pairs a row). `stopped` is a side that stands still.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np

from bench.report import Line, main
from twinstack.core.ids import uuid7_batch
from twinstack.streams.operators.join import Join
from twinstack.streams.operators.keys import encode_key
from twinstack.streams.operators.seam import BEGINNING_US, JoinPlan, Rows, Watermarks, as_values, source_code

PEER_US = 8.0
GOAL = 2.0
BATCH = 2_500
STEP_US = 1_000


def sides(count: int, keys: int, seed: int) -> list[list[Rows]]:
    """Batches of both sides, in turns, as a task would poll them."""
    random = np.random.default_rng(seed)
    names = [encode_key([f"Station_{n}"]) for n in range(keys)]
    batches: list[list[Rows]] = []
    for start in range(0, count, BATCH):
        turn = []
        for side in (0, 1):
            n = min(BATCH, count - start)
            times = (start + np.sort(random.random(n)) * n) * STEP_US + 1_700_000_000_000_000
            codes = random.integers(0, keys, n)
            values = {
                "result": random.normal(20, 5, n),
                "latitude": random.normal(49, 0.1, n),
                "longitude": random.normal(16, 0.1, n),
                "id": as_values([ident.encode() for ident in uuid7_batch(n)]),
                "name": as_values([f"cz.company.fleet.Car{side}.{code % 50}.Air Temperature" for code in codes]),
            }
            chosen = [names[code] for code in codes.tolist()]
            offsets = np.arange(start, start + n)
            turn.append(Rows(side, chosen, times.astype(np.int64), np.full(n, source_code(side, 0)), offsets, values))
        batches.append(turn)
    return batches


def run(batches: list[list[Rows]], plan: JoinPlan, *, stopped: bool = False) -> tuple[float, int, int]:
    """CPU microseconds, pairs, bytes of state written."""
    join, marks, pairs, written = Join(plan), [BEGINNING_US, BEGINNING_US], 0, 0
    started = time.process_time()
    for turn in batches:
        for rows in turn if not stopped else turn[:1]:
            marks[rows.side] = int(rows.times_us[-1])
            step = join.process([rows], Watermarks(tuple(marks)))
            pairs += len(step.settled)
            while step.more:
                step = join.process([], Watermarks(tuple(marks)))
                pairs += len(step.settled)
        changes = join.changes()
        written += sum(len(record or b"") for record in changes.values())
    return (time.process_time() - started) * 1e6, pairs, written


def measure(quick: bool) -> Iterator[Line]:
    count = 100_000 if quick else 500_000
    for keys, goal in ((1, GOAL), (100, GOAL), (100_000, None)):
        batches = sides(count, keys, 1)
        spent, pairs, written = run(batches, JoinPlan(within_us=3_600_000_000))
        yield Line(f"join_{keys}_keys", "us a pair", spent / pairs, PEER_US, goal)
        yield Line(f"join_{keys}_keys_row", "us a row", spent / (2 * count))
        yield Line(f"join_{keys}_keys_state", "B a row", written / (2 * count))
    batches = sides(count, 100, 2)
    spent, _, _ = run(batches, JoinPlan(within_us=3_600_000_000), stopped=True)
    yield Line("join_stopped_side", "us a row", spent / count)


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", measure))
