"""seam.Admin of the embedded log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import apsw

from twinstack.log.embedded.calls import Step
from twinstack.log.embedded.catalog import Created
from twinstack.log.embedded.rewrite import set_begin
from twinstack.log.seam import TopicInfo, TopicPartition, TopicSpec

if TYPE_CHECKING:
    from twinstack.log.embedded.log import EmbeddedLog


class EmbeddedAdmin:
    """seam.Admin; `creating`, `deleting` and `deleting_records` are the actions, for callers that wait otherwise."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log
        self._catalog = log.catalog

    def create_topics(self, specs: Sequence[TopicSpec]) -> Created:
        outcome: Created = self._log.act(self.creating(specs))
        return outcome

    def creating(self, specs: Sequence[TopicSpec]) -> Step[Created]:
        def run(connection: apsw.Connection) -> Callable[[], Created]:
            outcome = self._catalog.create(connection, specs)

            def publish() -> Created:
                for name, what in outcome.items():
                    if what == "created":
                        self._catalog.load(self._log.writer.connection, name)
                return outcome

            return publish

        return run

    def delete_topics(self, names: Sequence[str]) -> None:
        self._log.act(self.deleting(names))

    def deleting(self, names: Sequence[str]) -> Step[None]:
        def run(connection: apsw.Connection) -> Callable[[], None]:
            there = self._catalog.delete(connection, names)
            moved = self._log.groups.topics_changed(connection, there)

            def publish() -> None:
                for name in there:
                    self._catalog.drop(name)
                for group_moves in moved:
                    group_moves()
                self._log.notify(None)

            return publish

        return run

    def topics(self) -> dict[str, TopicInfo]:
        return {name: topic.info for name, topic in list(self._catalog.topics.items())}

    def describe(self, topic: str) -> TopicInfo:
        return self._catalog.topic(topic).info

    def beginning_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self._catalog.place(tp).begin for tp in tps}

    def end_offsets(self, tps: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        """Open transactions are not on this log: both ends are the same."""
        return {tp: self._catalog.place(tp).next for tp in tps}

    def offsets_at(self, tps: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        return {tp: self._log.reader.offset_at(self._catalog.place(tp), timestamp_ms) for tp in tps}

    def delete_records(self, before: Mapping[TopicPartition, int]) -> None:
        self._log.act(self.deleting_records(before))

    def deleting_records(self, before: Mapping[TopicPartition, int]) -> Step[None]:
        def run(connection: apsw.Connection) -> Callable[[], None]:
            places = [(self._catalog.place(tp), begin) for tp, begin in before.items()]
            publish = [set_begin(connection, place, min(begin, place.next)) for place, begin in places]

            def published() -> None:
                for each in publish:
                    each()

            return published

        return run

    def delete_group(self, group: str) -> None:
        self._log.act(lambda connection: self._log.groups.delete(connection, group))

    def group_offsets(self, group: str) -> dict[TopicPartition, int]:
        return self._log.committed(group)
