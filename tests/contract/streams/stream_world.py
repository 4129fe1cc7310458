"""What the tests of apps share: systems on a log, a generator of inputs with its ledger, runners, and the oracle."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from log_backends import Backend

from twinstack.core import observations
from twinstack.core.ids import new_uid, observation_id
from twinstack.log.embedded import EmbeddedLog
from twinstack.log.seam import EARLIEST, Headers, Log, OutRecord, TopicPartition, TopicSpec
from twinstack.streams.app import run_app
from twinstack.streams.spec import AppSpec
from twinstack.streams.states import Report

SETTLE_S = 40.0
PARTITIONS = 3
MEASUREMENT = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement"
POISON = [b"", b"{", b'{"result":NaN}', b'{"result":1,"result":2}', b"\xff", b"[1]", b'{"result":1}{"result":2}']


class Place(Protocol):
    name: str

    @property
    def address(self) -> str: ...
    def open(self) -> contextlib.AbstractContextManager[Log]: ...


class EmbeddedPlace:
    """One process at a time has the file open."""

    name = "embedded"

    def __init__(self, path: Path) -> None:
        self.address = f"embedded:{path}"
        self._path = path

    @contextlib.contextmanager
    def open(self) -> Iterator[Log]:
        with contextlib.closing(EmbeddedLog(str(self._path))) as log:
            yield log


class RunningPlace:
    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self._backend = backend
        self.address = getattr(backend, "url", "") or f"kafka://{getattr(backend, '_servers', '')}"

    @contextlib.contextmanager
    def open(self) -> Iterator[Log]:
        yield self._backend.connect()  # the backend closes it


class World:
    """A source system with six Datastreams, a target system, and what was written to the source."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.source = f"it.{new_uid()}.streams.Source"
        self.target = f"it.{new_uid()}.streams.Target"
        self.uid = new_uid()
        self.random = random.Random(7)
        self.sent: list[tuple[bytes, bytes, str]] = []
        """(key, value, ts-id) in the order of sending."""
        self.poison: list[bytes] = []
        self._children: list[Child] = []
        with place.open() as log:
            self._create_topics(log)

    def _create_topics(self, log: Log) -> None:
        specs = []
        for system in (self.source, self.target):
            specs += [TopicSpec(f"{system}.{suffix}", PARTITIONS) for suffix in ("int", "ext")]
            specs += [TopicSpec(f"{system}.log"), TopicSpec(f"{system}.meta", cleanup="compact")]
        log.admin().create_topics(specs)
        for number in range(6):
            self.register(log, number)

    def log_key(self, number: int) -> str:
        return f"{self.source}.Station_{number % 3}.Quantity_{number}"

    def register(self, log: Log, number: int) -> None:
        key = self.log_key(number)
        entity = {
            "@iot.id": number,
            "name": key,
            "unitOfMeasurement": {"name": "degree Celsius", "symbol": "degC"},
            "observationType": MEASUREMENT,
            "Thing": {"name": f"{self.source}.Station_{number % 3}"},
            "Sensor": {"name": f"{self.source}.Sensor"},
            "ObservedProperty": {"name": f"{self.source}.Air Temperature"},
        }
        with contextlib.closing(log.producer()) as producer:
            producer.send(OutRecord(f"{self.source}.meta", json.dumps(entity).encode(), key.encode()))

    def spec(self, text: str = "SELECT * FROM * WHERE result < 20;", **changes: Any) -> AppSpec:
        told = {
            "uid": self.uid,
            "name": "app",
            "target": self.target,
            "sources": (self.source,),
            "text": text,
            "address": self.place.address,
            "start": "earliest",
            "commit_interval_ms": 20,
        }
        return AppSpec(**{**told, **changes})

    def value(self, number: int, result: Any) -> bytes:
        extra = {"longitude": self.random.random()} if self.random.random() < 0.3 else None
        return observations.encode(
            phenomenon_time=f"2026-11-24T12:00:{self.random.randrange(60):02d}.5Z",
            result_time=None,
            result=result,
            datastream_id=number,
            log_key=self.log_key(number),
            attributes=extra,
        )

    def produce(self, log: Log, n: int, *, poison: float = 0.01) -> None:
        """`n` records of the six Datastreams, among them poison of each kind."""
        with contextlib.closing(log.producer()) as producer:
            for _ in range(n):
                number = self.random.randrange(6)
                key = self.log_key(number).encode()
                if self.random.random() < poison:
                    value = self.random.choice(POISON)
                    self.poison.append(value)
                    producer.send(OutRecord(f"{self.source}.int", value, key))
                    continue
                value, ident = self.value(number, self.random.randrange(0, 4000) / 100), observation_id()
                self.sent.append((key, value, ident))
                producer.send(OutRecord(f"{self.source}.int", value, key, [("ts-id", ident.encode())]))
            producer.flush(SETTLE_S)

    def read(self, log: Log, topic: str) -> list[tuple[bytes | None, bytes | None, Headers]]:
        """Every committed record of a topic, per partition in order."""
        admin = log.admin()
        tps = [TopicPartition(topic, p) for p in range(admin.describe(topic).partitions)]
        ends = admin.end_offsets(tps)
        found: list[tuple[bytes | None, bytes | None, Headers]] = []
        with contextlib.closing(log.consumer()) as consumer:
            consumer.assign(dict.fromkeys(tps, EARLIEST))
            silent = 0
            while silent < 2 and any((consumer.position(tp) or 0) < end for tp, end in ends.items()):
                batches = consumer.poll(1.0)
                silent = 0 if batches else silent + 1
                for batch in batches:
                    found += zip(batch.keys, batch.values, batch.headers, strict=True)
        return found

    def check_exact(self, log: Log, passes: Callable[[float], bool] = lambda r: r < 20, *, since: int = 0) -> None:
        """Output = reference (missing = extra = duplicate = 0), order per Datastream, dead letters, offsets at the
        end, and nothing left open."""
        expected = [(k, v, i) for k, v, i in self.sent[since:] if passes(json.loads(v)["result"])]
        output = [(k, v, dict(h)["ts-id"].decode()) for k, v, h in self.read(log, f"{self.target}.ext")]
        missing, extra = Counter(expected) - Counter(output), Counter(output) - Counter(expected)
        assert not missing and not extra, f"missing {len(missing)}, extra or twice {len(extra)} of {len(expected)}"
        for number in range(6):
            key = self.log_key(number).encode()
            assert [o for o in output if o[0] == key] == [e for e in expected if e[0] == key], "order"
        letters = self.read(log, f"ts.{self.uid}.dead")
        assert Counter(v for _, v, _ in letters) == Counter(self.poison)
        places = [json.loads(dict(h)["ts-dead"]) for _, _, h in letters]
        assert len({(p["topic"], p["partition"], p["offset"]) for p in places}) == len(letters)
        self.check_settled(log)

    def check_settled(self, log: Log, revision: int = 1) -> None:
        admin = log.admin()
        inputs = [TopicPartition(f"{self.source}.int", p) for p in range(PARTITIONS)]
        offsets = admin.group_offsets(f"ts.{self.uid}.{revision}")
        assert offsets == admin.end_offsets(inputs)
        outputs = [TopicPartition(f"{self.target}.ext", p) for p in range(PARTITIONS)]
        assert admin.end_offsets(outputs) == admin.end_offsets(outputs, committed=False), "a transaction is open"

    def wait_settled(self, log: Log, revision: int = 1) -> None:
        """Every input is taken in and committed."""
        admin = log.admin()
        inputs = [TopicPartition(f"{self.source}.int", p) for p in range(PARTITIONS)]
        deadline = time.monotonic() + SETTLE_S
        while admin.group_offsets(f"ts.{self.uid}.{revision}") != (ends := admin.end_offsets(inputs)):
            assert time.monotonic() < deadline, f"not all of {ends} is read"
            time.sleep(0.05)

    # Runners

    def child(self, spec: AppSpec, failpoint: str = "") -> Child:
        child = Child(spec, failpoint)
        self._children.append(child)
        return child

    @contextlib.contextmanager
    def app(self, log: Log, spec: AppSpec) -> Iterator[Running]:
        running = Running(log, spec)
        try:
            yield running
        finally:
            running.close()

    def close(self) -> None:
        for child in self._children:
            child.kill()


