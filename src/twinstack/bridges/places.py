"""Which partitions the archive reads, and from where: the store's positions, held against what the log has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from twinstack.bridges.process import Report
from twinstack.core.names import split_topic
from twinstack.log.seam import Log, Start, TopicPartition
from twinstack.sensorthings.store import Store


class Place(NamedTuple):
    """One partition: the topic's identity and the next offset in the store (None: nothing yet)."""

    topic_uuid: str
    stored: int | None


class Places:
    """All partitions of the `.int` and `.ext` topics of all systems."""

    def __init__(self, store: Store, log: Log, report: Report) -> None:
        self._store = store
        self._log = log
        self._report = report
        self._places: dict[TopicPartition, Place] = {}
        self._keep_all: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, tp: TopicPartition) -> Place:
        return self._places[tp]

    def keeps_all(self, system: str) -> bool:
        """Whether a system keeps the history of what it receives (its `archive_received`)."""
        return self._keep_all.get(system, True)

    def stored(self, tp: TopicPartition, next_offset: int) -> None:
        self._places[tp] = Place(self._places[tp].topic_uuid, next_offset)

    def discover(self, *, afresh: bool = False) -> dict[TopicPartition, int | Start] | None:
        """Looks for systems and topics; the positions to read all partitions from, None when nothing changed.
        `afresh`: forgets what it knew and takes every position from the store."""
        systems = {row.name: row for row in self._store.systems()}
        self._keep_all = {name: row.archive_received for name, row in systems.items()}
        if afresh:
            self._places = {}
        wanted: dict[TopicPartition, str] = {}
        for info in self._log.admin().topics().values():
            parts = split_topic(info.name)
            if parts is not None and parts[0] in systems and parts[1] in ("int", "ext"):
                wanted.update({TopicPartition(info.name, p): info.uuid for p in range(info.partitions)})
        if not afresh and {tp: place.topic_uuid for tp, place in self._places.items()} == wanted:
            return None
        kept = {tp: place for tp, place in self._places.items() if wanted.get(tp) == place.topic_uuid}
        fresh = sorted(wanted.keys() - kept.keys())
        self._places = kept
        positions = {tp: place.stored or 0 for tp, place in kept.items()}
        return {**self._inside(positions | self._first_positions(fresh, wanted))}

    def _first_positions(
        self, fresh: Sequence[TopicPartition], wanted: dict[TopicPartition, str]
    ) -> dict[TopicPartition, int]:
        stored = self._store.archive_positions(sorted({tp.topic for tp in fresh})) if fresh else {}
        positions = {}
        for tp in fresh:
            position = stored.get((tp.topic, tp.partition))
            if position is None:
                self._places[tp] = Place(wanted[tp], None)
            else:
                self._places[tp] = Place(wanted[tp], position.next_offset)
                if position.topic_uuid != wanted[tp]:
                    self._report("topic_made_again", {"topic": tp.topic, "partition": tp.partition})
                    self._move(tp, 0)
            positions[tp] = self._places[tp].stored or 0
        return positions

    def _inside(self, positions: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """The positions, moved to where the log has something."""
        tps = sorted(positions)
        ends = self._log.admin().end_offsets(tps)
        begins = self._log.admin().beginning_offsets(tps)
        for tp in tps:
            place = {"topic": tp.topic, "partition": tp.partition, "position": positions[tp]}
            if positions[tp] > ends[tp]:
                self._report("position_beyond_end", {**place, "end": ends[tp]})
                positions[tp] = ends[tp]
            elif positions[tp] < begins[tp]:
                if self._places[tp].stored is not None:
                    lost = begins[tp] - positions[tp]
                    self._report("records_lost", {**place, "beginning": begins[tp], "count": lost})
                positions[tp] = begins[tp]
            if self._places[tp].stored not in (None, positions[tp]):
                self._move(tp, positions[tp])
        return positions

    def _move(self, tp: TopicPartition, position: int) -> None:
        """Stores a position without records, at once: records that come while no archive runs would otherwise be
        taken for read ones."""
        topic_uuid, stored = self._places[tp]
        self._store.archive_batch(tp.topic, tp.partition, topic_uuid, stored, position, (), ()).result()
        self._places[tp] = Place(topic_uuid, position)
