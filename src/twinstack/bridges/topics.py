"""The topics that the bridges need: those of a system, and the outbox's own."""

from __future__ import annotations

from twinstack.core import limits, names
from twinstack.log.seam import TopicSpec
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
