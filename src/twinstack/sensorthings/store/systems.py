"""Companies and systems: rows, creation, and whose an entity is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from twinstack.core import limits, names
from twinstack.core.errors import Conflict, InvalidInput, NotFound, PermissionDenied, UnknownSystem
from twinstack.sensorthings.store.context import WriteContext
from twinstack.sensorthings.store.tables import company, datastream, system
from twinstack.sensorthings.store.transaction import Tx


class SystemRow(NamedTuple):
    """A system. Instants in us since 1970 UTC."""

    id: int
    name: str
    company: str
    state: str
    partitions: int
    retention_ms: int | None
    visibility: str
    archive_received: bool
    version: int
    created_at: int
    updated_at: int


_c = system.c
_SYSTEMS = sa.select(
    _c.id,
    _c.name,
    company.c.name,
    _c.state,
    _c.partitions,
    _c.retention_ms,
    _c.visibility,
    _c.archive_received,
    _c.version,
    _c.created_at,
    _c.updated_at,
).join(company, company.c.id == _c.company_id)
_BY_NAME = _SYSTEMS.where(_c.name == sa.bindparam("name"))
_BY_ID = _SYSTEMS.where(_c.id == sa.bindparam("id"))


def all_systems(connection: sa.Connection) -> list[SystemRow]:
    return [SystemRow(*row) for row in connection.execute(_SYSTEMS.order_by(_c.name))]


def find(connection: sa.Connection, name: str) -> SystemRow | None:
    row = connection.execute(_BY_NAME, {"name": name}).one_or_none()
    return SystemRow(*row) if row else None


def get(connection: sa.Connection, name: str) -> SystemRow:
    """Errors: UnknownSystem."""
    if (row := find(connection, name)) is None:
        raise UnknownSystem(
            f"There is no system '{name}'.", fix="Create it, or look at the list of systems.", system=name
        )
    return row


def by_id(connection: sa.Connection, system_id: int) -> SystemRow:
    return SystemRow(*connection.execute(_BY_ID, {"id": system_id}).one())


def create(tx: Tx, name: str, partitions: int = limits.PARTITIONS_DEFAULT, *, state: str = "ready") -> SystemRow:
    """A new system, and its company when that is new too.

    Errors: InvalidName; Conflict for a name that is taken (also by a name that Kafka's metrics would mix up with it).
    """
    parsed = names.parse_system(name)
    key = parsed.collision_key
    other = tx.connection.execute(sa.select(_c.name).where(_c.name_key == key)).scalar_one_or_none()
    if other is not None:
        same = "exists already" if other == name else f"is too like '{other}', which exists"
        raise Conflict(f"The system '{name}' {same}.", fix="Choose another name.", system=other)
    system_id = tx.new_id("system")
    tx.connection.execute(
        sa.insert(system),
        {
            "id": system_id,
            "company_id": _company(tx, parsed.company),
            "name": name,
            "name_key": key,
            "state": state,
            "partitions": partitions,
            "created_at": tx.now_us,
            "updated_at": tx.now_us,
        },
    )
    return get(tx.connection, name)


def _company(tx: Tx, name: str) -> int:
    key = names.collision_key(name)
    found = tx.connection.execute(sa.select(company.c.id).where(company.c.name_key == key)).scalar_one_or_none()
    if found is not None:
        return int(found)
    company_id = tx.new_id("company")
    tx.connection.execute(
        sa.insert(company),
        {
            "id": company_id,
            "name": name,
            "name_key": key,
            "display": name,
            "state": "active",
            "created_at": tx.now_us,
            "updated_at": tx.now_us,
        },
    )
    return company_id


def set_state(tx: Tx, name: str, state: str) -> SystemRow:
    get(tx.connection, name)
    tx.connection.execute(
        sa.update(system).where(_c.name == name).values(state=state, version=_c.version + 1, updated_at=tx.now_us)
    )
    return get(tx.connection, name)


def publish_again(tx: Tx, rows: Sequence[SystemRow]) -> None:
    """All Datastreams of these systems go to `<system>.meta` once more: that topic was lost."""
    for row in rows:
        ids = tx.connection.execute(sa.select(datastream.c.id).where(datastream.c.system_id == row.id)).scalars()
        tx.outgoing.meta.extend((row.name, datastream_id) for datastream_id in ids)


def default_system(tx: Tx) -> SystemRow:
    return find(tx.connection, names.DEFAULT_SYSTEM) or create(tx, names.DEFAULT_SYSTEM)


def owner(tx: Tx, ctx: WriteContext, name: str | None, inherited: int | None) -> SystemRow:
    """Whose a new entity is: the context's system, else the one its name begins with, else that of the entity it
    hangs on, else (lab) the default system.

    Errors: PermissionDenied for a name reserved by a system the actor may not write; InvalidInput 'which system?'.
    """
    reserved = _reserved_by(tx.connection, name)
    if ctx.system is not None:
        mine = get(tx.connection, ctx.system)
        if not ctx.may_write(mine.name):
            raise NotFound(f"There is no system '{mine.name}'.", fix="Look at the list of your systems.")
        if reserved is not None and reserved.id != mine.id:
            raise _reserved(name, reserved)
        return mine
    if reserved is not None:
        if not ctx.may_write(reserved.name):
            raise _reserved(name, reserved)
        return reserved
    if inherited is not None:
        parent = by_id(tx.connection, inherited)
        if ctx.may_write(parent.name):
            return parent
    if ctx.lab:
        return default_system(tx)
    raise InvalidInput(
        "It is not clear which system the new entity belongs to.",
        fix="Send the header Twinstack-System, or begin its name with the system's name.",
    )


def _reserved_by(connection: sa.Connection, name: str | None) -> SystemRow | None:
    prefix = names.system_of(name) if name else None
    return find(connection, prefix) if prefix else None


def _reserved(name: str | None, row: SystemRow) -> PermissionDenied:
    return PermissionDenied(
        f"The name '{name}' is reserved by the system {row.name}.", fix="Use a credential of that system."
    )
