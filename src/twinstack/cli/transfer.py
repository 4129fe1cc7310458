"""`twinstack export|import`: a store, or one system of it, as a file of JSON lines (docs/store.md)."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Annotated

import typer

from twinstack.cli.address import Data
from twinstack.cli.output import Json, emit_json, hint
from twinstack.cli.store import StoreUrl, open_current, refuse_while_running
from twinstack.core.errors import NotFound, StorageFull, TwinstackError
from twinstack.core.limits import TRANSFER_REPORT_MS

System = Annotated[str | None, typer.Option("--system", help="Only this system, without what others shared with it.")]


def add_to(root: typer.Typer) -> None:
    root.command("export")(export)
    root.command("import")(import_)


def export(
    file: Annotated[str, typer.Argument(help="File to write, - for standard output.")],
    system: System = None,
    move: Annotated[
        bool,
        typer.Option("--move", help="Also identity, key, outbox and archive positions: to go on in another store."),
    ] = False,
    store: StoreUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Write a store, or one system of it, to a file; the server may run meanwhile."""
    from twinstack.core.errors import InvalidInput
    from twinstack.sensorthings.transfer.export import export as write

    if system is not None and move:
        raise InvalidInput("--move is for whole stores.", fix="Leave --system out.")
    with open_current(store, data) as opened, _output(file) as out:
        counts = write(opened, out, system=system, move=move, progress=reporter("Observations"))
    if as_json and file != "-":
        emit_json({"file": file, "rows": counts})
    else:
        hint(f"exported {_shown(counts)}")


def import_(
    file: Annotated[str, typer.Argument(help="File of `twinstack export`, - for standard input.")],
    move: Annotated[
        bool, typer.Option("--move", help="Take the exported store's place: needs an empty store and `export --move`.")
    ] = False,
    store: StoreUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Add what a file holds to a store; repeated after an interruption it goes on, and nothing comes twice."""
    from twinstack.sensorthings.transfer.importing import load

    if move:
        refuse_while_running(store, data)
    with _input(file) as source, open_current(store, data, make=True) as opened:
        imported = load(opened, source, move=move, progress=reporter("Observations"))
        waiting = [row.name for row in opened.systems() if row.state == "creating"]
    if as_json:
        emit_json(
            {
                "export": imported.export,
                "source": imported.source,
                "stored": imported.stored,
                "present": imported.present,
                "lines_before": imported.before,
            }
        )
    elif imported.stored:
        present = f", {sum(imported.present.values())} rows were there" if imported.present else ""
        hint(f"imported {_shown(imported.stored)}{present}")
    else:
        hint("Everything of this file is there already.")
    if waiting:
        hint(f"The next start of the server makes the topics of {', '.join(waiting)}.")


def reporter(what: str) -> Callable[[int, int], None]:
    """Progress on stderr, a line every 2 s: rows done, of how many, and how fast."""
    started = told = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if (now - told) * 1000 >= TRANSFER_REPORT_MS:
            told = now
            of = f" of {total:,}" if total else ""
            hint(f"{done:,}{of} {what}, {done / (now - started):,.0f}/s")

    return report


def _shown(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items() if n) or "nothing"


@contextlib.contextmanager
def _output(name: str) -> Iterator[IO[bytes]]:
    """The file under its name once it is whole; readable by its owner alone, because it holds everything."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path, part = Path(name), Path(f"{name}.part")
    try:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        raise StorageFull(f"{part} cannot be written: {error.strerror}.", fix="Name a file elsewhere.") from None
    except (TwinstackError, KeyboardInterrupt):
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _input(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        descriptor = os.open(name, os.O_RDONLY)
    except OSError as error:
        raise NotFound(f"{name} cannot be read: {error.strerror}.", fix="Name a file of `twinstack export`.") from None
    with os.fdopen(descriptor, "rb") as file:
        yield file
