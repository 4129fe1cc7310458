"""Reading an export: its lines with their places in the file, and batches of one section each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from twinstack.core import limits
from twinstack.core.errors import InvalidInput
from twinstack.sensorthings.transfer import layout


class Header(NamedTuple):
    """The first line: which export of which store this is."""

    export: str
    source: str
    revision: str
    system: str | None
    move: bool
    observations: int


class Place(NamedTuple):
    """A place between two lines: bytes and lines before it. Written as text into the store."""

    bytes: int = 0
    lines: int = 0

    def __str__(self) -> str:
        return f"{self.bytes}:{self.lines}"

    @classmethod
    def parse(cls, text: str) -> Place:
        return cls(*map(int, text.split(":")))


@dataclass(slots=True)
class Batch:
    """Consecutive rows of one section, and the place behind them."""

    section: str
    place: Place
    first_line: int
    rows: list[Any] = field(default_factory=list)
    bytes: int = 0


class Lines:
    """The lines of one export. Errors: InvalidInput that names the line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.place = Place()
        self.counts: dict[str, int] | None = None
        """What the last line says; None until it was read."""

    def header(self) -> Header:
        line = self._next()
        if line is None or line.get(layout.HEADER) != layout.FORMAT:
            raise InvalidInput(
                "This is no export of a version that can be read here.", fix="Name a file of `twinstack export`."
            )
        try:
            return Header(
                str(line["export"]),
                str(line["source"]),
                str(line["revision"]),
                line["system"],
                bool(line["move"]),
                int(line["observations"]),
            )
        except (KeyError, ValueError, TypeError):
            raise InvalidInput("The first line of the export is damaged.", fix="Export it again.") from None

    def go_to(self, place: Place) -> None:
        """Skips what was read before: at once in a file, by reading in a pipe."""
        if self._file.seekable():
            self._file.seek(place.bytes)
            self.place = place
            return
        while self.place.bytes < place.bytes:
            if self._next() is None:
                break

    def batches(self) -> Iterator[Batch]:
        """All rows until the last line, which must be there."""
        batch: Batch | None = None
        while (line := self._next()) is not None:
            ((section, row),) = line.items() if len(line) == 1 else (("", None),)
            if section == layout.END:
                self.counts = row
                break
            if batch is not None and (
                section != batch.section
                or len(batch.rows) >= limits.TRANSFER_ROWS_MAX
                or batch.bytes >= limits.TRANSFER_BATCH_BYTES_MAX
            ):
                yield batch
                batch = None
            if batch is None:
                batch = Batch(section, self.place, self.place.lines)
            batch.bytes += self.place.bytes - batch.place.bytes
            batch.place = self.place
            batch.rows.append(row)
        if batch is not None:
            yield batch
        if self.counts is None:
            raise InvalidInput(
                f"The export is cut off after line {self.place.lines}.",
                fix="Get the whole file and repeat the import: what came in stays, and nothing comes twice.",
            )

    def _next(self) -> dict[str, Any] | None:
        raw = self._file.readline(limits.TRANSFER_LINE_BYTES_MAX)
        if not raw:
            return None
        number = self.place.lines + 1
        if not raw.endswith(b"\n"):
            if len(raw) < limits.TRANSFER_LINE_BYTES_MAX:
                return None  # the file ends within this line
            raise InvalidInput(f"Line {number} of the export is too long.", fix="Export it again.", line=number)
        self.place = Place(self.place.bytes + len(raw), number)
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            line = None
        if not isinstance(line, dict):
            raise InvalidInput(f"Line {number} of the export is no JSON object.", fix="Export it again.", line=number)
        return line
