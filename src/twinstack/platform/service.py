"""The platform of one server process: log, store, systems, apps, live values and child processes, opened together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any

from twinstack.core import limits
from twinstack.core.instances import load_instances
from twinstack.core.names import DEFAULT_SYSTEM, check_client_name
from twinstack.core.settings import STORE_ENV, Settings
from twinstack.log.connect import connect
from twinstack.log.seam import Log
from twinstack.platform.apps import Apps, NewApp, child_name, uid_of_child
from twinstack.platform.catalogue import (
    META_WAIT_S,
    CheckedApp,
    LogKeys,
    check_app,
    counts,
    descriptions,
    wait_for_meta,
)
from twinstack.platform.folder import Folder
from twinstack.platform.housekeeping import Housekeeping
from twinstack.platform.live import Live
from twinstack.platform.policy import Mode
from twinstack.platform.supervisor import Child, Supervisor
from twinstack.platform.systems import Systems
from twinstack.sensorthings.store import Store, open_store
from twinstack.sensorthings.store.register import RegisterResult

log = logging.getLogger(__name__)

WORKERS = ("outbox", "archive")
TOKEN_ENV = "TWINSTACK_TOKEN"  # noqa: S105  (the name of a variable)


@dataclass(frozen=True, slots=True)
class Platform:
    """What pages, API and commands work with. Use from the event loop's thread unless a part says otherwise."""

    settings: Settings
    mode: Mode
    folder: Folder
    port: int
    token: str
    epoch: str
    log: Log
    store: Store
    log_keys: LogKeys
    systems: Systems
    apps: Apps
    live: Live
    supervisor: Supervisor
    housekeeping: Housekeeping

    @classmethod
    def open(cls, settings: Settings, mode: Mode, folder: Folder, port: int, needed: Sequence[str] = ()) -> Platform:
        """Opens log and store, makes the systems that are `needed`; starts the live thread.
        Errors: Unreachable, SettingsError, StorageFull."""
        token = secrets.token_urlsafe(32)
        with contextlib.ExitStack() as undo:
            shared = _open_log(settings, folder)
            undo.callback(shared.close)
            shared.ping(limits.BROKER_PROBE_MS_MAX / 1000)
            store = open_store(settings.store_url)
            undo.callback(store.close)
            store.migrate()
            systems = Systems(store, shared.admin(), settings)
            systems.repair()
            systems.ensure_all([DEFAULT_SYSTEM, *needed] if mode.lab else needed)
            undo.pop_all()
        address = f"http://127.0.0.1:{port}" if settings.embedded else settings.log

        def check(new: NewApp) -> CheckedApp:
            return check_app(store, new.text, new.sources, new.target, new.name, new.description)

        apps = Apps(store, shared, systems, check, address, token if settings.embedded else None)
        apps.load()  # whoever asks at `ready` sees them all
        live = Live(shared, lambda system: descriptions(store, system))
        live.start()

        def on_line(name: str, line: dict[str, Any]) -> None:
            if (uid := uid_of_child(name)) is not None:
                apps.on_line(uid, line)

        def on_state(name: str, state: str, reason: str) -> None:
            if (uid := uid_of_child(name)) is not None:
                apps.on_child(uid, state, reason)

        supervisor = Supervisor(folder.logs_path, on_line=on_line, on_state=on_state)
        epoch = f"{time.time_ns() // 1_000_000:x}"
        keys = LogKeys(store)
        tidy = Housekeeping(store, settings.retention_ms)
        tidy.start()
        return cls(
            settings, mode, folder, port, token, epoch, shared, store, keys, systems, apps, live, supervisor, tidy
        )

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def address(self) -> str:
        """The log, as child processes reach it."""
        return f"http://127.0.0.1:{self.port}" if self.settings.embedded else self.settings.log

    def announce(self) -> None:
        self.folder.announce(self.port, self.mode, self.token, self.settings.log)

    # --- child processes --------------------------------------------------------------------------------------------
    async def start_children(
        self, deploy: Callable[[Platform], None] | None = None, programs: Sequence[Child] = ()
    ) -> None:
        """The outbox first: apps know a Datastream from what it publishes. Then one of each kind in turn, since data
        without an app and an app without data are of no use alone. Apps start in the order of their making."""
        store = {STORE_ENV: self.settings.store_url}
        outbox, archive = (Child(name, f"twinstack.bridges.{name}", ("--log", self.address), store) for name in WORKERS)
        self._start(outbox)
        if deploy is not None:
            await asyncio.to_thread(deploy, self)
        apps = [self.apps.child(row) for row in await asyncio.to_thread(self.apps.load)]
        for child in chain.from_iterable(zip_longest(apps, programs, [archive])):
            if child is not None:
                self._start(child)

    def _start(self, child: Child) -> None:
        """Programs are anybody's: only what is part of the platform gets the key to the log."""
        if child.kind != "program":
            child = replace(child, environment={**child.environment, TOKEN_ENV: self.token})
        self.supervisor.start(child)

    async def stop_children(self) -> None:
        """Those who write first, those who store what was written last."""
        for kind in ("program", "app", "worker"):
            await self.supervisor.stop_kind(kind)

    # --- registration -----------------------------------------------------------------------------------------------
    def register(
        self, name: str, client: str, document: Mapping[str, Any], *, dry_run: bool = False
    ) -> tuple[bool, RegisterResult]:
        """Registers an instance file; `(system created now, result)`. For a worker thread.

        In lab mode a well-formed unknown system is created, unless it is a dry run.
        Errors: InvalidName, InvalidInstances, UnknownSystem.
        """
        check_client_name(client)
        instances = load_instances(document, name)
        created = False
        if self.mode.lab and not dry_run:
            created = self.systems.ensure(name)
        else:
            self.systems.require(name)
        result = self.store.register_instances(instances, client, dry_run=dry_run).result()
        fresh = [d.entity["log_key"] for d in result.datastreams.values() if d.status == "created"]
        if fresh and not dry_run:
            self.apps.share_new(name)
            if not wait_for_meta(self.log, name, fresh, META_WAIT_S):
                log.warning("%s.meta has not got all of %d new Datastreams after %g s", name, len(fresh), META_WAIT_S)
        return created, result

    # --- apps -------------------------------------------------------------------------------------------------------
    async def deploy(self, new: NewApp, author: str = "lab") -> dict[str, Any]:
        """Errors: those of Apps.deploy."""
        before = {app["uid"]: app["revision"] for app in self.apps.states()}
        row = await asyncio.to_thread(self.apps.deploy, new, author)
        running = self.supervisor.states().get(child_name(row.uid), {}).get("state")
        if before.get(row.uid) not in (None, row.revision):
            await self.supervisor.stop(child_name(row.uid))
        if before.get(row.uid) != row.revision or running in (None, "idle", "crashed"):
            self._start(self.apps.child(row))
        return self.apps.get(row.uid)

    async def stop_app(self, uid: str) -> dict[str, Any]:
        """Errors: NotFound."""
        await asyncio.to_thread(self.apps.set_wanted, uid, "stopped")
        await self.supervisor.stop(child_name(uid))
        return self.apps.get(uid)

    async def restart_app(self, uid: str) -> dict[str, Any]:
        """Errors: NotFound."""
        row = await asyncio.to_thread(self.apps.set_wanted, uid, "running")
        await self.supervisor.stop(child_name(uid))
        self._start(self.apps.child(row))
        return self.apps.get(uid)

    def count_datastreams(self) -> dict[str, int]:
        """system -> number of its own Datastreams; for a worker thread."""
        return counts(self.store)

    def close(self) -> None:
        self.housekeeping.stop()
        self.live.stop()
        self.log.close()
        self.store.close()


def _open_log(settings: Settings, folder: Folder) -> Log:
    if not settings.embedded:
        return connect(settings.log, client_id="twinstack")
    from twinstack.log.embedded import EmbeddedLog

    return EmbeddedLog(folder.log_path, fsync=settings.fsync)
