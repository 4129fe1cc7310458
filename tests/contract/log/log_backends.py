"""The implementations under test. A backend runs one log and opens any number of connections to it.

`kafka_fixture.py` beside this file registers Kafka by the same protocol: a context manager `kafka_backend(folder)`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from twinstack.log.seam import EARLIEST, Consumer, Log

T = TypeVar("T")

SETTLE_S = 40.0
"""How long a test waits for something that must happen (a rebalance on a busy machine); never how long it takes."""


class Backend(Protocol):
    name: str

    def connect(self, client_id: str = "contract") -> Log:
        """A Log on the one log of this backend; the backend closes it at the end."""
        ...

    def address(self, host: str, port: int) -> str | None:
        """The address `twinstack.log.connect` takes for a log at host and port; None when there is no network."""
        ...

    def stale_member(self, log: Log, group: str, topic: str) -> Consumer:
        """A subscribed consumer that has received records of `topic`, and whose group has moved on without it since:
        it holds a generation that is over, and has not polled since then."""
        ...


def wait_for(what: Callable[[], T], timeout_s: float = SETTLE_S) -> T:
    """Calls `what` until its answer is true; fails with the last answer."""
    end = time.monotonic() + timeout_s
    while not (answer := what()):
        assert time.monotonic() < end, f"still {answer!r} after {timeout_s} s"
        time.sleep(0.01)
    return answer


class EmbeddedBackend:
    name = "embedded"

    def __init__(self, log: Log) -> None:
        self._log = log

    def connect(self, client_id: str = "contract") -> Log:
        return self._log  # one process, one EmbeddedLog: it is shared

    def address(self, host: str, port: int) -> str | None:
        return None

    def stale_member(self, log: Log, group: str, topic: str) -> Consumer:
        return _member_left_behind(log, group, topic)


def _member_left_behind(log: Log, group: str, topic: str) -> Consumer:
    """These logs move a group on at once when a member joins."""
    stale = log.consumer(group=group, start=EARLIEST)
    stale.subscribe([topic])
    wait_for(lambda: stale.poll(0.5))
    with contextlib.closing(log.consumer(group=group, start=EARLIEST)) as other:
        other.subscribe([topic])
        other.poll(0)
    return stale


@contextlib.contextmanager
def embedded_backend(folder: Path) -> Iterator[Backend]:
    from twinstack.log.embedded import EmbeddedLog

    log = EmbeddedLog(str(folder / "log.sqlite"))
    try:
        yield EmbeddedBackend(log)
    finally:
        log.close()


class HttpBackend:
    name = "http"

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: list[Log] = []

    def connect(self, client_id: str = "contract") -> Log:
        from twinstack.log.http import HttpLog

        log = HttpLog(self.url, client_id=client_id)
        self._opened.append(log)
        return log

    def address(self, host: str, port: int) -> str | None:
        return f"http://{host}:{port}"

    def stale_member(self, log: Log, group: str, topic: str) -> Consumer:
        return _member_left_behind(log, group, topic)

    def close(self) -> None:
        for log in self._opened:
            log.close()


@contextlib.contextmanager
def http_backend(folder: Path) -> Iterator[Backend]:
    import uvicorn

    from twinstack.log.embedded import EmbeddedLog
    from twinstack.log.http import LogService

    log = EmbeddedLog(str(folder / "log.sqlite"))
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        LogService(log, lambda action, topic, scope: None), log_level="warning", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    backend = HttpBackend(f"http://127.0.0.1:{listening.getsockname()[1]}")
    try:
        yield backend
    finally:
        backend.close()
        server.should_exit = True
        thread.join(10)
        log.close()
        listening.close()


BACKENDS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Backend]]] = {
    "embedded": embedded_backend,
    "http": http_backend,
}

if (Path(__file__).parent / "kafka_fixture.py").exists():
    _spec = importlib.util.spec_from_file_location("kafka_fixture", Path(__file__).parent / "kafka_fixture.py")
    assert _spec is not None and _spec.loader is not None
    _module = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_module)
    BACKENDS["kafka"] = _module.kafka_backend
