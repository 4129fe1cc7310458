"""What commands print: data on stdout (a table, or JSON with `--json`), progress, hints and errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from twinstack.core.errors import TwinstackError

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def emit_json(value: Any) -> None:
    """One JSON value on one line, at once (a pipe's reader waits for it)."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def emit_lines(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def emit_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str = "Nothing to show."
) -> None:
    """Rows as one JSON array, or as an aligned table of `columns`; nothing at all is `[]`, or a hint on stderr."""
    if as_json:
        emit_json(list(rows))
        return
    if not rows:
        hint(empty)
        return
    cells = [[column.upper().replace("_", " ") for column in columns]]
    cells += [[cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for line in cells:
        emit_lines("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "-"
    # A line break or a control character of somebody's data must not change what the terminal shows.
    return "".join(c if c.isprintable() else "?" for c in str(value))


def hint(text: str) -> None:
    """Progress and hints: stderr, so that stdout holds data only."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def show_error(error: TwinstackError, *, as_json: bool) -> None:
    if as_json:
        sys.stderr.write(json.dumps(error.as_dict(), ensure_ascii=False, default=str) + "\n")
        return
    sys.stderr.write(f"error: {error.message}\n")
    caret = error.fields.get("caret")
    if caret:
        sys.stderr.write(f"{caret}\n")
    if error.fix:
        sys.stderr.write(f"fix: {error.fix}\n")
