"""`twinstack setup postgres`: role and database of a store on PostgreSQL."""

from __future__ import annotations

from typing import Annotated

import typer

from twinstack.cli.output import Json, emit_json, emit_lines, hint


def add_to(group: typer.Typer) -> None:
    """Into the group `setup`, beside `topics`."""
    group.command("postgres")(postgres)


def postgres(
    url: Annotated[str, typer.Option("--url", help="The store's URL: postgresql://role:password@host:5432/database.")],
    admin: Annotated[
        str | None, typer.Option("--admin", help="URL of a superuser who makes it; without it the SQL is printed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make role and database of a store on PostgreSQL 15 or later, or print the SQL that does."""
    from twinstack.sensorthings.store import setup

    if admin is None:
        lines = setup.script(setup.wanted(url))
        if as_json:
            emit_json({"sql": lines})
            return
        hint("Run this in psql as a superuser, or repeat the command with --admin URL:")
        emit_lines(*lines)
        return
    done = setup.make(admin, url)
    if as_json:
        emit_json({"done": done})
    else:
        emit_lines(*done)
        hint("Start the server with TWINSTACK_STORE set to the URL.")
