"""`twinstack sensorthings copy URL`: another SensorThings server's content into this store (docs/copy.md)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from twinstack.cli.address import Data
from twinstack.cli.output import Json, emit_json, emit_rows, hint
from twinstack.cli.store import StoreUrl, open_current
from twinstack.core.errors import CheckFailed
from twinstack.core.limits import TRANSFER_REPORT_MS

group = typer.Typer(help="SensorThings servers of others.", no_args_is_help=True)


@group.command("copy")
def copy(
    url: Annotated[str, typer.Argument(help="http://host:port/path of a SensorThings server, 1.0 or 1.1.")],
    system: Annotated[
        str | None, typer.Option("--system", help="Whose it becomes.", show_default="the default system")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="The server is on this machine or in a private network.")
    ] = False,
    token: Annotated[str | None, typer.Option("--token", envvar="TWINSTACK_SOURCE_TOKEN", help="Bearer token.")] = None,
    store: StoreUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Copy entities, links and Observations; repeated it goes on, or brings what is new. The server here may run."""
    from twinstack.sensorthings.transfer.copying import copy as transfer
    from twinstack.sensorthings.transfer.source import Source

    source = Source(url, allow_private=allow_private, token=token, sleep=time.sleep)
    try:
        with open_current(store, data, make=True) as opened:
            copied = transfer(opened, source, system=system, progress=_progress())
    finally:
        source.close()
    if as_json:
        emit_json(asdict(copied))
    else:
        sets = dict.fromkeys([*copied.created, *copied.changed, *copied.unchanged, *copied.refused])
        kinds = ("created", "changed", "unchanged", "refused")
        rows = [{"set": name, **{kind: getattr(copied, kind).get(name, 0) for kind in kinds}} for name in sets]
        emit_rows(rows, ("set", *kinds), as_json=False, empty="The server has nothing.")
        for reason in copied.reasons:
            hint(f"refused: {reason}")
    if copied.refused:
        raise CheckFailed(f"{sum(copied.refused.values())} were refused.", fix="The reasons say why; repeat it then.")


def _progress() -> Callable[[str, int], None]:
    told = time.monotonic()

    def report(set_name: str, done: int) -> None:
        nonlocal told
        if (time.monotonic() - told) * 1000 >= TRANSFER_REPORT_MS:
            told = time.monotonic()
            hint(f"{set_name}: {done:,}")

    return report
