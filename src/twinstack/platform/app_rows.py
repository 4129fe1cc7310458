"""Rows of stream apps: app, app_revision, app_source. Every function takes the transaction or connection it works in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from twinstack.core.errors import NotFound
from twinstack.core.names import collision_key
from twinstack.sensorthings.store.tables import app, app_revision, app_source, system
from twinstack.sensorthings.store.transaction import Tx


class AppRow(NamedTuple):
    """An app with its deployed revision. Instants in us since 1970 UTC."""

    uid: str
    name: str
    target: str
    wanted: str
    revision: int
    text: str
    description: str
    author: str
    version: int
    created_at: int
    updated_at: int
    sources: tuple[str, ...] = ()


_APPS = (
    sa.select(
        app.c.uid,
        app.c.name,
        system.c.name.label("target"),
        app.c.wanted,
        app_revision.c.n,
        app_revision.c.text,
        app_revision.c.description,
        app_revision.c.author,
        app.c.version,
        app.c.created_at,
        app.c.updated_at,
    )
    .join(system, system.c.id == app.c.system_id)
    .join(app_revision, (app_revision.c.app_uid == app.c.uid) & (app_revision.c.n == app.c.deployed))
)
_SOURCES = sa.select(app_source.c.app_uid, app_source.c.n, system.c.name).join(
    system, system.c.id == app_source.c.system_id
)


def all_apps(connection: sa.Connection) -> list[AppRow]:
    sources: dict[tuple[str, int], list[str]] = {}
    for uid, n, name in connection.execute(_SOURCES.order_by(system.c.name)):
        sources.setdefault((uid, n), []).append(name)
    rows = connection.execute(_APPS.order_by(system.c.name, app.c.name))
    return [AppRow(*row, tuple(sources.get((row[0], row[4]), ()))) for row in rows]


def find(connection: sa.Connection, uid: str) -> AppRow:
    """Errors: NotFound."""
    row = next((r for r in all_apps(connection) if r.uid == uid), None)
    if row is None:
        raise NotFound(f"There is no app '{uid}'.", fix="`twinstack app list` shows the apps.", uid=uid)
    return row


def find_named(connection: sa.Connection, target: str, name: str) -> AppRow | None:
    key = collision_key(name)
    return next((r for r in all_apps(connection) if r.target == target and collision_key(r.name) == key), None)


def insert(tx: Tx, uid: str, target: str, name: str) -> None:
    tx.connection.execute(
        sa.insert(app),
        {
            "uid": uid,
            "system_id": _system_id(tx.connection, target),
            "name": name,
            "name_key": collision_key(name),
            "wanted": "running",
            "state": "idle",
            "since": tx.now_us,
            "created_at": tx.now_us,
            "updated_at": tx.now_us,
        },
    )


def add_revision(
    tx: Tx, uid: str, n: int, text: str, description: str, sources: Sequence[str], author: str
) -> None:
    """Revision `n`, deployed at once."""
    tx.connection.execute(
        sa.insert(app_revision),
        {"app_uid": uid, "n": n, "text": text, "description": description, "author": author, "created_at": tx.now_us},
    )
    for source in sources:
        tx.connection.execute(
            sa.insert(app_source), {"app_uid": uid, "n": n, "system_id": _system_id(tx.connection, source)}
        )
    _update(tx, uid, deployed=n, wanted="running")


def set_wanted(tx: Tx, uid: str, wanted: str) -> None:
    _update(tx, uid, wanted=wanted)


def set_state(tx: Tx, uid: str, state: str, reason: str) -> None:
    """The state as it was last told; no change of the app itself, so its version stays."""
    tx.connection.execute(
        sa.update(app).where(app.c.uid == uid).values(state=state, reason=reason or None, since=tx.now_us)
    )


def _update(tx: Tx, uid: str, **values: object) -> None:
    tx.connection.execute(
        sa.update(app).where(app.c.uid == uid).values(version=app.c.version + 1, updated_at=tx.now_us, **values)
    )


def _system_id(connection: sa.Connection, name: str) -> int:
    return int(connection.execute(sa.select(system.c.id).where(system.c.name == name)).scalar_one())
