"""`twinstack doctor`: read-only checks, each with its cause and a command; works with the server down."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from twinstack.cli.address import Data, Place, Server, find, open_log, running_server
from twinstack.cli.output import Json, emit_json, emit_lines
from twinstack.core.errors import CheckFailed, TwinstackError

if TYPE_CHECKING:
    from twinstack.core.settings import Settings

PASS, WARN, FAIL = "pass", "warn", "fail"
_DISK_FREE_BYTES_MIN = 1024**3
_PYTHON_MIN = (3, 11)
_SERVER_PACKAGES = ("starlette", "uvicorn", "sqlalchemy", "pysqlite3", "apsw", "confluent-kafka", "numpy", "jinja2")


class Check(NamedTuple):
    name: str
    status: str
    cause: str
    fix: str = ""


def add_to(root: typer.Typer) -> None:
    root.command("doctor")(doctor)


def doctor(server: Server = None, data: Data = None, as_json: Json = False) -> None:
    """Check this installation, the data folder, the log and the server; exit 0, or 7 when something is wrong."""
    checks = list(_all(server, data))
    if as_json:
        emit_json({"ok": all(c.status != FAIL for c in checks), "checks": [c._asdict() for c in checks]})
    else:
        width = max(len(c.name) for c in checks)
        for c in checks:
            emit_lines(f"{c.status.ljust(4)}  {c.name.ljust(width)}  {c.cause}")
            if c.fix and c.status != PASS:
                emit_lines(f"{'':6}{'':{width}}  fix: {c.fix}")
    failed = [c.name for c in checks if c.status == FAIL]
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}.", fix=checks_fix(checks))


def checks_fix(checks: list[Check]) -> str:
    return next((c.fix for c in checks if c.status == FAIL and c.fix), "")


def _all(server: str | None, data: Path | None) -> Iterator[Check]:
    from twinstack.core.settings import load

    yield _python()
    yield from _packages()
    try:
        settings = load({"data": data}).settings
    except TwinstackError as error:
        yield Check("settings", FAIL, error.message, error.fix)
        return
    yield Check("settings", PASS, "`twinstack config` shows them")
    yield _folder(settings.data)
    yield _disk(settings.data)
    place = find(server, data)
    running = running_server(settings.data, given=data is not None)
    yield _server(place, running, settings)
    yield from _log(place, settings, running is not None)
    yield from _api(place)


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    wanted = ".".join(map(str, _PYTHON_MIN))
    status = PASS if sys.version_info >= _PYTHON_MIN else FAIL
    return Check("python", status, version, f"Install Python {wanted} or later.")


def _packages() -> Iterator[Check]:
    missing = []
    for name in _SERVER_PACKAGES:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    version = importlib.metadata.version("twinstack")
    if missing:
        yield Check("packages", WARN, f"without {', '.join(missing)}", 'pip install "twinstack[platform]"')
    else:
        yield Check("packages", PASS, f"twinstack {version} with its server")


def _folder(data: Path) -> Check:
    from twinstack.platform.folder import Folder

    try:
        mode = Folder(data).mode()
    except TwinstackError as error:
        return Check("data folder", FAIL, error.message, error.fix)
    parent = next(p for p in (data.absolute(), *data.absolute().parents) if p.exists())
    if not os.access(parent, os.W_OK):
        return Check("data folder", FAIL, f"{parent} is not writable", "Name another folder with --data.")
    return Check("data folder", PASS, f"{data} made by `{mode}`" if mode else f"{data} will be made")


def _disk(data: Path) -> Check:
    parent = next(p for p in (data.absolute(), *data.absolute().parents) if p.exists())
    free = shutil.disk_usage(parent).free
    status = PASS if free >= _DISK_FREE_BYTES_MIN else FAIL
    return Check("disk", status, f"{free / 1024**3:.1f} GiB free", "Free some space: at least 1 GiB.")


def _server(place: Place, running: dict[str, Any] | None, settings: Settings) -> Check:
    if running is not None:
        return Check("server", PASS, f"{running['url']} (process {running['pid']})")
    if place.url and _listens(place.url):
        return Check("server", PASS, f"something listens at {place.url}")
    if _listens(f"http://localhost:{settings.port}"):
        cause = f"port {settings.port} is taken by another program"
        return Check("server", WARN, cause, "Start the server with another --port.")
    return Check("server", WARN, "not running", "twinstack up --open")


def _listens(url: str) -> bool:
    import urllib.parse

    parts = urllib.parse.urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "localhost", parts.port or 80), timeout=2):
            return True
    except OSError:
        return False


def _log(place: Place, settings: Settings, runs: bool) -> Iterator[Check]:
    """Reachable, and the topics of each system there."""
    if settings.embedded and place.url and not runs and not _listens(place.url):
        yield Check("log", PASS, "embedded: opened by the server")
        return
    try:
        with open_log(place.log) as log:
            topics = log.admin().topics()
    except TwinstackError as error:
        yield Check("log", FAIL, error.message, error.fix)
        return
    yield Check("log", PASS, f"{place.log} answers, {len(topics)} topics")
    systems = {name.rpartition(".")[0] for name in topics if name.endswith((".int", ".ext", ".log", ".meta"))}
    systems = {s for s in systems if s.count(".") == 3}
    lost = sorted(f"{s}.{x}" for s in systems for x in ("int", "ext", "log", "meta") if f"{s}.{x}" not in topics)
    if lost:
        cause = f"missing: {', '.join(lost[:5])}{' ...' if len(lost) > 5 else ''}"
        yield Check("topics", FAIL, cause, "twinstack setup topics --adopt")
    else:
        yield Check("topics", PASS, f"{len(systems)} systems, 4 topics each")


def _api(place: Place) -> Iterator[Check]:
    """What the running server says of itself, and one look through the metadata API."""
    if not place.url or not _listens(place.url):
        return
    from twinstack.core.lean import httpx

    def ask(path: str) -> Any:
        answer = httpx.get(place.url + path, timeout=10, trust_env=False)
        return answer.json()

    yield _tried("ready", lambda: ask("/readyz"), _ready)
    yield _tried("sensorthings", lambda: ask("/v1.1/Things?$top=1"), _things)


def _tried(name: str, ask: Callable[[], Any], judge: Callable[[Any], Check]) -> Check:
    from twinstack.core.lean import httpx

    try:
        return judge(ask())
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return Check(name, FAIL, f"no answer as expected ({type(error).__name__})", "Look at the server's log.")


def _ready(answer: Any) -> Check:
    failed = {k: v for k, v in answer["checks"].items() if v["status"] != PASS}
    if not failed:
        return Check("ready", PASS, ", ".join(answer["checks"]))
    name, first = next(iter(failed.items()))
    return Check("ready", FAIL, f"{name}: {first.get('cause', '')}", first.get("fix") or "Look at the server's log.")


def _things(answer: Any) -> Check:
    n = len(answer["value"])
    return Check("sensorthings", PASS, "answers" if n else "answers; no Thing yet")
