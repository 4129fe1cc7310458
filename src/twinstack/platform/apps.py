"""Stream apps of the platform: what is wanted stands in the store, what happens comes from the child processes.

A child process (`twinstack.streams.child`) runs one app; its lines on stdout are states and counters by the table of
`streams.states`. The supervisor restarts a child that died; here the app's state follows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from twinstack.core.errors import InvalidInput, NotFound, QueryError
from twinstack.core.ids import new_uid
from twinstack.core.instances import load_instances
from twinstack.core.names import parse_system
from twinstack.core.timestamps import format_us
from twinstack.log.seam import Log, TopicPartition
from twinstack.platform.catalogue import CheckedApp
from twinstack.platform.live import Rate
from twinstack.platform.supervisor import Child
from twinstack.platform.systems import Systems
from twinstack.sensorthings.store import Store
from twinstack.sensorthings.store.apps import AppRow
from twinstack.streams import states
from twinstack.streams.spec import AppSpec, group_of

log = logging.getLogger(__name__)

CHILD = "twinstack.streams.child"
_NAME_CHARS_MAX = 100
_REGISTRAR = "platform"
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


Check = Callable[[NewApp], CheckedApp]
"""Compiles the text against the Datastreams of its sources; what it reads and makes. Errors: QueryError."""


@dataclass(frozen=True, slots=True)
class App:
    """An app as the store has it: its row and its deployed revision."""

    uid: str
    name: str
    target: str
    wanted: str
    version: int
    revision: int
    text: str
    description: str
    sources: tuple[str, ...]


class Apps:
    """Desired apps and their states. Calls that touch the store are for worker threads; `on_line`, `on_child` and
    `states` for the event loop's thread."""

    def __init__(
        self, store: Store, shared: Log, systems: Systems, check: Check, address: str, token: str | None
    ) -> None:
        self._store = store
        self._log = shared
        self._systems = systems
        self._check = check
        self._address = address
        self._token = token
        self._apps: dict[str, App] = {}
        self._status: dict[str, Status] = {}

    # --- what is wanted (worker threads) ----------------------------------------------------------------------------
    def load(self) -> list[App]:
        """Reads all apps; returns those that shall run, the oldest first."""
        rows = self._store.apps()
        self._apps = {row.uid: self._read(row) for row in rows}
        return [self._apps[row.uid] for row in sorted(rows, key=lambda row: row.created_at) if row.wanted == "running"]

    def deploy(self, new: NewApp, author: str) -> App:
        """Creates the app, or a new revision of it; the same app again changes nothing but that it shall run.

        Errors: InvalidName, InvalidInput, UnknownSystem, QueryError.
        """
        new, checked = self._checked(new)
        topics = checked.topics
        old = next((a for a in self._list(new.target) if a.name.lower() == new.name.lower()), None)
        if old is not None and (old.text, old.sources) == (new.text, tuple(sorted(new.sources))):
            return old if old.wanted == "running" else self.set_wanted(old.uid, "running")
        self._prepare(new.sources, new.target, checked)
        if old is None:
            uid = new_uid()
            self._pin(group_of(uid, 1), topics)
            self._store.create_app(
                new.target, new.name, new.text, new.sources, author, description=new.description, uid=uid
            ).result()
        else:
            uid = old.uid
            self._pin(group_of(uid, self._newest(uid) + 1), self._fresh(old, topics))
            self._store.add_revision(uid, new.text, new.sources, author, description=new.description).result()
        return self.set_wanted(uid, "running")

    def share_new(self, source: str) -> None:
        """After a registration at `source`: what is new there appears at the targets of its apps too."""
        for app in list(self._apps.values()):
            if source in app.sources:
                new = NewApp(app.name, app.target, app.sources, app.text, app.description)
                # A text that no longer fits what its sources have is the app's own trouble, not the registration's.
                with suppress(QueryError):
                    self._prepare((source,), app.target, self._check(new))

    def _prepare(self, sources: Sequence[str], target: str, checked: CheckedApp) -> None:
        """The Datastreams at the target that the app's records belong to: received copies, or derived ones."""
        if checked.instances is not None:
            self._store.register_instances(load_instances(checked.instances, target), _REGISTRAR).result()
            return
        for source in sources:
            if source != target:
                self._store.ensure_copies(source, target).result()

    def set_wanted(self, uid: str, wanted: str) -> App:
        """Errors: NotFound."""
        app = self._read(self._store.set_app_state(uid, wanted=wanted).result())
        self._apps[uid] = app
        return app

    def _list(self, target: str) -> list[App]:
        return [self._read(row) for row in self._store.apps(target)]

    def _read(self, row: AppRow) -> App:
        revisions = self._store.revisions(row.uid)
        current = next(revision for revision in revisions if revision.n == row.deployed)
        return App(
            uid=row.uid,
            name=row.name,
            target=row.system,
            wanted=row.wanted,
            version=row.version,
            revision=current.n,
            text=current.text,
            description=current.description,
            sources=tuple(sorted(current.sources)),
        )

    def _checked(self, new: NewApp) -> tuple[NewApp, CheckedApp]:
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
        return new, self._check(new)

    def _newest(self, uid: str) -> int:
        return max(revision.n for revision in self._store.revisions(uid))

    def _fresh(self, old: App, topics: Sequence[str]) -> list[str]:
        """What of `topics` no revision has a position in that could be gone on from."""
        admin = self._log.admin()
        groups = (group_of(old.uid, n) for n in range(self._newest(old.uid), 0, -1))
        read = {tp.topic for group in groups for tp in admin.group_offsets(group)}
        return [t for t in topics if t not in read or t.rpartition(".")[0] not in old.sources]

    def _pin(self, group: str, topics: Sequence[str]) -> None:
        """The app begins at this moment, not at that when its process is up: no record in between is missed."""
        if not topics:
            return
        admin = self._log.admin()
        tps = [TopicPartition(topic, p) for topic in topics for p in range(admin.describe(topic).partitions)]
        ends = admin.end_offsets(tps)
        consumer = self._log.consumer(group=group, client_id="twinstack-deploy")
        try:
            consumer.assign(dict(ends))
            consumer.commit(ends)
        finally:
            consumer.close()

    # --- what happens (event loop) ----------------------------------------------------------------------------------
    def child(self, row: App) -> Child:
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
            token=self._token,
            # Where it begins was committed at its deployment: what has no position came since.
            start="earliest",
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
        return [self._shown(row, now_s) for row in self._apps.values()]

    def get(self, uid: str) -> dict[str, Any]:
        """Errors: NotFound."""
        if uid not in self._apps:
            raise NotFound(f"There is no app '{uid}'.", fix="`twinstack app list` shows the apps.", uid=uid)
        return self._shown(self._apps[uid], time.monotonic())

    def _shown(self, row: App, now_s: float) -> dict[str, Any]:
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
        row = self._apps.get(uid)
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
