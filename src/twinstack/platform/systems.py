"""Systems: a row in the store and four topics on the log, created together and repaired at start.

    creating -> ready -> deleting -> gone; ready <-> degraded (a topic is lost; it is made again)

The row comes first: a crash between row and topics leaves a system in `creating`, which the next start finishes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from twinstack.core import limits
from twinstack.core.errors import Conflict, UnknownSystem
from twinstack.core.names import SystemName, parse_system
from twinstack.core.settings import Settings
from twinstack.log.seam import Admin, TopicSpec
from twinstack.log.topics import ensure_topics
from twinstack.sensorthings.store import Store, systems
from twinstack.sensorthings.store.systems import SystemRow
from twinstack.sensorthings.store.transaction import Tx

log = logging.getLogger(__name__)

PARTITIONS: Mapping[str, int] = {"small": 1, "standard": limits.PARTITIONS_DEFAULT, "large": 12}
TRANSITIONS: Mapping[str, frozenset[str]] = {
    "creating": frozenset({"ready", "deleting"}),
    "ready": frozenset({"degraded", "deleting"}),
    "degraded": frozenset({"ready", "deleting"}),
    "deleting": frozenset({"gone"}),
    "gone": frozenset(),
}


def topic_specs(
    system: SystemName, size: str = "standard", replication: int | None = None, partitions: int | None = None
) -> list[TopicSpec]:
    """The four topics of a system: `.int` and `.ext` by its size, `.log` and `.meta` with one partition."""
    n = partitions or PARTITIONS[size]
    keep = limits.RETENTION_MS_DEFAULT
    return [
        TopicSpec(system.topic("int"), n, retention_ms=keep, replication=replication),
        TopicSpec(system.topic("ext"), n, retention_ms=keep, replication=replication),
        TopicSpec(system.topic("log"), 1, retention_ms=keep, replication=replication),
        TopicSpec(system.topic("meta"), 1, "compact", replication=replication),
    ]


class Systems:
    """Used from any thread; `admin` belongs to this object."""

    def __init__(self, store: Store, admin: Admin, settings: Settings) -> None:
        self._store = store
        self._admin = admin
        self._size = settings.size
        self._replication = settings.replication

    def list(self) -> list[dict[str, Any]]:
        return [_shown(row) for row in self._store.systems()]

    def get(self, name: str) -> dict[str, Any]:
        """Errors: UnknownSystem."""
        row = self._find(name)
        if row is None:
            raise UnknownSystem(f"There is no system '{name}'.", fix="`/api/v1/systems` lists them.", system=name)
        return _shown(row)

    def require(self, name: str) -> None:
        """Errors: UnknownSystem that names the command."""
        if self._find(name) is None:
            raise UnknownSystem(
                f"There is no system '{name}'.",
                fix=f"Create it: twinstack system add {name}",
                system=name,
            )

    def create(self, name: str, size: str | None = None) -> dict[str, Any]:
        """A new system with its topics. Errors: InvalidName, Conflict (the name, or one too like it, is taken)."""
        return self._create([name], size)[0]

    def _create(self, names: Sequence[str], size: str | None = None) -> Sequence[dict[str, Any]]:
        for name in names:
            parse_system(name)
        partitions = PARTITIONS[size or self._size]

        def insert(tx: Tx) -> Sequence[SystemRow]:
            return [systems.create(tx, name, partitions, state="creating") for name in names]

        rows = self._store.write(insert, emits=False).result()
        self._make_topics(rows)
        return [_shown(self._move(row, "ready")) for row in rows]

    def ensure_all(self, names: Iterable[str]) -> None:
        """Creates those that are missing, the topics of all in one request. Errors: InvalidName, Conflict."""
        there = {row.name for row in self._store.systems()}
        if missing := [name for name in names if name not in there]:
            self._create(missing)

    def ensure(self, name: str, size: str | None = None) -> bool:
        """True when it was created now, False when it was there. Errors: InvalidName, Conflict."""
        if self._find(name) is not None:
            return False
        try:
            self.create(name, size)
        except Conflict:
            if self._find(name) is not None:  # two clients registered at once
                return False
            raise
        return True

    def repair(self) -> None:
        """At start: finishes what a crash left in `creating`, and makes lost topics again."""
        existing = self._admin.topics()
        rows = self._store.systems()
        broken = [row for row in rows if row.state in ("creating", "degraded")]
        silent = []
        for row in rows:
            missing = [topic for topic in _parsed(row).topics if topic not in existing]
            if row.state == "ready" and missing:
                log.warning("%s lost %s: made again, empty", row.name, ", ".join(missing))
                broken.append(self._move(row, "degraded"))
                silent += [row] if f"{row.name}.meta" in missing else []
        self._make_topics(broken)
        if silent:  # apps know a Datastream only from `.meta`
            self._store.write(lambda tx: systems.publish_again(tx, silent)).result()
        for row in broken:
            self._move(row, "ready")

    def _find(self, name: str) -> SystemRow | None:
        return next((row for row in self._store.systems() if row.name == name), None)

    def _make_topics(self, rows: Sequence[SystemRow]) -> None:
        replication = self._replication
        of_each = [topic_specs(_parsed(row), replication=replication, partitions=row.partitions) for row in rows]
        ensure_topics(self._admin, list(chain.from_iterable(of_each)))

    def _move(self, row: SystemRow, state: Literal["ready", "degraded"]) -> SystemRow:
        if state not in TRANSITIONS[row.state]:
            allowed = sorted(TRANSITIONS[row.state])
            raise Conflict(f"{row.name} is {row.state}.", fix="", state=row.state, allowed=allowed)
        return self._store.set_system_state(row.name, state).result()


def _parsed(row: SystemRow) -> SystemName:
    return parse_system(row.name, allow_reserved=True)


def _shown(row: SystemRow) -> dict[str, Any]:
    sizes = {n: size for size, n in PARTITIONS.items()}
    return {
        "name": row.name,
        "company": row.company,
        "state": row.state,
        "size": sizes.get(row.partitions),
        "partitions": row.partitions,
        "topics": list(_parsed(row).topics),
        "version": row.version,
    }
