"""The Datastreams of systems as pages and checks want them, from the store."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from twinstack.core.ids import named_uid
from twinstack.log.seam import Log
from twinstack.platform.live import Description
from twinstack.sensorthings.store import Store
from twinstack.sensorthings.store.tables import datastream, system
from twinstack.streams.catalogue import Datastream, MetaCatalogue, SystemCatalogue
from twinstack.streams.spec import AppSpec


def descriptions(store: Store, name: str) -> dict[str, Description]:
    """Log key -> what a last value on the system's topics needs. A received copy has the log key of its source."""
    return {e["log_key"]: Description(e["@iot.id"], _symbol(e.get("unitOfMeasurement"))) for e in store.catalogue(name)}


def _symbol(unit: Any) -> str:
    return str(unit.get("symbol") or unit.get("name") or "") if isinstance(unit, dict) else ""


def counts(store: Store) -> dict[str, int]:
    """System -> number of its own Datastreams."""
    query = (
        sa.select(system.c.name, sa.func.count())
        .join(datastream, datastream.c.system_id == system.c.id)
        .where(datastream.c.copy_of.is_(None))
        .group_by(system.c.name)
    )
    with store.reader() as connection:
        return {name: int(n) for name, n in connection.execute(query)}


META_WAIT_S = 10.0
_META_POLL_S = 0.05


class LogKeys:
    """The log keys of Datastreams by id, for records that name only the id. A key never changes, so found ones are
    kept; a miss is one indexed read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, int], str] = {}

    def find(self, name: str, datastream_id: int) -> str | None:
        """None when the system has no such Datastream."""
        found = self._known.get((name, datastream_id))
        if found is None:
            with self._store.reader() as connection:
                found = connection.execute(_LOG_KEY, {"name": name, "id": datastream_id}).scalar_one_or_none()
            if found is not None and len(self._known) < LOG_KEYS_KEPT:
                self._known[(name, datastream_id)] = found
        return found


LOG_KEYS_KEPT = 100_000
_LOG_KEY = (
    sa.select(datastream.c.log_key)
    .join(system, system.c.id == datastream.c.system_id)
    .where(datastream.c.id == sa.bindparam("id"), system.c.name == sa.bindparam("name"))
)


class StoreCatalogue:
    """`streams.catalogue.Catalogue` from the store: at deploy `<system>.meta` may still be on its way to the log."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._systems: dict[str, SystemCatalogue] = {}

    def snapshot(self, systems: Sequence[str]) -> dict[str, SystemCatalogue]:
        """Errors: UnknownSystem."""
        for name in systems:
            self._systems.setdefault(name, SystemCatalogue(name))
        self.refresh()
        return {name: self._systems[name] for name in systems}

    def refresh(self) -> bool:
        changed = False
        for name, known in self._systems.items():
            found = [Datastream.of_entity(e["log_key"], e, name) for e in self._store.catalogue(name)]
            fresh = {stream.log_key: stream for stream in found}
            changed |= fresh != known.by_key
            known.by_key = fresh
        return changed

    def close(self) -> None:
        """Nothing is held open between calls."""


def wait_for_meta(shared: Log, system: str, log_keys: Collection[str], timeout_s: float) -> bool:
    """Waits until `<system>.meta` holds these Datastreams; False at the time-out.

    Whoever registers produces next, and a stream app knows a Datastream only from there: without this wait the first
    records of a new Datastream could meet an app that takes them for foreign ones.
    """
    catalogue = MetaCatalogue(shared)
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            known = catalogue.snapshot([system])[system].by_key
            if all(key in known for key in log_keys):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_META_POLL_S)
    finally:
        catalogue.close()


@dataclass(frozen=True, slots=True)
class CheckedApp:
    """`topics`: what the app reads. `instances`: an instance file of the Datastreams that it writes to at its target,
    None for an app that forwards: then it is received copies that it writes to."""

    topics: Sequence[str]
    instances: Mapping[str, Any] | None


def check_app(
    store: Store, text: str, sources: Sequence[str], target: str, name: str = "check", description: str = ""
) -> CheckedApp:
    """The app's text checked against the Datastreams of its sources. Errors: QueryError."""
    from twinstack.streams.derived import instances_of  # numpy comes with it: not at start-up
    from twinstack.streams.plan import make_plan

    spec = AppSpec(uid=named_uid(target, ""), name=name, target=target, sources=tuple(sources), text=text)
    plan = make_plan(spec, StoreCatalogue(store))
    forwards = plan.checked.output is None
    return CheckedApp(plan.topics, None if forwards else instances_of(name, description, text, plan.derived))
