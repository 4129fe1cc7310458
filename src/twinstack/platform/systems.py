"""Systems: a row in the store and four topics on the log, created together and repaired at start.

    creating -> ready -> deleting -> gone; ready <-> degraded (a topic is lost; it is made again)

The row comes first: a crash between row and topics leaves a system in `creating`, which the next start finishes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from twinstack.core import limits
from twinstack.core.errors import Conflict, UnknownSystem
from twinstack.core.names import SystemName, parse_system
from twinstack.core.settings import Settings
from twinstack.log.seam import Admin, TopicSpec
from twinstack.sensorthings.store import Store, systems
from twinstack.sensorthings.store.systems import SystemRow

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
        system = parse_system(name)
        partitions = PARTITIONS[size or self._size]
        row = self._store.write(lambda tx: systems.create(tx, name, partitions, state="creating"), emits=False).result()
        self._make_topics(system, row.partitions)
        return _shown(self._move(row, "ready"))

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
        for row in self._store.systems():
            system = parse_system(row.name, allow_reserved=True)
            missing = [topic for topic in system.topics if topic not in existing]
            broken = row
            if row.state == "ready" and missing:
                log.warning("%s lost %s: made again, empty", row.name, ", ".join(missing))
                broken = self._move(row, "degraded")
            if broken.state in ("creating", "degraded"):
                self._make_topics(system, row.partitions)
                self._move(broken, "ready")

    def _find(self, name: str) -> SystemRow | None:
        return next((row for row in self._store.systems() if row.name == name), None)

    def _make_topics(self, system: SystemName, partitions: int) -> None:
        for spec in topic_specs(system, replication=self._replication, partitions=partitions):
            try:
                self._admin.create_topics([spec])
            except Conflict as error:
                # `setup topics`, or the original platform, may have made it with other partitions: it serves as well.
                log.info("%s is kept as it is: %s", spec.name, error.message)

    def _move(self, row: SystemRow, state: Literal["ready", "degraded"]) -> SystemRow:
        if state not in TRANSITIONS[row.state]:
            allowed = sorted(TRANSITIONS[row.state])
            raise Conflict(f"{row.name} is {row.state}.", fix="", state=row.state, allowed=allowed)
        return self._store.set_system_state(row.name, state).result()


def _shown(row: SystemRow) -> dict[str, Any]:
    sizes = {n: size for size, n in PARTITIONS.items()}
    return {
        "name": row.name,
        "company": row.company,
        "state": row.state,
        "size": sizes.get(row.partitions),
        "partitions": row.partitions,
        "topics": list(parse_system(row.name, allow_reserved=True).topics),
        "version": row.version,
    }
