"""What `consume` gave, as columns per partition, made when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
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
        return [message.value() for message in self._messages]

    @cached_property
    def keys(self) -> list[bytes | None]:
        return [message.key() for message in self._messages]

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
        return cast("list[int]", [message.offset() for message in self._messages])

    @property
    def next_offset(self) -> int:
        last = self._messages[-1].offset()
        assert last is not None and last >= 0
        return last + 1


def _headers(message: Message) -> Headers:
    headers = cast("list[tuple[str, bytes | None]] | None", message.headers())
    # A header without content is told from one with empty content by other clients; here both are empty.
    return tuple((name, content or b"") for name, content in headers) if headers else ()


def in_batches(messages: list[Message]) -> list[KafkaBatch]:
    """Records by partition, partitions in the order of their first record, records in the order they came."""
    topics = cast("list[str]", [message.topic() for message in messages])
    partitions = cast("list[int]", [message.partition() for message in messages])
    places = set(zip(topics, partitions, strict=True))
    if len(places) == 1:
        return [KafkaBatch(topics[0], partitions[0], messages)]
    groups: dict[tuple[str, int], list[Message]] = {}
    for place, message in zip(zip(topics, partitions, strict=True), messages, strict=True):
        groups.setdefault(place, []).append(message)
    return [KafkaBatch(topic, partition, records) for (topic, partition), records in groups.items()]
