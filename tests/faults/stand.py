"""The system under test, as a user runs it: `twinstack up --open` in a process of its own, with its children."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

READY_S = 30
CHILDREN = {  # what a child's command line holds
    "app": "twinstack.streams.child",
    "archive": "twinstack.bridges.archive",
    "outbox": "twinstack.bridges.outbox",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stand:
    def __init__(self, folder: Path, log_address: str | None) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.log_address = log_address
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, failpoint: str | None = None) -> None:
        """Starts the server and waits until it is ready; with a failpoint it may die before that, which is no error."""
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self.log_address:
            env["TWINSTACK_LOG"] = self.log_address
        if failpoint:
            env |= {"TWINSTACK_FAILPOINT": failpoint, "TWINSTACK_FAILPOINT_ONCE": str(self.marker(failpoint))}
        command = [sys.executable, "-m", "twinstack.cli.main", "up", "--open", "--port", str(self.port)]
        with (self.folder / "server.out").open("ab") as out:
            self._process = subprocess.Popen(
                [*command, "--data", str(self.folder / "data")],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env=env,
            )
        deadline_s = time.monotonic() + READY_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                if failpoint:
                    return
                raise RuntimeError(f"The server ended with {self._process.returncode}: {self.tail()}")
            if self.answers():
                return
            time.sleep(0.05)
        raise RuntimeError(f"The server was not ready in {READY_S} s: {self.tail()}")

    def marker(self, failpoint: str) -> Path:
        return self.folder / f"failpoint-{failpoint.partition(':')[0]}"

    def tail(self) -> str:
        return (self.folder / "server.out").read_text(errors="replace")[-3000:]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def child(self, kind: str) -> psutil.Process | None:
        if not self.alive():
            return None
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                if any(CHILDREN[kind] in part for part in process.cmdline()):
                    return process
            except psutil.Error:
                continue
        return None

    def kill(self, kind: str) -> bool:
        """kill -9 of the server or of one child. False when there is no such process at this moment."""
        if kind == "server":
            if not self.alive():
                return False
            self._process.kill()
            self._process.wait(10)
            return True
        process = self.child(kind)
        if process is None:
            return False
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            return False
        return True

    def stop(self) -> int:
        """SIGTERM, as an operator does; the exit code."""
        if self._process is None or self._process.poll() is not None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
            raise

    def post(self, path: str, body: Any, timeout_s: float = 10) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def get(self, path: str, timeout_s: float = 30) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=timeout_s) as answer:
            return json.load(answer)

    def observations(self, datastream_id: int) -> Iterator[dict[str, Any]]:
        """All Observations of a Datastream in history, in id order, page by page."""
        path: str | None = f"/v1.1/Datastreams({datastream_id})/Observations?$top=1000&$orderby=id&$select=id,result"
        while path:
            page = self.get(path)
            yield from page["value"]
            link = page.get("@iot.nextLink")
            path = link[link.index("/v1.1") :] if link else None


@contextmanager
def running(folder: Path, log_address: str | None) -> Iterator[Stand]:
    stand = Stand(folder, log_address)
    try:
        stand.start()
        yield stand
    finally:
        stand.stop()
