"""Inputs of joins and windows with event times, and their oracles: what has to come out of what stands on the log."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from stream_world import PARTITIONS, POISON, SETTLE_S, Place, World

from twinstack.core import observations
from twinstack.core.ids import derived_id, observation_id
from twinstack.core.timestamps import format_us, parse_us
from twinstack.log.seam import EARLIEST, Log, OutRecord, TopicPartition

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "streams" / "operators"))

from oracles import Row, asof_join, neighbour_join

BEGIN_US = parse_us("2020-11-24T10:00:00Z")
GRACE_US = 2_000_000
WITHIN_US = 10_000_000

ASOF = """SELECT a.result AS result, b.result AS other, DISTANCE(a, b) AS d
FROM * FILTER (datastream IN ('Quantity_0', 'Quantity_1', 'Quantity_2')) AS a
ASOF JOIN * FILTER (datastream IN ('Quantity_3', 'Quantity_4', 'Quantity_5')) AS b
ON a.thing = b.thing WITHIN 10 SECONDS"""
NEIGHBOUR = ASOF.replace("ASOF", "NEIGHBOUR")


class Input(NamedTuple):
    """One record as it stands on the log."""

    partition: int
    offset: int
    number: int
    time_us: int
    result: float
    ident: str
    late: bool


class Read(NamedTuple):
    inputs: list[Input]
    highs: list[int]


class StatefulWorld(World):
    """Records in about the order of their event time; some are late by more than the grace allows."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.now_us = BEGIN_US

    def produce_timed(self, log: Log, n: int, *, late: float = 0.02, poison: float = 0.01) -> None:
        with contextlib.closing(log.producer()) as producer:
            for _ in range(n):
                self.now_us += self.random.choice([0, 0, 100_000, 500_000])
                number = self.random.randrange(6)
                key = self.log_key(number).encode()
                if self.random.random() < poison:
                    producer.send(OutRecord(f"{self.source}.int", self.random.choice(POISON), key))
                    continue
                behind = self.random.choice([0, 0, 0, 1_000_000])
                if self.random.random() < late:
                    behind = 30_000_000
                value = self.timed(number, self.now_us - behind)
                producer.send(OutRecord(f"{self.source}.int", value, key, [("ts-id", observation_id().encode())]))
            producer.flush(SETTLE_S)

    def timed(self, number: int, time_us: int) -> bytes:
        return observations.encode(
            phenomenon_time=format_us(time_us),
            result_time=format_us(time_us + 1) if self.random.random() < 0.5 else None,
            result=self.random.randrange(0, 4000) / 100,
            datastream_id=number,
            log_key=self.log_key(number),
            attributes={"longitude": self.random.random(), "latitude": self.random.random()},
        )

    def flush_time(self, log: Log) -> None:
        """A record a day later in every partition: everything before it settles."""
        self.now_us += 86_400_000_000
        with contextlib.closing(log.producer()) as producer:
            for partition in range(PARTITIONS):
                number = next(n for n in range(6) if n % 3 == partition)
                header = ("ts-id", observation_id().encode())
                producer.send(
                    OutRecord(
                        f"{self.source}.int",
                        self.timed(number, self.now_us),
                        self.log_key(number).encode(),
                        [header],
                        partition=partition,
                    )
                )
            producer.flush(SETTLE_S)

    def flush_keys(self, log: Log) -> None:
        """A record a day later of every Datastream, in its own partition."""
        self.now_us += 86_400_000_000
        for number in range(6):
            self.put(log, number, self.now_us)

    def put(self, log: Log, number: int, time_us: int) -> None:
        key, header = self.log_key(number).encode(), ("ts-id", observation_id().encode())
        with contextlib.closing(log.producer()) as producer:
            producer.send(OutRecord(f"{self.source}.int", self.timed(number, time_us), key, [header]))

    def check_windows(self, log: Log) -> None:
        """Minutes of each Datastream: all but the last one, whose clock the records themselves did not pass."""
        groups: dict[tuple[int, int], list[float]] = {}
        for each in self.inputs(log).inputs:
            groups.setdefault((each.number, each.time_us // 60_000_000), []).append(each.result)
        flushed = max(minute for _, minute in groups)
        expected = Counter(
            (
                f"{self.target}.app.{self.log_key(number)}",
                f"{format_us(minute * 60_000_000)}/{format_us((minute + 1) * 60_000_000)}",
                float(sum(map(Fraction, results)) / len(results)),  # the exact mean, rounded once
                len(results),
            )
            for (number, minute), results in groups.items()
            if minute < flushed
        )
        assert len(expected) > 10
        self.wait_output(log, len(expected))
        got = Counter((o["key"], o["phenomenonTime"], o["result"], o["parameters"]["n"]) for o in self.outputs(log))
        missing, extra = expected - got, got - expected
        assert not missing and not extra, f"missing {list(missing)[:2]}, extra {list(extra)[:2]} of {len(expected)}"
        self.check_closed(log)

    def inputs(self, log: Log, grace_us: int = GRACE_US) -> Read:
        """What an app has to take of the source's topic, in the order of each partition."""
        found: list[Input] = []
        highs = [-(2**62)] * PARTITIONS
        with contextlib.closing(log.consumer()) as consumer:
            tps = [TopicPartition(f"{self.source}.int", p) for p in range(PARTITIONS)]
            ends = log.admin().end_offsets(tps)
            consumer.assign(dict.fromkeys(tps, EARLIEST))
            while any((consumer.position(tp) or 0) < end for tp, end in ends.items()):
                for batch in consumer.poll(1.0):
                    for offset, value, headers in zip(batch.offsets, batch.values, batch.headers, strict=True):
                        try:
                            record = observations.decode(value or b"")
                        except Exception:
                            continue
                        number = int(record["Datastream"]["name"].rpartition("_")[2])
                        at = parse_us(record["phenomenonTime"])
                        late = at < highs[batch.partition] - grace_us
                        highs[batch.partition] = max(highs[batch.partition], at)
                        ident = dict(headers)["ts-id"].decode()
                        found.append(Input(batch.partition, offset, number, at, record["result"], ident, late))
        return Read(found, highs)

    def expected_pairs(self, read: Read, kind: str) -> Counter[tuple[str, str, float, float]]:
        """(ts-id, phenomenonTime, result, parameters.other) of each pair."""
        by_key: dict[bytes, tuple[list[Row], list[Row]]] = {}
        by_place: dict[tuple[int, int], Input] = {}
        for each in read.inputs:
            by_place[each.partition, each.offset] = each
            if not each.late:
                key = str(each.number % 3).encode()
                sides = by_key.setdefault(key, ([], []))
                sides[each.number >= 3].append(Row(key, each.time_us, each.partition, each.offset))
        mark = min(read.highs) - GRACE_US
        join = asof_join if kind == "asof" else neighbour_join
        expected: Counter[tuple[str, str, float, float]] = Counter()
        for sides in by_key.values():
            for (left, right), n in join(*sides, WITHIN_US, (mark, mark)).items():
                a, b = by_place[left[1:]], by_place[right[1:]]
                ident = derived_id(self.uid, a.ident, b.ident)
                expected[ident, format_us(max(a.time_us, b.time_us)), a.result, b.result] += n
        return expected

    def outputs(self, log: Log) -> list[dict[str, Any]]:
        return [
            {**json.loads(v or b""), "id": dict(h)["ts-id"].decode(), "key": (k or b"").decode()}
            for k, v, h in self.read(log, f"{self.target}.ext")
        ]

    def letters(self, log: Log) -> list[dict[str, Any]]:
        return [json.loads(dict(h)["ts-dead"]) for _, _, h in self.read(log, f"ts.{self.uid}.dead")]

    def wait_output(self, log: Log, n: int) -> None:
        """At least so many records are at the target, and nothing more comes."""
        self.wait_for(lambda: len(self.read(log, f"{self.target}.ext")) >= n, f"{n} outputs")
        time.sleep(0.3)

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SETTLE_S
        while not done():
            assert time.monotonic() < deadline, f"still not: {what}"
            time.sleep(0.1)

    def check_pairs(self, log: Log, kind: str) -> None:
        """Output = oracle: missing = extra = duplicate = 0; late records are letters; no transaction is open."""
        read = self.inputs(log)
        expected = self.expected_pairs(read, kind)
        assert sum(expected.values()) > 100
        self.wait_output(log, sum(expected.values()))
        got = Counter((o["id"], o["phenomenonTime"], o["result"], o["parameters"]["other"]) for o in self.outputs(log))
        missing, extra = expected - got, got - expected
        assert not missing and not extra, f"missing {len(missing)}, extra {len(extra)} of {len(expected)}"
        late = {(each.partition, each.offset) for each in read.inputs if each.late}
        told = [(x["partition"], x["offset"]) for x in self.letters(log) if x["error"] == "late"]
        assert Counter(told) == Counter(late)
        self.check_closed(log)

    def check_closed(self, log: Log) -> None:
        admin = log.admin()
        topics = [f"{self.target}.ext", f"ts.{self.uid}.1.1.in", f"ts.{self.uid}.1.0.state", f"ts.{self.uid}.1.1.state"]
        for topic in topics:
            tps = [TopicPartition(topic, p) for p in range(admin.describe(topic).partitions)]
            assert admin.end_offsets(tps) == admin.end_offsets(tps, committed=False), f"open on {topic}"


def texts(kinds: Sequence[str]) -> list[tuple[str, str]]:
    return [(kind, ASOF if kind == "asof" else NEIGHBOUR) for kind in kinds]
