"""What `consume` gave, as columns per partition, made when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import cast

from confluent_kafka import Message

from twinstack.log.seam import Headers


class KafkaBatch:
    """Consecutive records of one partition; the seam's Batch."""

    def __init__(self, topic: str, partition: int, messages: list[Message]) -> None:
        self.topic = topic
        self.partition = partition
        self._messages = messages

    def __len__(self) -> int:
        return len(self._messages)

    @cached_property
    def values(self) -> list[bytes | None]:
        return list(map(Message.value, self._messages))

    @cached_property
    def keys(self) -> list[bytes | None]:
        return list(map(Message.key, self._messages))

    @cached_property
    def headers(self) -> list[Headers]:
        return [_headers(message) for message in self._messages]

    def headers_at(self, indices: Sequence[int]) -> list[Headers]:
        messages = self._messages
        return [_headers(messages[i]) for i in indices]

    @cached_property
    def timestamps_ms(self) -> list[int]:
        return [message.timestamp()[1] for message in self._messages]

    @cached_property
    def offsets(self) -> list[int]:
        return cast("list[int]", list(map(Message.offset, self._messages)))

    @property
    def next_offset(self) -> int:
        last = self._messages[-1].offset()
        assert last is not None and last >= 0
        return last + 1


def _headers(message: Message) -> Headers:
    headers = cast("list[tuple[str, bytes | None]] | None", message.headers())
    if not headers:
        return ()
    for _, content in headers:
        if content is None:  # told from empty content by other clients; here both are empty
            return [(name, content or b"") for name, content in headers]
    return cast("Headers", headers)


def in_batches(messages: list[Message], topic: str | None = None) -> list[KafkaBatch]:
    """Records by partition, partitions in the order of their first record, records in the order they came. `topic`:
    the topic of all of them, where it is known.

    They come in runs of one partition: a run is found at C speed and moved as a slice.
    """
    partitions = cast("list[int]", list(map(Message.partition, messages)))
    if topic is not None and len(set(partitions)) == 1:
        return [KafkaBatch(topic, partitions[0], messages)]
    topics = [topic] * len(messages) if topic is not None else cast("list[str]", list(map(Message.topic, messages)))
    one_topic = len(set(topics)) == 1
    groups: dict[tuple[str, int], list[Message]] = {}
    start = 0
    for _, run in groupby(partitions if one_topic else zip(topics, partitions, strict=True)):
        end = start + len(list(run))
        groups.setdefault((topics[start], partitions[start]), []).extend(messages[start:end])
        start = end
    return [KafkaBatch(topic, partition, records) for (topic, partition), records in groups.items()]
