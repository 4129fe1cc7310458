"""Stream apps of the platform: what is wanted stands in the store, what happens comes from the child processes.

A child process (`twinstack.streams.child`) runs one app; its lines on stdout are states and counters by the table of
`streams.states`. The supervisor restarts a child that died; here the app's state follows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twinstack.core.errors import InvalidInput, NotFound
from twinstack.core.ids import new_uid
from twinstack.core.names import parse_system
from twinstack.core.timestamps import format_us
from twinstack.log.seam import Log, TopicPartition
from twinstack.platform import app_rows
from twinstack.platform.app_rows import AppRow
from twinstack.platform.live import Rate
from twinstack.platform.supervisor import Child
from twinstack.platform.systems import Systems
from twinstack.streams import states
from twinstack.streams.spec import AppSpec, group_of

log = logging.getLogger(__name__)

CHILD = "twinstack.streams.child"
_NAME_CHARS_MAX = 100
_TEXT_QUOTES = "“”„‟«»\"'"


@dataclass(frozen=True, slots=True)
class NewApp:
    """What is asked for: one foreign or own source for each entry of `sources`."""

    name: str
    target: str
    sources: Sequence[str]
    text: str
    description: str = ""


@dataclass(slots=True)
class Status:
    """What a running app last said of itself; rates over the last minute."""

    state: str = states.IDLE
    reason: str = ""
    message: str = ""
    since_us: int = 0
    counters: dict[str, Any] = field(default_factory=dict)
    out: Rate = field(default_factory=lambda: Rate(time.monotonic()))


Check = Callable[[NewApp], None]
"""Compiles the text against the Datastreams of its sources. Errors: QueryError."""


class Apps:
    """Desired apps and their states. Calls that touch the store are for worker threads; `on_line`, `on_child` and
    `states` for the event loop's thread."""

    def __init__(self, store: Any, shared: Log, systems: Systems, check: Check, address: str) -> None:
        self._store = store
        self._log = shared
        self._systems = systems
        self._check = check
        self._address = address
        self._rows: dict[str, AppRow] = {}
        self._status: dict[str, Status] = {}

    # --- what is wanted (worker threads) ----------------------------------------------------------------------------
    def load(self) -> list[AppRow]:
        """Reads all apps; returns those that shall run."""
        with self._store.engine.connect() as connection:
            rows = app_rows.all_apps(connection)
        self._rows = {row.uid: row for row in rows}
        return [row for row in rows if row.wanted == "running"]

    def deploy(self, new: NewApp, author: str) -> AppRow:
        """Creates the app, or a new revision of it; the same app again changes nothing.

        Errors: InvalidName, InvalidInput, UnknownSystem, QueryError.
        """
        new = self._checked(new)
        with self._store.engine.connect() as connection:
            old = app_rows.find_named(connection, new.target, new.name)
        same = old is not None and (old.text, set(old.sources)) == (new.text, set(new.sources))
        if old is not None and same:
            if old.wanted != "running":
                self._store.write(lambda tx: app_rows.set_wanted(tx, old.uid, "running"))
            return self._reload(old.uid)
        for source in new.sources:
            if source != new.target:
                self._store.ensure_copies(source, new.target)
        uid, n = (old.uid, old.revision + 1) if old is not None else (new_uid(), 1)
        if old is None:
            self._pin(uid, new.sources)

        def write(tx: Any) -> None:
            if old is None:
                app_rows.insert(tx, uid, new.target, new.name)
            app_rows.add_revision(tx, uid, n, new.text, new.description, new.sources, author)

        self._store.write(write)
        return self._reload(uid)

    def set_wanted(self, uid: str, wanted: str) -> AppRow:
        """Errors: NotFound."""
        self._reload(uid)
        self._store.write(lambda tx: app_rows.set_wanted(tx, uid, wanted))
        return self._reload(uid)

    def _reload(self, uid: str) -> AppRow:
        with self._store.engine.connect() as connection:
            row = app_rows.find(connection, uid)
        self._rows[uid] = row
        return row

    def _checked(self, new: NewApp) -> NewApp:
        target = str(parse_system(new.target, allow_reserved=True))
        sources = tuple(dict.fromkeys(new.sources))
        if not sources:
            raise InvalidInput("An app needs a source system.", fix="Name at least one.")
        if not new.name or len(new.name) > _NAME_CHARS_MAX or not new.name.isprintable():
            raise InvalidInput(
                f"'{new.name[:100]}' is no name of an app.", fix=f"Use 1 to {_NAME_CHARS_MAX} printable characters."
            )
        for system in (target, *sources):
            self._systems.require(system)
        new = NewApp(new.name, target, sources, drop_quotes(new.text), new.description)
        self._check(new)
        return new

    def _pin(self, uid: str, sources: Sequence[str]) -> None:
        """The app begins at this moment, not at that when its process is up: no record in between is missed."""
        admin = self._log.admin()
        topics = [f"{source}.int" for source in sources]
        tps = [TopicPartition(topic, p) for topic in topics for p in range(admin.describe(topic).partitions)]
        ends = admin.end_offsets(tps)
        consumer = self._log.consumer(group=group_of(uid, 1), client_id="twinstack-deploy")
        try:
            consumer.assign(dict(ends))
            consumer.commit(ends)
        finally:
            consumer.close()

    # --- what happens (event loop) ----------------------------------------------------------------------------------
    def child(self, row: AppRow) -> Child:
        """The process that runs the app."""
        self._status[row.uid] = Status(state=states.INIT)
        spec = AppSpec(
            uid=row.uid,
            name=row.name,
            target=row.target,
            sources=row.sources,
            text=row.text,
            revision=row.revision,
            address=self._address,
        )
        return Child(child_name(row.uid), CHILD, kind="app", stdin=spec.to_json() + b"\n")

    def on_line(self, uid: str, line: dict[str, Any]) -> None:
        """A report of the app's own process."""
        status = self._status.setdefault(uid, Status())
        if line.get("state") != status.state:
            status.since_us = int(line.get("at_us", 0))
            log.info("app %s %s %s", self._name(uid), line.get("state"), line.get("message", ""))
        status.state = str(line.get("state", status.state))
        status.reason, status.message = str(line.get("reason", "")), str(line.get("message", ""))
        counters = line.get("counters")
        if isinstance(counters, dict) and counters:
            before = int(status.counters.get("records_out", 0))
            now = int(counters.get("records_out", 0))
            status.out.add(now - before if now >= before else now, time.monotonic())
            status.counters = counters

    def on_child(self, uid: str, state: str, reason: str) -> None:
        """The supervisor's word, where the process itself cannot speak: it died, or it is gone."""
        status = self._status.setdefault(uid, Status())
        if state in (states.FAILING, states.CRASHED):
            status.state, status.reason, status.message = state, status.reason or "worker_lost", reason
            status.counters = {}
        elif state == states.IDLE and status.state not in (states.CRASHED,):
            status.state = states.IDLE

    def states(self) -> list[dict[str, Any]]:
        """uid, name, target, sources, text, wanted, state, reason, message, since, rate_per_s, counters, version."""
        now_s = time.monotonic()
        return [self._shown(row, now_s) for row in self._rows.values()]

    def get(self, uid: str) -> dict[str, Any]:
        """Errors: NotFound."""
        if uid not in self._rows:
            raise NotFound(f"There is no app '{uid}'.", fix="`twinstack app list` shows the apps.", uid=uid)
        return self._shown(self._rows[uid], time.monotonic())

    def _shown(self, row: AppRow, now_s: float) -> dict[str, Any]:
        status = self._status.get(row.uid) or Status()
        return {
            "uid": row.uid,
            "name": row.name,
            "description": row.description,
            "target": row.target,
            "sources": list(row.sources),
            "text": row.text,
            "revision": row.revision,
            "wanted": row.wanted,
            "state": status.state,
            "reason": status.message or status.reason,
            "since": format_us(status.since_us) if status.since_us else None,
            "rate_per_s": round(status.out.per_s(now_s), 3),
            "counters": status.counters,
            "version": row.version,
        }

    def _name(self, uid: str) -> str:
        row = self._rows.get(uid)
        return row.name if row is not None else uid


def child_name(uid: str) -> str:
    return f"app-{uid}"


def uid_of_child(name: str) -> str | None:
    return name.removeprefix("app-") if name.startswith("app-") else None


def drop_quotes(text: str) -> str:
    """The text without quotation marks around all of it: printed commands carry typographic ones (“SELECT ...;”)."""
    text = text.strip()
    if len(text) >= 2 and text[0] in _TEXT_QUOTES and text[-1] in _TEXT_QUOTES:
        return text[1:-1].strip()
    return text
