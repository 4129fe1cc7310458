"""A real server as a user starts it: a process of its own, a free port, a data folder of the test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from twinstack.log.connect import connect
from twinstack.log.seam import EARLIEST, TopicPartition

READY_S = 60
STOP_S = 40
TWINSTACK = [sys.executable, "-m", "twinstack.cli.main"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(*arguments: str, timeout_s: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        [*TWINSTACK, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        env={**clean_environment(), **env},
        check=False,
    )


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TWINSTACK_")}


class Server:
    """`command` is `up --open` or `demo`; `ready_after_s` is what the line `ready` took, `cpu_s` the processor time."""

    def __init__(
        self, data: Path, command: tuple[str, ...] = ("up", "--open"), *, port: int | None = None, **env: str
    ) -> None:
        self.data = data
        self.port = port or free_port()
        self.url = f"http://localhost:{self.port}"
        self.log = self.url
        """Where `records` reads; a test with another log names it here."""
        started = time.monotonic()
        self.process = subprocess.Popen(
            [*TWINSTACK, *command, "--port", str(self.port), "--data", str(data)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**clean_environment(), **env},
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=_collect, args=(self.process.stdout, self.out), daemon=True),
            threading.Thread(target=_collect, args=(self.process.stderr, self.err), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        wait_until(lambda: bool(self.out) or self.process.poll() is not None, READY_S)
        self.ready_after_s = time.monotonic() - started
        times = psutil.Process(self.process.pid).cpu_times() if self.out else None
        self.cpu_s = times.user + times.system if times else 0.0
        if not self.out:
            raise AssertionError(f"no server: exit {self.process.returncode}, {''.join(self.err)}")

    def children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Sends the signal and waits; the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(STOP_S)
        for reader in self._readers:
            reader.join(5)
        return code

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(method, self.url + path, timeout=30, trust_env=False, **options)

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any, status: int = 201) -> Any:
        answer = self.call("POST", path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def records(self, topic: str) -> list[dict[str, Any]]:
        """All records of a topic that are there now, in order of arrival: `{"key", "value"}`."""
        log = connect(self.log)
        try:
            tps = [TopicPartition(topic, p) for p in range(log.admin().describe(topic).partitions)]
            ends = log.admin().end_offsets(tps)
            consumer = log.consumer()
            consumer.assign(dict.fromkeys(tps, EARLIEST))
            rows: list[tuple[int, int, dict[str, Any]]] = []
            while any((consumer.position(tp) or 0) < end for tp, end in ends.items()):
                for batch in consumer.poll(0.5):
                    columns = zip(batch.timestamps_ms, batch.offsets, batch.keys, batch.values, strict=True)
                    rows += [(t, o, {"key": key.decode(), "value": json.loads(value)}) for t, o, key, value in columns]
            consumer.close()
        finally:
            log.close()
        return [row for _, _, row in sorted(rows, key=lambda r: r[:2])]


@contextlib.contextmanager
def server(
    data: Path, command: tuple[str, ...] = ("up", "--open"), *, port: int | None = None, **env: str
) -> Iterator[Server]:
    running = Server(data, command, port=port, **env)
    children = running.children()
    try:
        yield running
    finally:
        if running.process.poll() is None:
            children = running.children()
            running.process.send_signal(signal.SIGTERM)
            try:
                running.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()


def _collect(stream: Any, into: list[str]) -> None:
    for line in stream:
        into.append(line)
    stream.close()


def wait_until(condition: Any, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def gone(processes: list[psutil.Process], timeout_s: float = 15) -> bool:
    return wait_until(lambda: not any(alive(p) for p in processes), timeout_s)


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def instances(result: str = "OM_Measurement") -> dict[str, Any]:
    """A small instance file: one Thing, one Sensor, two Datastreams."""
    stream = {
        "description": "Air temperature",
        "observationType": result,
        "unitOfMeasurement": {"name": "degree Celsius", "symbol": "degC", "definition": "http://example.org/degC"},
        "Thing": "station",
        "Sensor": "thermometer",
        "ObservedProperty": {"name": "Air Temperature", "description": "Air", "definition": "http://example.org/air"},
    }
    return {
        "Things": {"station": {"name": "Station_1", "description": "A station"}},
        "Sensors": {
            "thermometer": {"name": "T", "description": "-", "encodingType": "text/html", "metadata": "-"},
        },
        "Datastreams": {
            "temperature": {**stream, "name": "Air Temperature"},
            "road": {**stream, "name": "Road Temperature"},
        },
    }


def produce(on: Server, system: str, name: str, results: list[Any]) -> None:
    """Through the Kafka REST door, as the original's client does."""
    records = [
        {
            "key": f"{system}.{name}",
            "value": {
                "phenomenonTime": f"2026-11-24T12:{i // 60:02}:{i % 60:02}Z",
                "resultTime": None,
                "result": result,
                "Datastream": {"name": f"{system}.{name}"},
            },
        }
        for i, result in enumerate(results)
    ]
    headers = {"Content-Type": "application/vnd.kafka.json.v2+json"}
    answer = on.call("POST", f"/topics/{system}.int", content=json.dumps({"records": records}), headers=headers)
    assert answer.status_code == 200, answer.text
    assert all(o["error_code"] is None for o in answer.json()["offsets"])