class Reports:
    """What an app told; waits for a report."""

    def __init__(self) -> None:
        self.all: list[Mapping[str, Any]] = []
        self._changed = threading.Condition()

    def add(self, report: Mapping[str, Any]) -> None:
        with self._changed:
            self.all.append(report)
            self._changed.notify_all()

    def wait(self, wanted: Callable[[Mapping[str, Any]], bool], timeout_s: float = SETTLE_S) -> Mapping[str, Any]:
        """The first report, from the beginning, that is as wanted."""
        deadline, seen = time.monotonic() + timeout_s, 0
        with self._changed:
            while True:
                for report in self.all[seen:]:
                    if wanted(report):
                        return report
                seen = len(self.all)
                assert self._changed.wait(deadline - time.monotonic()), f"still not; the last were {self.all[-3:]}"

    def state(self, name: str) -> Mapping[str, Any]:
        return self.wait(lambda r: r["state"] == name)

    def counted(self, records_in: int) -> Mapping[str, Any]:
        """All of these were taken in and committed."""
        return self.wait(lambda r: bool(r["counters"]) and r["counters"]["records_in"] >= records_in)

    @property
    def states(self) -> list[str]:
        return [r["state"] for r in self.all if r["event"] == "state"]


class Running(Reports):
    """An app in a thread of this process."""

    def __init__(self, log: Log, spec: AppSpec) -> None:
        super().__init__()
        self.stop, self.pause = threading.Event(), threading.Event()
        self.last = ""
        self._thread = threading.Thread(target=self._run, args=(log, spec))
        self._thread.start()

    def _run(self, log: Log, spec: AppSpec) -> None:
        def report(r: Report) -> None:
            self.add(
                {"event": r.event, "state": r.state, "reason": r.reason, "message": r.message}
                | {"counters": r.counters}
            )

        self.last = run_app(spec, log, stop=self.stop, pause=self.pause, on_state=report)

    def join(self) -> None:
        self._thread.join(SETTLE_S)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop.set()
        self.join()


class Child(Reports):
    """An app in a process of its own."""

    def __init__(self, spec: AppSpec, failpoint: str = "") -> None:
        super().__init__()
        environment = {**os.environ, "TWINSTACK_FAILPOINT": failpoint}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "twinstack.streams.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.order(spec.to_json().decode())

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.add(json.loads(line))

    def order(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def wait_end(self) -> int:
        code = self.process.wait(SETTLE_S)
        self._reader.join(SETTLE_S)
        return code

    def terminate(self) -> int:
        self.process.terminate()
        return self.wait_end()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
