"""Stream apps: rows of `app`, `app_revision` and `app_source`. What a state may become is decided by the platform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from twinstack.core import ids
from twinstack.core.errors import Conflict, NotFound
from twinstack.sensorthings.store import systems
from twinstack.sensorthings.store.tables import app, app_revision, app_source, system
from twinstack.sensorthings.store.transaction import Tx


class AppRow(NamedTuple):
    """`deployed` is the number of the revision that runs or would run. Instants in us since 1970 UTC."""

    uid: str
    system: str
    name: str
    wanted: str
    state: str
    reason: str | None
    since: int
    deployed: int | None
    version: int
    created_at: int
    updated_at: int


class RevisionRow(NamedTuple):
    app_uid: str
    n: int
    text: str
    description: str
    plan_hash: str | None
    author: str
    created_at: int
    sources: tuple[str, ...]


_a = app.c
_APPS = sa.select(
    _a.uid,
    system.c.name,
    _a.name,
    _a.wanted,
    _a.state,
    _a.reason,
    _a.since,
    _a.deployed,
    _a.version,
    _a.created_at,
    _a.updated_at,
).join(system, system.c.id == _a.system_id)


def all_apps(connection: sa.Connection, system_name: str | None = None) -> list[AppRow]:
    query = _APPS.order_by(system.c.name, _a.name)
    if system_name is not None:
        query = query.where(system.c.name == system_name)
    return [AppRow(*row) for row in connection.execute(query)]


def get(connection: sa.Connection, uid: str) -> AppRow:
    """Errors: NotFound."""
    row = connection.execute(_APPS.where(_a.uid == uid)).one_or_none()
    if row is None:
        raise NotFound(f"There is no app '{uid}'.", fix="Look at the list of apps.", uid=uid)
    return AppRow(*row)


def find(connection: sa.Connection, system_name: str, name: str) -> AppRow | None:
    query = _APPS.where(system.c.name == system_name, _a.name_key == name.lower())
    row = connection.execute(query).one_or_none()
    return AppRow(*row) if row else None


def create(
    tx: Tx,
    target: str,
    name: str,
    text: str,
    sources: Sequence[str],
    author: str,
    *,
    description: str = "",
    plan_hash: str | None = None,
    uid: str | None = None,
) -> AppRow:
    """A new app with its first revision, wanted stopped. Errors: UnknownSystem, Conflict for a name that is taken."""
    owner = systems.get(tx.connection, target)
    if (other := find(tx.connection, target, name)) is not None:
        raise Conflict(
            f"{target} has an app '{other.name}' already.", fix="Choose another name, or add a revision.", uid=other.uid
        )
    uid = uid or ids.new_uid()
    tx.connection.execute(
        sa.insert(app),
        {
            "uid": uid,
            "system_id": owner.id,
            "name": name,
            "name_key": name.lower(),
            "wanted": "stopped",
            "state": "idle",
            "since": tx.now_us,
            "created_at": tx.now_us,
            "updated_at": tx.now_us,
        },
    )
    add_revision(tx, uid, text, sources, author, description=description, plan_hash=plan_hash)
    return get(tx.connection, uid)


def add_revision(
    tx: Tx,
    uid: str,
    text: str,
    sources: Sequence[str],
    author: str,
    *,
    description: str = "",
    plan_hash: str | None = None,
) -> int:
    """The number of the new revision, which becomes the deployed one. Errors: NotFound, UnknownSystem."""
    get(tx.connection, uid)
    c = app_revision.c
    n = (tx.connection.execute(sa.select(sa.func.max(c.n)).where(c.app_uid == uid)).scalar_one() or 0) + 1
    tx.connection.execute(
        sa.insert(app_revision),
        {
            "app_uid": uid,
            "n": n,
            "text": text,
            "description": description,
            "plan_hash": plan_hash,
            "author": author,
            "created_at": tx.now_us,
        },
    )
    for source in dict.fromkeys(sources):
        source_id = systems.get(tx.connection, source).id
        tx.connection.execute(sa.insert(app_source), {"app_uid": uid, "n": n, "system_id": source_id})
    tx.connection.execute(
        sa.update(app).where(_a.uid == uid).values(deployed=n, version=_a.version + 1, updated_at=tx.now_us)
    )
    return int(n)


def set_state(
    tx: Tx, uid: str, *, wanted: str | None = None, state: str | None = None, reason: str | None = None
) -> AppRow:
    """Sets what is given; `reason` goes with the state. Errors: NotFound."""
    before = get(tx.connection, uid)
    values: dict[str, object] = {"updated_at": tx.now_us}
    if wanted is not None:
        values["wanted"] = wanted
    if state is not None:
        values["state"], values["reason"] = state, reason
        if state != before.state:
            values["since"] = tx.now_us
    tx.connection.execute(sa.update(app).where(_a.uid == uid).values(**values, version=_a.version + 1))
    return get(tx.connection, uid)


def revisions(connection: sa.Connection, uid: str) -> list[RevisionRow]:
    """Newest first. Errors: NotFound."""
    get(connection, uid)
    s = app_source.c
    sources: dict[int, list[str]] = {}
    for n, name in connection.execute(
        sa.select(s.n, system.c.name).join(system, system.c.id == s.system_id).where(s.app_uid == uid).order_by(s.n)
    ):
        sources.setdefault(n, []).append(name)
    c = app_revision.c
    rows = connection.execute(
        sa.select(c.app_uid, c.n, c.text, c.description, c.plan_hash, c.author, c.created_at)
        .where(c.app_uid == uid)
        .order_by(c.n.desc())
    )
    return [RevisionRow(*row, tuple(sorted(sources.get(row.n, ())))) for row in rows]


def delete(tx: Tx, uid: str) -> None:
    """Deletes the app and its revisions. Errors: NotFound."""
    get(tx.connection, uid)
    for table, column in ((app_source, app_source.c.app_uid), (app_revision, app_revision.c.app_uid), (app, _a.uid)):
        tx.connection.execute(sa.delete(table).where(column == uid))
