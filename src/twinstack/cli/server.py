"""`twinstack up|down|logs|reset`: the server of a data folder."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinstack.cli.address import DEMO_FOLDER, Data, Server, find, open_log
from twinstack.cli.interrupt import remembered
from twinstack.cli.output import Json, cell, emit_json, emit_lines, hint
from twinstack.core.errors import InvalidInput, NotFound, TimedOut
from twinstack.core.limits import STOP_MS_MAX
from twinstack.core.names import parse_system

if TYPE_CHECKING:
    from twinstack.core.settings import Settings
    from twinstack.web.server import Scenario

_POLL_S = 0.5
_CHILDREN_BUDGETS = 3  # programs, apps and workers are stopped one after the other

Port = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Port.", show_default="1908")]
LogChoice = Annotated[
    str | None, typer.Option("--log", help="embedded, or Kafka brokers host:port.", show_default="embedded")
]


def add_to(root: typer.Typer) -> None:
    root.command("up")(up)
    root.command("down")(down)
    root.command("logs")(logs)
    root.command("reset")(reset)


def up(
    port: Port = None,
    data: Data = None,
    log: LogChoice = None,
    open_: Annotated[
        bool, typer.Option("--open", help="No sign-in: anyone on this machine may do everything.")
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", help="As --open, with the folder of the demo.")] = False,
    as_json: Json = False,
) -> None:
    """Start the server: pages, API, SensorThings, log and stream apps in one command."""
    from twinstack.platform.policy import Mode

    if open_ and demo:
        raise InvalidInput("--open and --demo exclude each other.", fix="Choose one of them.")
    if not (open_ or demo):
        raise InvalidInput(
            "There are no accounts yet, so the server does not know who may do what.",
            fix="Add --open (anyone on this machine may do everything) or --demo (the same with a folder of its own).",
        )
    mode = Mode.DEMO if demo else Mode.OPEN
    if demo and data is None:
        data = DEMO_FOLDER
    with stops_cleanly():
        serve(effective(port, data, log), mode, as_json=as_json)


@contextlib.contextmanager
def stops_cleanly() -> Iterator[None]:
    """Until the server has its own handlers, both signals undo what was begun; a server that is told to stop ends
    with 0 at any moment."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        hint("stopped before it was ready")
    finally:
        signal.signal(signal.SIGTERM, before)


def effective(port: int | None, data: Path | None, log: str | None) -> Settings:
    from twinstack.core.settings import load

    settings = load({"port": port, "data": data, "log": log}).settings
    logging.basicConfig(
        level=settings.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for quiet in ("uvicorn.error", "uvicorn", "alembic", "httpx"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    return settings


def serve(
    settings: Settings, mode: Any, *, as_json: bool, hints: tuple[str, ...] = (), scenario: Scenario | None = None
) -> None:
    """Runs the server; `ready URL` is the one line on stdout."""
    from twinstack.web.server import Scenario, run

    def on_ready(platform: Any) -> None:
        if as_json:
            emit_json({"ready": platform.url, "pid": os.getpid(), "data": str(settings.data), "mode": str(mode)})
        else:
            emit_lines(f"ready {platform.url}")
        for line in (*hints, "Ctrl+C stops all"):
            hint(line)

    run(settings, mode, on_ready=on_ready, scenario=scenario or Scenario())


def down(
    data: Data = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait for its end.")] = (
        (_CHILDREN_BUDGETS + 1) * STOP_MS_MAX / 1000
    ),
    as_json: Json = False,
) -> None:
    """Stop the server of a data folder and wait until it has ended."""
    from twinstack.core.settings import load
    from twinstack.platform.folder import Folder

    folder = load({"data": data}).settings.data
    running = Folder(folder).running()
    if running is None:
        raise NotFound(f"No server runs on {folder}.", fix="Name its data folder with --data.")
    # The pid alone could belong to another process by now: `running` compared the start time too.
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while running.alive():
        if time.monotonic() > deadline:
            raise TimedOut(f"Process {running.pid} has not ended after {timeout_s:g} s.", fix="Look at its log.")
        time.sleep(0.05)
    if as_json:
        emit_json({"stopped": running.pid, "url": running.url})
    else:
        emit_lines(f"stopped {running.url} (process {running.pid})")


def reset(
    data: Annotated[Path, typer.Option("--data", help="Data folder to delete.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a data folder with everything in it: log, history, apps."""
    from twinstack.platform.folder import Folder

    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise InvalidInput(f"This deletes everything in {data}.", fix="Repeat it with --yes.")
        if not typer.confirm(f"Delete everything in {data}?", err=True):
            raise typer.Abort
    Folder(data).delete()
    emit_json({"deleted": str(data)}) if as_json else emit_lines(f"deleted {data}")


def logs(
    system: Annotated[str | None, typer.Argument(help="A system; without it all of them.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show what clients and apps say: states, errors and their own lines."""
    try:
        with remembered() as interrupted:
            _show_logs(system, server, data, interrupted, follow=follow, as_json=as_json)
    except KeyboardInterrupt:  # the way to end what has no end, at whatever step it comes
        if not follow:
            raise


def _show_logs(
    system: str | None, server: str | None, data: Path | None, interrupted: Event, *, follow: bool, as_json: bool
) -> None:
    from twinstack.log.seam import EARLIEST, TopicPartition

    topic = parse_system(system, allow_reserved=True).topic("log") if system is not None else None
    with open_log(find(server, data).log) as log:
        admin = log.admin()
        if topic is not None:
            topics = [admin.describe(topic).name]
        else:
            topics = sorted(name for name in admin.topics() if name.endswith(".log"))
        if not topics:
            hint("No system yet, so nothing was said.")
            return
        tps = [TopicPartition(name, 0) for name in topics]
        waiting = dict(admin.end_offsets(tps))
        consumer = log.consumer(client_id="twinstack-logs")
        consumer.assign(dict.fromkeys(tps, EARLIEST))
        try:
            while (follow or waiting) and not interrupted.is_set():
                batches = consumer.poll(_POLL_S)
                rows = [(t, b.topic, v) for b in batches for t, v in zip(b.timestamps_ms, b.values, strict=True) if v]
                for _, topic, value in sorted(rows, key=lambda row: row[0]):
                    _print(topic, value, as_json)
                waiting = {tp: end for tp, end in waiting.items() if (consumer.position(tp) or 0) < end and batches}
        finally:
            consumer.close()


def _print(topic: str, value: bytes, as_json: bool) -> None:
    try:
        line = json.loads(value)
    except (ValueError, RecursionError):
        line = {"message": value.decode("utf-8", "replace")}
    if not isinstance(line, dict):
        line = {"message": str(line)}
    if as_json:
        emit_json({"system": topic.removesuffix(".log"), **line})
        return
    source = line.get("source")
    who = "-"
    if isinstance(source, dict) and source:
        kind, identity = next(iter(source.items()))
        who = f"{kind} {source.get('name', identity)}"
    parts = (
        line.get("time"),
        str(line.get("level") or "-").lower(),
        topic.removesuffix(".log"),
        who,
        line.get("event"),
        line.get("message"),
    )
    emit_lines("  ".join(cell(part) for part in parts))
