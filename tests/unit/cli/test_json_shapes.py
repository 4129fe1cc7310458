"""Each command with `--json` has a shape that is committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from services.cli_shapes import SHAPES, schema
from twinstack.cli.main import root

COMMITTED = Path(__file__).resolve().parents[3] / "docs" / "command-line.schema.json"


def commands(group: Any, path: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """`noun verb` -> its options, of all commands."""
    found = {}
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            found |= commands(each, (*path, name))
        else:
            found[" ".join((*path, name))] = [option for p in each.params for option in p.opts]
    return found


def test_every_command_has_json_and_its_shape_is_written_down() -> None:
    found = commands(typer.main.get_command(root))
    assert [name for name, options in found.items() if "--json" not in options] == []
    assert set(found) == set(SHAPES)


def test_the_committed_schema_is_that_of_the_shapes() -> None:
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == schema(), (
        "python -m tests.services.cli_shapes > docs/command-line.schema.json"
    )
