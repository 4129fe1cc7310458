"""`twinstack app run|check|list|show`: stream apps, on this machine or in the platform."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinstack.cli.address import Data, Server, find, open_log
from twinstack.cli.output import Json, emit_json, emit_lines, emit_rows, hint
from twinstack.cli.system import server_url
from twinstack.core.errors import InvalidInput, QueryError, TwinstackError, Unavailable, UnknownTopic
from twinstack.core.ids import named_uid
from twinstack.core.names import parse_system

if TYPE_CHECKING:
    from twinstack.streams.catalogue import Catalogue
    from twinstack.streams.spec import AppSpec
    from twinstack.streams.states import Report

group = typer.Typer(help="Stream apps: filter what one system shows to another.", no_args_is_help=True)

Sources = Annotated[list[str], typer.Option("--source-system", help="System that is read; may be given again.")]
_CHECK_NAME = "check"


@group.command("run")
def run(
    stream_name: Annotated[str, typer.Option("--stream-name", help="Name; its second run replaces the first.")],
    source_system: Sources,
    filter_logic: Annotated[str, typer.Option("--filter-logic", help="SELECT * FROM * WHERE result < 4;")],
    target: Annotated[str | None, typer.Argument(help="The target system, when --target-system is not given.")] = None,
    target_system: Annotated[str | None, typer.Option("--target-system", help="System that receives.")] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="First run: the oldest record too.")] = False,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Run a single-source stream app here until Ctrl+C, exactly-once.

    As the original: --stream-name mystream --source-system A B --filter-logic "SELECT * FROM * WHERE result < 4;"
    --bootstrap-server 127.0.0.1:9092, where A is the source and B the target.
    """
    from twinstack.streams.app import run_app
    from twinstack.streams.spec import AppSpec

    if target and target_system:
        raise InvalidInput("The target is named twice.", fix="Leave --target-system out, or the second system.")
    chosen = target or target_system
    if not chosen:
        raise InvalidInput("The app has no target system.", fix="Add --target-system, or a second system: A B.")
    place = find(server, data)
    spec = AppSpec(
        uid=named_uid(chosen, stream_name),
        name=stream_name,
        target=str(parse_system(chosen, allow_reserved=True)),
        sources=tuple(str(parse_system(source, allow_reserved=True)) for source in source_system),
        text=drop_quotes(filter_logic),
        address=place.log,
        start="earliest" if from_beginning else "latest",
    )
    stop = threading.Event()
    with open_log(place.log) as log:
        _check(spec, log)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        hint(f"{stream_name}: {', '.join(spec.sources)} -> {spec.target}. Ctrl+C stops it.")
        last: list[Report] = []

        def on_state(report: Report) -> None:
            news = as_json or report.event == "state" or not last or _counted(report) != _counted(last[0])
            last[:] = [report]
            if news:
                _tell(report, as_json)

        state = run_app(spec, log, stop=stop, on_state=on_state)
    if state == "crashed":
        cause = last[0].message if last else ""
        raise TwinstackError(f"The app crashed: {cause}", fix=f"`twinstack logs {spec.target}` tells more.")


def _counted(report: Report) -> tuple[Any, ...]:
    return tuple(report.counters.get(name) for name in ("records_in", "records_out", "dead"))


def _tell(report: Report, as_json: bool) -> None:
    from dataclasses import asdict

    from twinstack.core.timestamps import format_us

    if as_json:
        emit_json(asdict(report))
    elif report.event == "state":
        emit_lines(f"{format_us(report.at_us)}  {report.state}  {report.message or report.reason}".rstrip())
    else:
        c = report.counters
        emit_lines(f"{format_us(report.at_us)}  {report.state}  in {c['records_in']}  out {c['records_out']}")


def _check(spec: AppSpec, log: Any) -> None:
    """Errors before the start: QueryError, UnknownTopic for a system without topics."""
    from twinstack.streams.catalogue import MetaCatalogue
    from twinstack.streams.plan import make_plan

    admin = log.admin()
    for system, topic in (*((source, f"{source}.int") for source in spec.sources), (spec.target, spec.target_topic)):
        try:
            admin.describe(topic)
        except UnknownTopic:
            raise UnknownTopic(
                f"The system {system} has no topics here.",
                fix=f"Register a client of it, or create it: twinstack system add {system}",
                topic=topic,
            ) from None
    catalogue = MetaCatalogue(log)
    try:
        for warning in make_plan(spec, catalogue).checked.warnings:
            hint(f"warning: {warning.message}")
    finally:
        catalogue.close()


