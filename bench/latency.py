"""End-to-end latency of a filter app: from the clock that stamps a record to a read_committed consumer that has it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import confluent_kafka as ck
import msgspec
import numpy as np

from bench.runs import stop
from twinstack.core.ids import uuid7_batch
from twinstack.log.kafka import KafkaLog
from twinstack.log.seam import OutRecord

RATE = 10_000
TURN_S = 0.005
WARM_S = 10.0
"""What the first seconds bring is not counted: the JVM compiles, both sides open their connections."""
READY_S_MAX = 60.0
DATASTREAMS = 50
VALUE = b'{"phenomenonTime":"%s","resultTime":null,"result":%d.%02d,"Datastream":{"@iot.id":%d,"name":"%s"}}'


@dataclass(frozen=True, slots=True)
class Latency:
    p50_ms: float
    p99_ms: float
    cores: float
    """CPU seconds a second of the app."""


class _Stamped(msgspec.Struct, rename={"sent": "phenomenonTime"}):
    sent: datetime


def latency(servers: str, command: list[str], source: str, target: str, seconds: float) -> Latency:
    """Runs the app, gives it RATE records a second for WARM_S + `seconds`, 10 % of which pass, and stops it."""
    _register(servers, source)
    consumer = ck.Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"bench.{target}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 10,
        }
    )
    topic = f"{target}.ext"
    consumer.assign([ck.TopicPartition(topic, p, 0) for p in consumer.list_topics(topic).topics[topic].partitions])
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, text=True)
    ended = threading.Event()
    sender = threading.Thread(target=_send, args=(servers, source, ended), daemon=True)
    sender.start()
    try:
        return _collect(consumer, process.pid, seconds)
    finally:
        ended.set()
        sender.join()
        stop(process)
        process.kill()
        consumer.close()


def _collect(consumer: ck.Consumer, pid: int, seconds: float) -> Latency:
    decode = msgspec.json.Decoder(_Stamped).decode
    deadline = time.monotonic() + READY_S_MAX
    found: list[float] = []
    begin = end = 0.0
    cpu = 0.0
    while not end or time.monotonic() < end:
        messages = consumer.consume(1_000, 0.05)
        now_s = time.time()
        if not end:
            if messages:
                begin = time.monotonic() + WARM_S
                end = begin + seconds
            elif time.monotonic() > deadline:
                raise RuntimeError("The app forwarded nothing.")
        if not end or time.monotonic() < begin:
            cpu = _cpu_s(pid)
            continue
        found.extend((now_s - decode(m.value()).sent.timestamp()) * 1_000 for m in messages if m.error() is None)
    spent = _cpu_s(pid) - cpu
    p50, p99 = np.percentile(found, [50, 99])
    return Latency(float(p50), float(p99), spent / seconds)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _key(source: str, number: int) -> bytes:
    return f"{source}.Station_{number}.Air Temperature".encode()


def _register(servers: str, source: str) -> None:
    with contextlib.closing(KafkaLog(servers).producer()) as producer:
        for number in range(DATASTREAMS):
            key = _key(source, number)
            entity = {"@iot.id": number, "name": key.decode(), "Thing": {"name": f"{source}.Station_{number}"}}
            producer.send(OutRecord(f"{source}.meta", json.dumps(entity).encode(), key))
        producer.flush(30)


def _send(servers: str, source: str, ended: threading.Event) -> None:
    """RATE records a second in small portions, each stamped as it goes."""
    keys = [_key(source, number) for number in range(DATASTREAMS)]
    count, began = 0, time.monotonic()
    with contextlib.closing(KafkaLog(servers).producer(linger_ms=0)) as producer:
        while not ended.wait(TURN_S):
            due = int((time.monotonic() - began) * RATE)
            numbers = range(count, due)
            count = due
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
            values = [VALUE % (stamp, n * 7 % 100, n % 100, n % 50, keys[n % 50]) for n in numbers]
            producer.send_many(
                f"{source}.int",
                values,
                keys=[keys[n % 50] for n in numbers],
                headers=[[("ts-id", ident.encode())] for ident in uuid7_batch(len(values))],
            )
        producer.flush(30)
