"""Import: the lines of an export become rows, each batch in one transaction together with how far the file is read.

So an import that was killed goes on where it stopped. What came before from the same store, by this file or another
export of it, is not stored again: each row's id in the source is kept with its id here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

import sqlalchemy as sa

from twinstack.core.errors import Conflict, InvalidInput
from twinstack.sensorthings.store import Store, tables
from twinstack.sensorthings.store.migrate import HEAD
from twinstack.sensorthings.store.transaction import Tx
from twinstack.sensorthings.transfer import layout, moving
from twinstack.sensorthings.transfer.entities import Entities
from twinstack.sensorthings.transfer.history import History
from twinstack.sensorthings.transfer.lines import Batch, Header, Lines, Place
from twinstack.sensorthings.transfer.mapping import Transfer

Progress = Callable[[int, int], None]
_KEEP, _DONE = "keep", "done"
_FILLED = ("thing", "sensor", "observed_property", "location", "feature", "datastream", "observation", "app")


@dataclass(slots=True)
class Imported:
    """Rows by section: what was stored now, and what was there before. `before`: lines done by earlier runs."""

    export: str
    source: str
    stored: dict[str, int] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)
    before: int = 0
    complete: bool = False

    def count(self, section: str, stored: int, present: int) -> None:
        for counts, n in ((self.stored, stored), (self.present, present)):
            if n:
                counts[section] = counts.get(section, 0) + n


def load(store: Store, file: IO[bytes], *, move: bool = False, progress: Progress | None = None) -> Imported:
    """Imports one export. `move`: with identity, outbox and archive positions, for a store that takes another's place.

    Errors: InvalidInput (a damaged file, by line), Conflict (`move` into a store that is not empty; another import of
    the file runs), and those of the store. What was committed before an error stays.
    """
    lines = Lines(file)
    header = lines.header()
    _check(header, move)
    run = _Import(store, header, move=move)
    imported = Imported(header.export, header.source)
    if (place := run.begin()) is None:
        imported.complete = True
        return imported
    imported.before = place.lines
    if place.lines:
        lines.go_to(place)
    done = 0
    for batch in lines.batches():
        stored, present = run.take(batch)
        imported.count(batch.section, stored, present)
        if batch.section == layout.OBSERVATION:
            done += len(batch.rows)
            if progress is not None:
                progress(done, header.observations)
    run.end()
    imported.complete = True
    return imported


def _check(header: Header, move: bool) -> None:
    if header.revision > HEAD:
        raise InvalidInput(
            f"The export is of a newer version (revision {header.revision}, here {HEAD}).", fix="Update this one first."
        )
    if move and not header.move:
        raise InvalidInput("The export holds no identity to move.", fix="Write it with `twinstack export --move`.")


def _is_empty(connection: sa.Connection, table: str) -> bool:
    if connection.execute(sa.select(tables.BY_NAME[table]).limit(1)).first() is not None:
        return False
    # Another process may hold ids that it has not used yet.
    taken = sa.select(tables.id_block).where(tables.id_block.c.name == table)
    return table != "observation" or connection.execute(taken).first() is None


def _uuid(connection: sa.Connection) -> str:
    query = sa.select(tables.store_info.c.value).where(tables.store_info.c.key == "uuid")
    return str(connection.execute(query).scalar_one())


class _Import:
    def __init__(self, store: Store, header: Header, *, move: bool) -> None:
        self._store = store
        self._header = header
        self._move = move
        self._part = f"export {header.export}"
        self._transfer = Transfer(header.source)
        self._place: str | None = None
        self._keep = False
        self._entities: Entities | None = None
        self._history: History | None = None

    def begin(self) -> Place | None:
        """Where the file goes on; None when all of it came before."""
        self._keep = self._store.write(self._decide, emits=False).result()
        with self._store.reader() as connection:
            self._place = self._transfer.position(connection, self._part)
            systems = connection.execute(sa.select(tables.system.c.id, tables.system.c.name))
            names = {row.id: row.name for row in systems}
        self._entities = Entities(self._transfer, names, keep_ids=self._keep, as_it_was=self._move)
        self._history = History(self._transfer, keep_ids=self._keep)
        if self._place == _DONE:
            return None
        return Place() if self._place is None else Place.parse(self._place)

    def _decide(self, tx: Tx) -> bool:
        """Whether ids are kept: decided once for each source, while the store is empty."""
        known = self._transfer.position(tx.connection, _KEEP)
        if known is None:
            if not self._move and self._transfer.source == _uuid(tx.connection):
                raise Conflict("This is an export of this very store.", fix="Import it into another one.")
            keep = all(map(partial(_is_empty, tx.connection), _FILLED))
            if self._move and not (keep and moving.is_unused(tx.connection)):
                raise Conflict("The store is not empty: it cannot become another one.", fix="Move into a new store.")
            known = "move" if self._move else "yes" if keep else "no"
            self._transfer.advance(tx.connection, _KEEP, None, known)
        elif self._move and known != "move":
            raise Conflict("The store has taken rows of that store before, without --move.", fix="Use a new store.")
        return known != "no"

    def take(self, batch: Batch) -> tuple[int, int]:
        """Stores one batch: rows stored, rows that were there."""
        before = self._place
        emits = batch.section == tables.datastream.name  # they are announced on the topic .meta
        counts = self._store.write(lambda tx: self._in(tx, batch, before), emits=emits).result()
        self._place = str(batch.place)
        return counts

    def _in(self, tx: Tx, batch: Batch, before: str | None) -> tuple[int, int]:
        assert self._entities is not None
        assert self._history is not None
        self._transfer.advance(tx.connection, self._part, before, str(batch.place))
        try:
            if batch.section == layout.OBSERVATION:
                return self._history.store(tx, batch.rows)
            return self._section(tx, batch.section, batch.rows, self._entities)
        except InvalidInput as error:
            last = batch.place.lines
            raise InvalidInput(
                f"Lines {batch.first_line} to {last} of the export: {error.message}", fix=error.fix, line=last
            ) from None

    def _section(self, tx: Tx, section: str, rows: list[Any], entities: Entities) -> tuple[int, int]:
        table = tables.BY_NAME.get(section)
        if table is None or table not in layout.sections(move=True, system=False):
            raise InvalidInput(f"There is no section '{section[:80]}'.", fix="Was it written by a newer version?")
        parsed = [layout.from_json(table, row) for row in rows]
        if section in layout.MOVED:
            return (moving.store(tx, table, parsed), 0) if self._move else (0, len(parsed))
        return entities.store(tx, table, parsed)

    def end(self) -> None:
        self._store.write(
            lambda tx: self._transfer.advance(tx.connection, self._part, self._place, _DONE), emits=False
        ).result()
