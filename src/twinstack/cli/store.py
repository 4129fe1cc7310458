"""`twinstack migrate`: the store's own tables; and how commands open a store, with the server running or not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinstack.cli.address import Data
from twinstack.cli.output import Json, emit_json, emit_lines
from twinstack.core.errors import CheckFailed, Conflict, NotFound

if TYPE_CHECKING:
    from twinstack.sensorthings.store import Store

StoreUrl = Annotated[
    str | None,
    typer.Option("--store", help="URL of the store, e.g. sqlite:PATH.", show_default="that of the data folder"),
]


def add_to(root: typer.Typer) -> None:
    root.command("migrate")(migrate)


def migrate(
    store: StoreUrl = None,
    data: Data = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; 7 when there is something to do.")] = False,
    as_json: Json = False,
) -> None:
    """Bring the tables of a store to this version. The server does it at each start."""
    from twinstack.core.settings import without_password

    with open_file(store, data) as opened:
        shown = without_password(opened.url)
        before, target = opened.revision()
        if before != target and not check:
            refuse_while_running(store, data)
            opened.migrate()
        now = before if check else target
    if as_json:
        emit_json({"store": shown, "from": before, "to": target, "up_to_date": now == target})
    elif before == target:
        emit_lines(f"{shown} is at revision {target}, nothing to do")
    else:
        emit_lines(f"{shown}: from revision {before or '-'} to {target}{' is missing' if check else ''}")
    if now != target:
        raise CheckFailed(f"The store is at revision {before or '-'}, not {target}.", fix="Run `twinstack migrate`.")


@contextlib.contextmanager
def open_file(url: str | None, data: Path | None, *, make: bool = False) -> Iterator[Store]:
    """The store at `url`, else that of the settings; SQLite's file is not made unless `make` says so.

    Errors: NotFound for a file that is not there, SettingsError.
    """
    from twinstack.core.settings import load
    from twinstack.sensorthings.store import open_store

    settings = load({"data": data, "store": url}).settings
    wanted = settings.store_url
    if make and not settings.store:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    elif not make and not wanted.startswith("postgres"):
        path = Path(wanted.removeprefix("sqlite:").removeprefix("//"))
        if not path.is_file():
            raise NotFound(f"There is no store {path}.", fix="Name it with --store, or its folder with --data.")
    opened = open_store(wanted)
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def open_current(url: str | None, data: Path | None, *, make: bool = False) -> Iterator[Store]:
    """The same, for commands that need its tables to be of this version; with `make` missing ones are made.

    Errors: Conflict that names `twinstack migrate`.
    """
    with open_file(url, data, make=make) as opened:
        before, target = opened.revision()
        if before is None and make:
            opened.migrate()
        elif before != target:
            raise Conflict(f"The store is at revision {before or '-'}, not {target}.", fix="Run `twinstack migrate`.")
        yield opened


def refuse_while_running(url: str | None, data: Path | None) -> None:
    """A server would go on with tables, or an identity, that it does not know. Errors: Conflict."""
    from twinstack.core.settings import load
    from twinstack.platform.folder import Folder

    folder = load({"data": data}).settings.data
    # With a store elsewhere only its operator knows who uses it.
    if url is None and (running := Folder(folder).running()) is not None:
        raise Conflict(
            f"A server runs on this store ({running.url}).", fix=f"Stop it first: twinstack down --data {folder}"
        )
