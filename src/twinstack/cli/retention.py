"""`twinstack retention show|set|run`: how long history is kept, and deleting what is older."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twinstack.cli.address import Data
from twinstack.cli.output import Json, emit_json, emit_lines, emit_rows
from twinstack.cli.store import StoreUrl, open_current
from twinstack.cli.transfer import reporter

group = typer.Typer(help="How long history is kept.", no_args_is_help=True)

FOREVER, DEFAULT = "forever", "default"
_UNITS = (("y", 365 * 86_400_000), ("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000))


@group.command("show")
def show(store: StoreUrl = None, data: Data = None, as_json: Json = False) -> None:
    """Show the default, and what systems and Datastreams have of their own."""
    from twinstack.sensorthings.store import retention

    rows = [{"of": "default", "name": "-", "kept": _shown(_default_ms(data))}]
    with open_current(store, data) as opened, opened.reader() as connection:
        rows += [
            {"of": one.kind, "name": one.name, "kept": _shown(one.retention_ms)} for one in retention.kept(connection)
        ]
    emit_rows(rows, ("of", "name", "kept"), as_json=as_json)


@group.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="A system, or the full name of a Datastream.")],
    keep: Annotated[str, typer.Argument(help="36h, 90d, 8w, 2y, forever or default.")],
    store: StoreUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Set how long the history of a system or a Datastream is kept; the default is the setting `retention`."""
    from twinstack.core.settings import parse_retention_ms
    from twinstack.sensorthings.store import retention

    wanted = None if keep == DEFAULT else retention.KEEP_ALL if keep == FOREVER else parse_retention_ms(keep)
    with open_current(store, data) as opened:
        done = opened.write(lambda tx: retention.keep(tx, name, wanted), emits=False).result()
    kept = DEFAULT if wanted is None else _shown(wanted)
    if as_json:
        emit_json({"of": done.kind, "name": name, "kept": kept, "retention_ms": wanted})
    else:
        emit_lines(f"{done.kind} {name}: {kept}")


@group.command("run")
def run(store: StoreUrl = None, data: Data = None, as_json: Json = False) -> None:
    """Delete now what is older than it is kept for; the server does it hourly."""
    from twinstack.sensorthings.store import retention

    report = reporter("Observations deleted")
    with open_current(store, data) as opened:
        deleted = retention.run(opened, _default_ms(data), progress=lambda n: report(n, 0))
    if as_json:
        emit_json({"observations": deleted.observations, "datastreams": len(deleted.datastreams)})
    else:
        emit_lines(f"{deleted.observations:,} Observations of {len(deleted.datastreams)} Datastreams deleted")


def _default_ms(data: Path | None) -> int | None:
    from twinstack.core.settings import load

    return load({"data": data}).settings.retention_ms


def _shown(retention_ms: int | None) -> str:
    if not retention_ms:
        return FOREVER
    unit, ms = next((unit, ms) for unit, ms in (*_UNITS, ("ms", 1)) if retention_ms % ms == 0)
    return f"{retention_ms // ms}{unit}"
