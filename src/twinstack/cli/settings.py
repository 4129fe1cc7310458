"""`twinstack config`: the effective settings and where each came from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from twinstack.cli.output import Json, emit_json, emit_rows

Data = Annotated[Path | None, typer.Option("--data", help="Data folder.", show_default="./twinstack-data")]


def add_to(root: typer.Typer) -> None:
    root.command("config")(config)


def config(data: Data = None, as_json: Json = False) -> None:
    """Show the effective settings and where each came from: flag, environment, file or default."""
    from twinstack.core.settings import load

    values = load({"data": data}).values
    rows: list[dict[str, Any]] = [asdict(value) for value in values]
    if as_json:
        emit_json({row.pop("name"): row for row in rows})
        return
    for row in rows:
        row["from"] = f"{row['origin']} {row['place']}".strip()
        row["setting"] = row["name"]
        row["value"] = "-" if row["value"] in ("", None, []) else row["value"]
    emit_rows(rows, ("setting", "value", "from", "description"), as_json=False)
