"""The server process: folder, sockets, platform, pages and doors, child processes, and the way they end.

`run` blocks until SIGINT or SIGTERM. Order of the end: programs, then apps, then outbox and archive (they still need
the log over HTTP), then open streams, the log and the store. A second signal ends everything at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn

from twinstack.bridges.places import Places
from twinstack.core.errors import Conflict, TwinstackError
from twinstack.core.settings import Settings
from twinstack.platform.folder import Folder
from twinstack.platform.policy import Mode
from twinstack.platform.service import Platform
from twinstack.platform.supervisor import Child

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from twinstack.web.app import Application

log = logging.getLogger(__name__)

_PORTS_TRIED = 100
_CLOSE_S = 3
_BACKLOG = 1024

OnReady = Callable[[Platform], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a server shall have from the start: the demo's.

    `systems` are there at `ready`; `deploy` makes the apps after it, in a worker thread, while other children start;
    `programs` run beside the server.
    """

    systems: Sequence[str] = ()
    deploy: Callable[[Platform], None] = lambda _platform: None
    programs: Callable[[Platform], Sequence[Child]] = lambda _platform: ()


def run(settings: Settings, mode: Mode, *, on_ready: OnReady, scenario: Scenario = Scenario()) -> None:
    """Runs one server until a signal. Errors: Conflict (folder, port), SettingsError, Unreachable (log, store)."""
    folder = Folder(settings.data)
    folder.acquire(mode)
    try:
        sockets = bind(settings.port)
        port = sockets[0].getsockname()[1]
        platform = Platform.open(settings, mode, folder, port, scenario.systems)
        try:
            if settings.embedded:
                _settle_archive(platform)
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(_Process(platform, sockets, on_ready, scenario).run())
        finally:
            platform.close()
    finally:
        folder.release()


def _settle_archive(platform: Platform) -> None:
    """Before the first record can come: at a power loss the log may have lost records that the archive has stored,
    and new ones at the same offsets would look like stored ones to it."""

    def report(event: str, fields: dict[str, Any]) -> None:
        log.warning("archive: %s %s", event, fields)

    Places(platform.store, platform.log, report).discover(afresh=True)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def bind(port: int) -> list[socket.socket]:
    """Listening sockets on both loopback addresses, so that nobody else answers to `localhost:port`.

    Errors: Conflict that names the next free port.
    """
    try:
        return _bind(port)
    except OSError:
        free = next((p for p in range(port + 1, min(port + _PORTS_TRIED, 65_536)) if _is_free(p)), None)
        fix = f"Port {free} is free: add --port {free}." if free else "Choose another one with --port."
        raise Conflict(f"Port {port} is taken by another program.", fix=fix, port=port, free=free) from None


def _bind(port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                listener = socket.socket(family)
            except OSError:
                continue  # a machine without IPv6
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address, sockets[0].getsockname()[1] if len(sockets) > 1 else port))
            except OSError as error:
                if family == socket.AF_INET6 and error.errno != errno.EADDRINUSE:
                    sockets.pop().close()
                    continue
                raise
            listener.listen(_BACKLOG)
    except OSError:
        for listener in sockets:
            listener.close()
        raise
    return sockets


def _is_free(port: int) -> bool:
    try:
        for listener in _bind(port):
            listener.close()
    except OSError:
        return False
    return True


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: the process stops its children first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Process:
    def __init__(self, platform: Platform, sockets: list[socket.socket], on_ready: OnReady, scenario: Scenario) -> None:
        self._platform = platform
        self._sockets = sockets
        self._on_ready = on_ready
        self._scenario = scenario
        self._stop = asyncio.Event()
        self._signals = 0

    async def run(self) -> None:
        from twinstack.web.app import build

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        app = build(self._platform)
        server = _Server(_config(app.asgi))
        serving = loop.create_task(server.serve(sockets=self._sockets))
        while not server.started and not serving.done():  # noqa: ASYNC110  (uvicorn tells it by this flag alone)
            await asyncio.sleep(0.005)
        if server.started:
            self._platform.announce()
            self._on_ready(self._platform)
            await self._serve(serving)
        await self._end(server, serving, app)

    async def _serve(self, serving: asyncio.Task[None]) -> None:
        stopped = asyncio.get_running_loop().create_task(self._stop.wait())
        starting = asyncio.get_running_loop().create_task(self._start_children())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)

    async def _start_children(self) -> None:
        """After `ready`: nobody waits for them."""
        try:
            await self._platform.start_children(self._scenario.deploy, self._scenario.programs(self._platform))
        except TwinstackError as error:
            log.error("starting the child processes: %s", error)
        except Exception:
            log.exception("starting the child processes")

    def _on_signal(self) -> None:
        self._signals += 1
        self._stop.set()
        if self._signals > 1:
            log.warning("stopping at once")
            self._platform.supervisor.kill_all()

    async def _end(self, server: _Server, serving: asyncio.Task[None], app: Application) -> None:
        log.info("stopping")
        await self._platform.stop_children()
        app.stop()
        server.should_exit = True
        server.force_exit = self._signals > 1
        await asyncio.gather(serving, return_exceptions=True)
        await app.close()


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_CLOSE_S,
        timeout_keep_alive=75,
        h11_max_incomplete_event_size=64 * 1024,
    )