@group.command("check")
def check(
    query: Annotated[str, typer.Argument(help="The text, e.g. SELECT * FROM * WHERE result < 4;")],
    source_system: Sources,
    target_system: Annotated[str, typer.Option("--target-system", help="System that would receive.")] = "",
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Check a text: exit 0, or 2 with line, column, message and fix.

    Without a server only what the text alone shows is checked.
    """
    from dataclasses import asdict

    from twinstack.streams.spec import AppSpec

    sources = tuple(str(parse_system(source, allow_reserved=True)) for source in source_system)
    target = target_system or sources[0]
    spec = AppSpec(
        uid=named_uid(target, _CHECK_NAME), name=_CHECK_NAME, target=target, sources=sources, text=drop_quotes(query)
    )
    try:
        warnings, known = _plan(spec, find(server, data).log)
    except QueryError as error:
        if as_json:
            emit_json({"ok": False, "errors": [error.as_dict() | {"message": error.message}], "warnings": []})
        raise
    if as_json:
        emit_json({"ok": True, "errors": [], "warnings": [asdict(w) for w in warnings], "datastreams_known": known})
        return
    for warning in warnings:
        hint(f"warning: line {warning.line}, column {warning.column}: {warning.message}\n{warning.caret}")
    if not known:
        hint("No Datastream of the sources is known here: names, units and types were not checked.")
    emit_lines("ok")


def _plan(spec: AppSpec, address: str) -> tuple[list[Any], bool]:
    """`(warnings, whether Datastreams of the sources are known)`. Errors: QueryError."""
    from twinstack.streams.catalogue import MetaCatalogue
    from twinstack.streams.plan import make_plan

    try:
        with open_log(address) as log:
            catalogue: Catalogue = MetaCatalogue(log)
            try:
                known = any(found.by_key for found in catalogue.snapshot(spec.sources).values())
                return list(make_plan(spec, catalogue).checked.warnings), known
            finally:
                catalogue.close()
    except Unavailable:
        return list(make_plan(spec, _Nothing()).checked.warnings), False


class _Nothing:
    """The catalogue of a machine without a server: no system is known."""

    def snapshot(self, systems: Any) -> dict[str, Any]:
        from twinstack.streams.catalogue import SystemCatalogue

        return {system: SystemCatalogue(system, exists=False) for system in systems}

    def refresh(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""


@group.command("list")
def list_apps(server: Server = None, data: Data = None, as_json: Json = False) -> None:
    """List the apps of the platform with state and rate."""
    from twinstack.cli.api import call

    apps = call("GET", server_url(server, data), "/api/v1/apps?limit=500")["items"]
    columns = ("uid", "name", "sources", "target", "state", "rate_per_s", "reason")
    emit_rows(apps, columns, as_json=as_json, empty="No apps yet.")


@group.command("show")
def show(
    app: Annotated[str, typer.Argument(help="Uid or name.")],
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show one app: text, state, counters."""
    from twinstack.cli.api import call

    url = server_url(server, data)
    apps = call("GET", url, "/api/v1/apps?limit=500")["items"]
    uids = [found["uid"] for found in apps if app in (found["uid"], found["name"])]
    if len(uids) > 1:
        raise InvalidInput(f"{len(uids)} apps are named '{app}'.", fix=f"Give a uid: {', '.join(uids)}.")
    found = call("GET", url, f"/api/v1/apps/{uids[0] if uids else app}")
    if as_json:
        emit_json(found)
        return
    width = max(len(name) for name in found)
    emit_lines(*(f"{name.ljust(width)}  {_shown(value)}" for name, value in found.items()))


def _shown(value: Any) -> str:
    from twinstack.cli.output import cell

    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else cell(value)


def drop_quotes(text: str) -> str:
    from twinstack.platform.apps import drop_quotes as drop

    return drop(text)
