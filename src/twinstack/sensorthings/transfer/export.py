"""Export: a whole store, or one system of it, as lines of JSON. One snapshot, bounded memory, no lock on writers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.sensorthings.store import Store, systems, tables
from twinstack.sensorthings.store.migrate import HEAD
from twinstack.sensorthings.store.values import result_value
from twinstack.sensorthings.transfer import layout

Progress = Callable[[int, int], None]
"""Observations done, and how many there are."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def export(
    store: Store, out: IO[bytes], *, system: str | None = None, move: bool = False, progress: Progress | None = None
) -> dict[str, int]:
    """Writes the export; rows by section. Errors: UnknownSystem, and OSError of `out`."""
    with store.reader() as connection:
        one = systems.get(connection, system).id if system is not None else None
        total = _total(connection, one)
        uuid_of_store = connection.execute(
            sa.select(tables.store_info.c.value).where(tables.store_info.c.key == "uuid")
        ).scalar_one()
        header = {
            layout.HEADER: layout.FORMAT,
            "export": str(uuid.uuid4()),
            "source": uuid_of_store,
            "revision": HEAD,
            "exported_at": store.clock(),
            "system": system,
            "move": move,
            "observations": total,
        }
        _write(out, [header])
        counts: dict[str, int] = {}
        sections = layout.sections(move=move, system=one is not None)
        behind = [table for table in sections if layout.follows_observations(table)]
        for table in (table for table in sections if table not in behind):
            counts[table.name] = _table(connection, out, table, one)
        done = 0
        for observations in _observations(connection, one):
            _write(out, [{layout.OBSERVATION: row} for row in observations])
            done += len(observations)
            if progress is not None:
                progress(done, total)
        counts[layout.OBSERVATION] = done
        for table in behind:
            counts[table.name] = _table(connection, out, table, one)
        _write(out, [{layout.END: {name: n for name, n in counts.items() if n}}])
    return {name: n for name, n in counts.items() if n or name == layout.OBSERVATION}


def _table(connection: sa.Connection, out: IO[bytes], table: sa.Table, system_id: int | None) -> int:
    n = 0
    for page in _pages(connection, table, system_id):
        n += len(page)
        _write(out, [{table.name: layout.to_json(table, row)} for row in page])
    return n


def _write(out: IO[bytes], lines: list[Any]) -> None:
    out.write("".join(f"{_encode(line)}\n" for line in lines).encode())


def _total(connection: sa.Connection, system_id: int | None) -> int:
    s = tables.datastream_stat
    query = sa.select(sa.func.coalesce(sa.func.sum(s.c.n), 0)).where(s.c.datastream_id.in_(_datastreams(system_id)))
    return int(connection.execute(query).scalar_one())


def _datastreams(system_id: int | None) -> sa.Select[Any]:
    d = tables.datastream.c
    query = sa.select(d.id)
    return query if system_id is None else query.where(d.system_id == system_id, d.copy_of.is_(None))


def _of_system(table: sa.Table, system_id: int) -> sa.ColumnElement[bool]:
    """A system's own rows: its received copies are another system's."""
    if table is tables.system:
        return table.c.id == system_id
    if table is tables.company:
        return table.c.id.in_(sa.select(tables.system.c.company_id).where(tables.system.c.id == system_id))
    if "system_id" in table.c:
        own = table.c.system_id == system_id
        return own & table.c.copy_of.is_(None) if "copy_of" in table.c else own
    name, target = next(iter(layout.references(table).items()))
    return table.c[name].in_(
        sa.select(tables.BY_NAME[target].c.id).where(_of_system(tables.BY_NAME[target], system_id))
    )


def _pages(connection: sa.Connection, table: sa.Table, system_id: int | None) -> Iterator[list[sa.RowMapping]]:
    """The rows of a table page by page, in the order of its key."""
    key = list(table.primary_key.columns)
    query = sa.select(table).order_by(*key).limit(limits.TRANSFER_ROWS_MAX)
    if system_id is not None:
        query = query.where(_of_system(table, system_id))
    after: tuple[Any, ...] | None = None
    while True:
        following = query if after is None else query.where(sa.tuple_(*key) > sa.tuple_(*map(sa.literal, after)))
        page = list(connection.execute(following).mappings())
        if page:
            yield page
        if len(page) < limits.TRANSFER_ROWS_MAX:
            return
        after = tuple(page[-1][column.name] for column in key)


def _observations(connection: sa.Connection, system_id: int | None) -> Iterator[list[dict[str, Any]]]:
    """In the order of ids; what waits for its deletion is left out."""
    o = tables.observation.c
    query = (
        sa.select(o.id, o.datastream_id, o.feature_id, o.t, o.t_end, o.result_time, o.result, o.kind, o.extra)
        # The sum keeps the database from its index by Datastream, which would sort all rows for each page.
        .where(o.id > sa.bindparam("after"), (o.datastream_id + 0).in_(_datastreams(system_id)))
        .order_by(o.id)
        .limit(limits.TRANSFER_ROWS_MAX)
    )
    after = 0
    while rows := connection.execute(query, {"after": after}).all():
        yield [_observation(tuple(row)) for row in rows]
        after = rows[-1].id


def _observation(row: Sequence[Any]) -> dict[str, Any]:
    number, datastream_id, feature_id, t, t_end, result_time, result, kind, extra = row
    line = {"id": number, "datastream_id": datastream_id, "t": t, "result": result_value(result, kind, extra)}
    for name, value in (("t_end", t_end), ("result_time", result_time), ("feature_id", feature_id)):
        if value is not None:
            line[name] = value
    more = {key: value for key, value in (extra or {}).items() if key != "result"}
    return {**line, "extra": more} if more else line
