"""The stream engine against Kafka Streams on one broker, side by side: `python -m bench.streams [--json] [--quick]`.

Both run exactly once with one processing thread and the same commit interval, and forward what passes with its
headers. CPU seconds are those of the app's process per million input records over the second half of the run, when
the JVM has compiled what it will. Lines without a goal only inform. Peers stand in `bench/peers/`.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator

from bench.filter import SOURCE, TARGET, fill
from bench.latency import Latency, latency
from bench.peers import java
from bench.report import Line, main
from bench.runs import Run, run
from bench.services import kafka
from twinstack.core.ids import new_uid
from twinstack.log.kafka import KafkaLog
from twinstack.log.seam import TopicSpec

COMMIT_MS = 100
CPU_RATIO_GOAL = 1 / 0.55
RATE_RATIO_GOAL = 1.5
LATENCY_RATIO_GOAL = 1 / 1.1
PARTITIONS = 3
SELECTIVITIES = (10, 50)


def ours_filter(servers: str, records: int, limit: int, source: str = SOURCE, target: str = TARGET) -> list[str]:
    return [sys.executable, "-m", "bench.peers.ours", servers, str(COMMIT_MS), str(records), source, target, str(limit)]


def streams_filter(
    servers: str, folder: str, records: int, limit: int, source: str = SOURCE, target: str = TARGET
) -> list[str]:
    args = (servers, f"bench-{new_uid()}", str(COMMIT_MS), folder, str(records))
    return java.command("Filter", *args, f"{source}.int", f"{target}.ext", str(limit))


def filters(servers: str, records: int, rounds: int) -> Iterator[Line]:
    for percent in SELECTIVITIES:
        pairs: list[tuple[Run, Run]] = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="twinstack-bench-") as folder:
                theirs = run(streams_filter(servers, folder, records, percent), records)
            pairs.append((run(ours_filter(servers, records, percent), records), theirs))
        # Both of a pair meet the same busy moments of the machine: the pair in the middle tells most.
        ours, theirs = sorted(pairs, key=lambda pair: pair[1].warm_cpu_s / pair[0].warm_cpu_s)[rounds // 2]
        name = f"filter_{percent}_percent"
        yield Line(f"{name}_cpu", "CPU s per million", ours.warm_cpu_s, theirs.warm_cpu_s, CPU_RATIO_GOAL)
        yield Line(f"{name}_rate", "records/s", ours.warm_rate, theirs.warm_rate, RATE_RATIO_GOAL)
        yield Line(f"{name}_cpu_whole_run", "CPU s per million", ours.cpu_s, theirs.cpu_s)
        yield Line(f"{name}_rss", "MiB", ours.rss_mib, theirs.rss_mib)
        yield Line(f"{name}_start", "s to the first record", ours.start_s, theirs.start_s)


def latencies(servers: str, seconds: float, rounds: int) -> Iterator[Line]:
    """End to end, 10,000 records/s, 10 % pass: from the producer's clock to a read_committed consumer's."""
    pairs: list[tuple[Latency, Latency]] = []
    for _ in range(rounds):
        both = []
        for peer in (False, True):
            source, target = f"at.bench.lat{new_uid()[:8]}.Source", f"at.bench.lat{new_uid()[:8]}.Target"
            specs = [TopicSpec(f"{source}.int", PARTITIONS), TopicSpec(f"{source}.meta", cleanup="compact")]
            KafkaLog(servers).admin().create_topics([*specs, TopicSpec(f"{target}.ext", PARTITIONS)])
            with tempfile.TemporaryDirectory(prefix="twinstack-bench-") as folder:
                command = (
                    streams_filter(servers, folder, 2**40, 10, source, target)
                    if peer
                    else ours_filter(servers, 2**40, 10, source, target)
                )
                both.append(latency(servers, command, source, target, seconds))
        pairs.append((both[0], both[1]))
    for name in ("p50_ms", "p99_ms"):
        ours = statistics.median(getattr(pair[0], name) for pair in pairs)
        theirs = statistics.median(getattr(pair[1], name) for pair in pairs)
        yield Line(f"latency_{name[:3]}", "ms", ours, theirs, LATENCY_RATIO_GOAL)
    ours, theirs = (statistics.median(pair[i].cores for pair in pairs) for i in (0, 1))
    yield Line("latency_cpu", "cores", ours, theirs)


def measure(quick: bool) -> Iterator[Line]:
    records, rounds, seconds = (500_000, 1, 10.0) if quick else (4_000_000, 3, 30.0)
    with kafka() as servers:
        with contextlib.closing(KafkaLog(servers)) as log:
            fill(log, records)
        yield from filters(servers, records, rounds)
        yield from latencies(servers, seconds, rounds)


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", measure))
