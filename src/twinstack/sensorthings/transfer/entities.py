"""Rows of an export other than Observations: which of them are here already, and the rest with ids of this store."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from twinstack.core.errors import Conflict, InvalidInput
from twinstack.sensorthings.store import rows as entity_rows
from twinstack.sensorthings.store import tables
from twinstack.sensorthings.store.transaction import Tx, insert_or_ignore, take_ids
from twinstack.sensorthings.transfer import ids, layout
from twinstack.sensorthings.transfer.mapping import Transfer

Row = dict[str, Any]


class Entities:
    """`systems` names the systems of this store by id. `as_it_was`: apps go on running, systems keep their topics."""

    def __init__(self, transfer: Transfer, systems: dict[int, str], *, keep_ids: bool, as_it_was: bool) -> None:
        self._transfer = transfer
        self._systems = systems
        self._keep_ids = keep_ids
        self._as_it_was = as_it_was

    def store(self, tx: Tx, table: sa.Table, rows: list[Row]) -> tuple[int, int]:
        """Stores rows of one table: how many are new, how many were here. Errors: InvalidInput, Conflict."""
        if layout.has_id(table):
            return self._with_ids(tx, table, rows)
        rows = self._refer(tx, table, rows)
        if table is tables.app:
            rows = [self._app(row) for row in rows]
        return self._links(tx, table, rows)

    # --- what has an id ---------------------------------------------------------------------------------------------
    def _with_ids(self, tx: Tx, table: sa.Table, rows: list[Row]) -> tuple[int, int]:
        known = self._transfer.known(tx.connection, table.name, [row["id"] for row in rows])
        new = [row for row in rows if str(row["id"]) not in known]
        originals = [row["copy_of"] for row in new if row.get("copy_of") is not None]
        here = {**known, **self._transfer.known(tx.connection, table.name, originals)}
        pairs: dict[str, int] = {}
        stored = 0
        for their_id, row in zip([row["id"] for row in new], self._refer(tx, table, new), strict=True):
            if row.get("copy_of") is not None:
                row["copy_of"] = here.get(str(row["copy_of"])) or self._gone(row["copy_of"])
            if (own := self._twin(tx, table, row)) is None:
                own = self._insert(tx, table, row)
                stored += 1
            pairs[str(their_id)] = here[str(their_id)] = own
        self._transfer.add(tx.connection, table.name, pairs)
        return stored, len(rows) - stored

    def _gone(self, source_id: int) -> int:
        """What a received copy refers to whose source was deleted: a number that is no id of this store."""
        return source_id if self._keep_ids else -abs(source_id)

    def _refer(self, tx: Tx, table: sa.Table, rows: list[Row]) -> list[Row]:
        """The rows with references to ids of this store; those to other rows of the same table stay."""
        result = [dict(row) for row in rows]
        for name, target in layout.references(table).items():
            wanted = {row[name] for row in rows if row.get(name) is not None}
            if not wanted or target == table.name:
                continue
            if target == layout.OBSERVATION:
                known = self._transfer.known_observations(tx.connection, wanted)
            else:
                known = self._transfer.known(tx.connection, target, wanted)
            for row in result:
                if row.get(name) is None:
                    continue
                if str(row[name]) not in known:
                    raise InvalidInput(
                        f"A row of '{table.name}' refers to {target} {row[name]}, which did not come before it.",
                        fix="Export it again.",
                    )
                row[name] = known[str(row[name])]
        return result

    def _twin(self, tx: Tx, table: sa.Table, row: Row) -> int | None:
        """A row of this store that is the same thing: by the name that must be unique, or by what it hangs on."""
        c = table.c
        if table in (tables.company, tables.system):
            found = tx.connection.execute(sa.select(c.id, c.name).where(c.name_key == row["name_key"])).one_or_none()
            if found is not None and found.name != row["name"]:
                raise Conflict(f"'{row['name']}' is too like '{found.name}', which is here.", fix="Rename one of them.")
            return None if found is None else int(found.id)
        where: sa.ColumnElement[bool] | None = None
        if table is tables.datastream and row.get("copy_of") is None:
            where = (c.system_id == row["system_id"]) & (c.log_key == row["log_key"])
        elif table is tables.datastream:
            where = (c.system_id == row["system_id"]) & (c.copy_of == row["copy_of"])
        elif row.get("gen_location_id") is not None:
            where = c.gen_location_id == row["gen_location_id"]
        if where is not None:
            found_id = tx.connection.execute(sa.select(c.id).where(where)).scalar_one_or_none()
            if found_id is not None:
                return int(found_id)
        name = row.get("name")
        if not self._is_reserved(table, row):
            return None
        query = sa.select(tables.entity_name.c.entity_id).where(
            tables.entity_name.c.kind == table.name, tables.entity_name.c.name == name
        )
        return tx.connection.execute(query).scalar_one_or_none()

    def _is_reserved(self, table: sa.Table, row: Row) -> bool:
        if "copy_of" not in table.c or row.get("copy_of") is not None or "name" not in table.c:
            return False
        return entity_rows.is_reserved(self._systems[row["system_id"]], row.get("name"))

    def _insert(self, tx: Tx, table: sa.Table, row: Row) -> int:
        own = row["id"] if self._keep_ids and ids.keep(tx.connection, table, row["id"]) else None
        if own is None:
            own = take_ids(tx.connection, table.name)
        row = {**row, "id": own}
        if table is tables.system and not self._as_it_was:
            row["state"] = "creating"  # the next start of the server makes its topics
        tx.connection.execute(sa.insert(table), row)
        if table is tables.system:
            self._systems[own] = row["name"]
        if table is tables.datastream:
            tx.connection.execute(sa.insert(tables.datastream_stat), {"datastream_id": own})
            tx.outgoing.meta.append((self._systems[row["system_id"]], own))
        if self._is_reserved(table, row):
            tx.connection.execute(
                sa.insert(tables.entity_name), {"kind": table.name, "name": row["name"], "entity_id": own}
            )
        return int(own)

    # --- what has none ----------------------------------------------------------------------------------------------
    def _app(self, row: Row) -> Row:
        return row if self._as_it_was else {**row, "wanted": "stopped", "state": "idle", "reason": None}

    def _links(self, tx: Tx, table: sa.Table, rows: list[Row]) -> tuple[int, int]:
        """Rows that are pairs, or apps: those that are here stay as they are."""
        stored = 0
        for row in rows:
            if table is not tables.app and "app_uid" in row and not self._has_app(tx, row["app_uid"]):
                continue  # its app has the name of one that is here
            insert = insert_or_ignore(tx.connection, table).execution_options(preserve_rowcount=True)
            stored += tx.connection.execute(insert, row).rowcount
        return stored, len(rows) - stored

    def _has_app(self, tx: Tx, uid: str) -> bool:
        return tx.connection.execute(sa.select(tables.app.c.uid).where(tables.app.c.uid == uid)).first() is not None
