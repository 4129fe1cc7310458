"""The topics that the bridges need: those of a system, and the outbox's own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from twinstack.core import limits, names
from twinstack.core.errors import Conflict
from twinstack.log.seam import Log, TopicSpec
from twinstack.sensorthings.store.systems import SystemRow

MARKER_TOPIC = TopicSpec(names.OUTBOX_TOPIC, limits.OUTBOX_SHARDS, "compact")


def specs_of(system: SystemRow) -> list[TopicSpec]:
    retention_ms = system.retention_ms or limits.RETENTION_MS_DEFAULT
    return [
        TopicSpec(f"{system.name}.int", system.partitions, retention_ms=retention_ms),
        TopicSpec(f"{system.name}.ext", system.partitions, retention_ms=retention_ms),
        TopicSpec(f"{system.name}.log", 1, retention_ms=retention_ms),
        TopicSpec(f"{system.name}.meta", 1, "compact"),
    ]


def ensure_topics(log: Log, specs: Sequence[TopicSpec]) -> None:
    """Makes the topics that are missing; one that exists with other partitions is kept as it is."""
    for spec in specs:
        with suppress(Conflict):
            log.admin().create_topics([spec])
