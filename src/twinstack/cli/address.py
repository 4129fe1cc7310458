"""Where a command finds the server and the log: options, settings, else the server that holds the data folder."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinstack.cli.output import hint
from twinstack.core.errors import NotFound, SettingsError

if TYPE_CHECKING:
    from twinstack.log.seam import Log

Server = Annotated[
    str | None,
    typer.Option("--server", "--bootstrap-server", help="URL of a server, or Kafka brokers host:port[,host:port]."),
]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder.", show_default="./twinstack-data")]

DEMO_FOLDER = Path("twinstack-demo")
ROOT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """`url` of the server ("" when only a log was named), `log` an address for `log.connect`."""

    url: str
    log: str


def find(server: str | None = None, data: Path | None = None) -> Place:
    """The place named by the option, else by the settings, else that of the server which holds the data folder, else
    the Kafka of this machine."""
    from twinstack.core.settings import load

    settings = load({"data": data}).settings
    named = server or settings.server
    if named.startswith(("http://", "https://")):
        return Place(named.rstrip("/"), _log_of(named.rstrip("/")))
    if named:
        return Place("", named)
    found = running_server(settings.data, given=data is not None)
    if found is not None:
        return Place(found["url"], found["url"] if found["log"] == "embedded" else found["log"])
    if settings.embedded and (kafka := kafka_here()) is not None:
        hint(f"No server runs here; the Kafka that was started on this machine is used: {kafka}")
        return Place("", kafka)
    url = f"http://localhost:{settings.port}"
    return Place(url, url if settings.embedded else settings.log)


def kafka_here() -> str | None:
    """The brokers that `twinstack kafka start` started, as far as they run: what else could be meant after it?"""
    from twinstack.log.kafka import node

    with contextlib.suppress(NotFound):
        cluster = node.find()
        return cluster.bootstrap if any(n.running for n in cluster.nodes) else None
    return None


def _log_of(url: str) -> str:
    """Where the log of a server is: at the server itself, or on Kafka brokers. What does not answer as a server of ours
    is taken as it was named: using it says best what is wrong."""
    request = urllib.request.Request(f"{url}/", headers={"Accept": "application/json"})  # noqa: S310 - http(s) only
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        with urllib.request.urlopen(request, timeout=ROOT_TIMEOUT_S) as answer:  # noqa: S310
            log = json.load(answer).get("log")
        if isinstance(log, str) and log and not log.startswith("http"):
            return log
    return url


def running_server(data: Path, *, given: bool) -> dict[str, Any] | None:
    """server.json of the data folder; without `--data` also that of a demo started beside it."""
    for folder in (data,) if given else (data, DEMO_FOLDER):
        with contextlib.suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads((folder / "server.json").read_text(encoding="utf-8"))
            return found
    return None


@contextlib.contextmanager
def open_log(address: str) -> Iterator[Log]:
    """The log at `address`, contacted once so that a wrong address is one clear error. Errors: Unreachable."""
    from twinstack.log.connect import connect

    if address.startswith("embedded:"):
        raise SettingsError("Only the server opens an embedded log.", fix="Name the server: --server http://host:port.")
    log = connect(address, client_id="twinstack-cli")
    try:
        log.ping(5.0)
        yield log
    finally:
        log.close()


def demos_folder() -> Path:
    """The demo programs: beside the package in a wheel, in the repository otherwise. Errors: NotFound."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "demos", package.parent.parent / "demos"):
        if (folder / "apps.json").is_file():
            return folder
    raise NotFound("The demo programs are not installed.", fix="Install the package again, or run from the repository.")
