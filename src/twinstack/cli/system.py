"""`twinstack system add|list|show`: systems of a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from twinstack.cli.address import Data, Server, find
from twinstack.cli.output import Json, emit_json, emit_rows
from twinstack.core.errors import InvalidInput
from twinstack.core.names import parse_system

group = typer.Typer(help="Systems: domain.enterprise.workcenter.station, each with four topics.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="e.g. cz.icecars.iot4cps-wp5-CarFleet.Car1")]
_COLUMNS = ("name", "state", "size", "partitions")


@group.command("add")
def add(
    name: Name,
    size: Annotated[str | None, typer.Option("--size", help="small, standard or large.")] = None,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Create a system with its topics .int .ext .log .meta."""
    from twinstack.cli.api import call

    parse_system(name)
    body = {"name": name} if size is None else {"name": name, "size": size}
    made = call("POST", server_url(server, data), "/api/v1/systems", body)
    emit_json(made) if as_json else emit_rows([made], _COLUMNS, as_json=False)


@group.command("list")
def list_systems(server: Server = None, data: Data = None, as_json: Json = False) -> None:
    """List the systems."""
    from twinstack.cli.api import call

    found = call("GET", server_url(server, data), "/api/v1/systems?limit=500")["items"]
    emit_rows(found, _COLUMNS, as_json=as_json, empty="No systems yet: twinstack system add NAME")


@group.command("show")
def show(name: Name, server: Server = None, data: Data = None, as_json: Json = False) -> None:
    """Show one system and its topics."""
    from twinstack.cli.api import call

    found = call("GET", server_url(server, data), f"/api/v1/systems/{quote(name, safe='')}")
    emit_json(found) if as_json else emit_rows([found], (*_COLUMNS, "topics"), as_json=False)


def server_url(server: str | None, data: Path | None) -> str:
    """The server that is asked. Errors: InvalidInput when only a log is known."""
    url = find(server, data).url
    if not url:
        raise InvalidInput("This is asked from a server, not from brokers.", fix="Name it: --server http://host:port.")
    return url
