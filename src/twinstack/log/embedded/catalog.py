"""Topics and partitions: rows in the file, objects in memory. Only the writer thread changes either."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import apsw
import msgspec

from twinstack.core.errors import Conflict, InvalidName, UnknownTopic
from twinstack.core.limits import DERIVED_RECORD_BYTES_MAX, RETENTION_MS_DEFAULT, TOPIC_CHARS_MAX
from twinstack.log.embedded.database import every, offset_of, one, row_id
from twinstack.log.packed.transport import TopicLayout
from twinstack.log.seam import TopicInfo, TopicPartition, TopicSpec

PARTITIONS_MAX = 10_000
JOIN_ROWS_MIN = 64

Created = dict[str, Literal["created", "exists"]]

_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{TOPIC_CHARS_MAX}}}")


@dataclass(slots=True)
class Partition:
    """`begin` and `next` bound what can be read; both are published after COMMIT."""

    id: int
    topic: str
    number: int
    begin: int
    next: int
    joined: int
    """Nothing before this offset is left to join. Stored now and then: an older value only means a second look."""
    compacted: int
    peak_ms: int = 0
    loose_rows: int = 0
    """Rows of few records behind `joined`: what the background has to join."""
    joined_stored: int = 0
    live_records: int = 0
    """Records that the last compaction left."""


@dataclass(slots=True)
class Topic:
    info: TopicInfo
    layout: TopicLayout
    retention_ms: int | None
    config: dict[str, str]
    partitions: list[Partition] = field(default_factory=list)


class Catalog:
    def __init__(self, connection: apsw.Connection) -> None:
        self.topics: dict[str, Topic] = {}
        self.by_id: dict[int, Partition] = {}
        self.doomed: list[int] = []
        """Partitions of deleted topics whose rows are not gone yet."""
        for (name,) in every(connection, "SELECT name FROM topic"):
            self.load(connection, name)
        self.doomed.extend(row[0] for row in every(connection, "SELECT id FROM partition WHERE topic IS NULL"))

    def load(self, connection: apsw.Connection, name: str) -> None:
        """A topic that stands in the file, into memory."""
        uid, count, cleanup, retention_ms, record_bytes_max, config = one(
            connection,
            "SELECT uuid, partitions, cleanup, retention_ms, record_bytes_max, config FROM topic WHERE name = ?",
            name,
        )
        topic = Topic(
            TopicInfo(name, count, uid, cleanup),
            TopicLayout(count, record_bytes_max or DERIVED_RECORD_BYTES_MAX),
            retention_ms,
            msgspec.json.decode(config, type=dict[str, str]),
        )
        for columns in every(
            connection,
            "SELECT id, topic, number, begin, next, joined, compacted FROM partition WHERE topic = ? ORDER BY number",
            name,
        ):
            partition = Partition(*columns)
            self._measure(connection, partition)
            topic.partitions.append(partition)
            self.by_id[partition.id] = partition
        self.topics[name] = topic

    def drop(self, name: str) -> None:
        """A topic that was deleted from the file, out of memory."""
        for partition in self.topics.pop(name).partitions:
            del self.by_id[partition.id]
            self.doomed.append(partition.id)

    def _measure(self, connection: apsw.Connection, partition: Partition) -> None:
        last = one(
            connection,
            "SELECT id, span, peak_ms FROM batch WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
            row_id(partition.id, 0),
            row_id(partition.id + 1, 0) - 1,
        )
        if last is not None:
            partition.next = max(partition.next, offset_of(last[0]) + last[1])
            partition.peak_ms = last[2]
        (partition.loose_rows,) = one(
            connection,
            "SELECT count(*) FROM (SELECT 1 FROM batch WHERE id BETWEEN ? AND ? LIMIT ?)",
            row_id(partition.id, partition.joined),
            row_id(partition.id + 1, 0) - 1,
            JOIN_ROWS_MIN,
        )
        partition.joined_stored = partition.joined

    # Reading, from any thread

    def topic(self, name: str) -> Topic:
        found = self.topics.get(name)
        if found is None:
            raise UnknownTopic(f"There is no topic '{name}'.", fix="Create it, or check the spelling.", topic=name)
        return found

    def partition(self, topic: str, number: int) -> Partition:
        partitions = self.topic(topic).partitions
        if not 0 <= number < len(partitions):
            raise UnknownTopic(
                f"There is no partition {number} of topic '{topic}'.", fix=f"It has {len(partitions)}.", topic=topic
            )
        return partitions[number]

    def place(self, tp: TopicPartition) -> Partition:
        return self.partition(tp.topic, tp.partition)

    # Changing, in the writer's transaction; the objects follow when it is committed

    def create(
        self, connection: apsw.Connection, specs: Sequence[TopicSpec]
    ) -> dict[str, Literal["created", "exists"]]:
        for spec in specs:
            self._check(spec)
        outcome: Created = {}
        for spec in specs:
            if spec.name in self.topics or spec.name in outcome:
                outcome.setdefault(spec.name, "exists")
                continue
            config = msgspec.json.encode(dict(spec.config)).decode()
            retention_ms = RETENTION_MS_DEFAULT if spec.retention_ms is None else spec.retention_ms
            connection.execute(
                "INSERT INTO topic VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    spec.name,
                    str(uuid.uuid4()),
                    spec.partitions,
                    spec.cleanup,
                    None if retention_ms < 0 else retention_ms,
                    spec.max_record_bytes,
                    config,
                ),
            )
            connection.executemany(
                "INSERT INTO partition (topic, number) VALUES (?, ?)",
                [(spec.name, number) for number in range(spec.partitions)],
            )
            outcome[spec.name] = "created"
        return outcome

    def _check(self, spec: TopicSpec) -> None:
        if not _NAME.fullmatch(spec.name) or spec.name in (".", ".."):
            raise InvalidName(
                f"'{spec.name}' is no name of a topic.",
                fix=f"Use 1 to {TOPIC_CHARS_MAX} letters, digits, '.', '_' or '-'.",
            )
        if not 1 <= spec.partitions <= PARTITIONS_MAX:
            raise InvalidName(f"A topic has 1 to {PARTITIONS_MAX} partitions, not {spec.partitions}.")
        there = self.topics.get(spec.name)
        if there is not None and there.info.partitions != spec.partitions:
            raise Conflict(
                f"Topic '{spec.name}' exists with {there.info.partitions} partitions, not {spec.partitions}.",
                fix="Ask for the same number, or delete the topic first.",
                topic=spec.name,
            )

    def delete(self, connection: apsw.Connection, names: Sequence[str]) -> list[str]:
        """Returns the topics that were there; their rows go in the background."""
        there = [name for name in dict.fromkeys(names) if name in self.topics]
        ids = [(partition.id,) for name in there for partition in self.topics[name].partitions]
        connection.executemany("DELETE FROM topic WHERE name = ?", [(name,) for name in there])
        connection.executemany("UPDATE partition SET topic = NULL WHERE id = ?", ids)
        connection.executemany("DELETE FROM committed WHERE partition = ?", ids)
        return there
