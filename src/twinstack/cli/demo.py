"""`twinstack demo`: three companies, five systems, their programs and six stream apps in one command."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from twinstack.cli.address import DEMO_FOLDER, Data, demos_folder
from twinstack.cli.output import Json, hint
from twinstack.cli.server import LogChoice, Port, effective, serve, stops_cleanly
from twinstack.core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from twinstack.core.settings import Settings
    from twinstack.platform.service import Platform
    from twinstack.platform.supervisor import Child
    from twinstack.web.server import Scenario

PROGRAMS = (  # in the order of the flow: what others wait for starts first
    "WeatherService/demo_station_1/demo_station_1.py",
    "WeatherService/demo_station_2/demo_station_2.py",
    "CarFleet/Car1/car_1.py",
    "CarFleet/Car2/car_2.py",
    "WeatherService/forecast_service/forecast-service.py",
    "Analytics/datastack_adapter.py",
)
QUIET = "datastack_adapter"
"""Prints a JSON document for each record of everybody: on the terminal the others could not be read any more."""

Show = Callable[[str, bytes], None]


def add_to(root: typer.Typer) -> None:
    root.command("demo")(demo)


def demo(
    port: Port = None,
    data: Data = None,
    log: LogChoice = None,
    reset: Annotated[bool, typer.Option("--reset", help="Begin with an empty folder.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Credentials for everyone.")] = False,
    as_json: Json = False,
) -> None:
    """Run the demo: cars, weather stations and analysts exchange data at http://localhost:1908."""
    from twinstack.platform.folder import Folder
    from twinstack.platform.policy import Mode

    if strict:
        raise InvalidInput("There are no accounts yet that --strict could ask for.", fix="Leave --strict out.")
    folder = demos_folder()
    settings = effective(port, data or DEMO_FOLDER, log)
    if reset:
        _reset(Folder(settings.data))
    with stops_cleanly(), _kafka(settings) as log_address, _shown(as_json) as show:
        settings = msgspec.structs.replace(settings, log=log_address)
        hints = (f"What the programs say is also in {settings.data / 'logs'}; {QUIET}'s documents are there alone.",)
        serve(settings, Mode.DEMO, as_json=as_json, hints=hints, scenario=scenario(folder, show))


@contextlib.contextmanager
def _shown(as_json: bool) -> Iterator[Show | None]:
    """Takes lines of the programs to stdout; None with `--json`, where stdout is for programs."""
    if as_json:
        yield None
        return
    from twinstack.cli.printed import Printed

    printed = Printed(sys.stdout)
    try:
        yield printed.add
    finally:
        printed.close()


@contextlib.contextmanager
def _kafka(settings: Settings) -> Iterator[str]:
    """The log's address; with `--log kafka` that of a node in the data folder, which runs as long as the demo."""
    if settings.log != "kafka":
        yield settings.log
        return
    from twinstack.log.kafka import node
    from twinstack.log.kafka.coordinators import ask_early
    from twinstack.platform.folder import Folder
    from twinstack.platform.policy import Mode

    data_folder = Folder(settings.data)
    data_folder.acquire(Mode.DEMO)  # before Java starts in a folder that is not ours
    data_folder.release()
    kafka = settings.data / "kafka"
    try:
        ports = None if (kafka / "cluster.json").exists() else node.free_ports(1)
        cluster = node.start(1, kafka, ports, progress=hint)
        ask_early(cluster.bootstrap)
        yield cluster.bootstrap
    finally:
        node.stop(kafka, progress=hint)


def _reset(folder: Any) -> None:
    from twinstack.platform.policy import Mode

    made_by = folder.mode()
    if made_by is None:
        return
    if made_by is not Mode.DEMO:
        raise InvalidInput(f"{folder.path} was not made by the demo, so --reset leaves it.", fix="Name another --data.")
    if (folder.path / "kafka" / "cluster.json").exists():
        from twinstack.log.kafka import node

        node.stop(folder.path / "kafka", progress=hint)
    folder.delete()


def scenario(folder: Path, show: Show | None = None) -> Scenario:
    """Systems, apps and programs of the demo; what is there already is left as it is. Errors: NotFound."""
    from twinstack.web.server import Scenario

    companies = _read(folder / "systems.json")["companies"]
    return Scenario(
        systems=[system for company in companies for system in company["systems"]],
        deploy=partial(_deploy, apps=_read(folder / "apps.json")["apps"]),
        programs=partial(_programs, folder=folder, show=show),
    )


def _deploy(platform: Platform, apps: Sequence[Mapping[str, Any]]) -> None:
    from twinstack.platform.apps import NewApp

    for wanted in apps:
        platform.apps.deploy(NewApp(**wanted), "lab")


def _programs(platform: Platform, folder: Path, show: Show | None) -> list[Child]:
    from twinstack.platform.supervisor import Child

    address = ["--server", platform.url, *([] if platform.settings.embedded else ["--kafka", platform.settings.log])]
    children = []
    for program in PROGRAMS:
        name = Path(program).stem
        on_print = partial(show, name) if show is not None and name != QUIET else None
        cwd = platform.folder.path
        children.append(Child(name, str(folder / program), address, kind="program", cwd=cwd, on_print=on_print))
    return children


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotFound(f"{path} cannot be read: {error}.", fix="Install the package again.") from None
    return document
