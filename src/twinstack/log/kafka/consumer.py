"""A consumer on Kafka: assigned without a group's help, or a member that shares partitions.

Positions are kept here, not asked from librdkafka (whose `position()` is -1001 before the first record). The end of a
partition moves the position too: behind the last record stand markers of transactions and gaps of compaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, Message
from confluent_kafka import Consumer as Handle
from confluent_kafka import TopicPartition as KafkaPartition

from twinstack.core import limits
from twinstack.core.errors import (
    FatalLogError,
    Fenced,
    InvalidInput,
    PositionLost,
    RetriableLogError,
    SettingsError,
    TimedOut,
    TwinstackError,
    UnknownTopic,
    Unreachable,
)
from twinstack.log.kafka.batch import in_batches
from twinstack.log.kafka.facade import Connection, bare, calling, repeated, to_kafka
from twinstack.log.seam import Batch, Start, TopicPartition

SETTINGS: dict[str, Any] = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.commit.interval.ms": 0,
    "queued.min.messages": limits.CONSUMER_PREFETCH_RECORDS,
    "queued.max.messages.kbytes": limits.CONSUMER_PREFETCH_BYTES_MAX // limits.KIB,
    "max.partition.fetch.bytes": limits.CONSUMER_FETCH_BYTES_MAX,
    # A fetch that waits at the broker delays partitions that are sought or resumed meanwhile; new records end it early.
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 5,
    "session.timeout.ms": limits.KAFKA_SESSION_MS,
    "heartbeat.interval.ms": limits.KAFKA_SESSION_MS // 4,
    "partition.assignment.strategy": "cooperative-sticky",
}

_LOGICAL = {"earliest": OFFSET_BEGINNING, "latest": OFFSET_END}
_SLICE_S = 0.25
"""A wait is cut into slices, so that Ctrl-C is heard."""
_SEEK_S = 10.0
_CALL_S = limits.KAFKA_ADMIN_MS_MAX / 1000

Mode = Literal["assigned", "subscribed"]


def _logical(position: int | Start) -> int:
    if isinstance(position, str):
        return _LOGICAL[position]
    if position < 0:
        raise InvalidInput(f"{position} is no position on a log.", fix="Give an offset >= 0, 'earliest' or 'latest'.")
    return position


class KafkaConsumer:
    def __init__(self, connection: Connection, *, group: str | None, client_id: str, start: Start) -> None:
        self._connection = connection
        self._watch = connection.watch()
        self._group = group
        self._client_id = client_id
        self._start: Start = start
        self._handle: Handle | None = None
        self._mode: Mode = "assigned"
        self._positions: dict[TopicPartition, int | None] = {}
        self._paused: set[TopicPartition] = set()
        self._member = ""
        self._error: TwinstackError | None = None
        self._closed = False

    # What to read

    def assign(self, positions: Mapping[TopicPartition, int | Start]) -> None:
        wanted = {tp: _logical(position) for tp, position in positions.items()}
        handle = self._open("assigned")
        self._check_exist(handle, wanted)
        with calling(self._watch, "assign partitions"):
            handle.assign(to_kafka(wanted))
        self._positions = {tp: offset if offset >= 0 else None for tp, offset in wanted.items()}
        self._paused = set()
        self._error = None

    def subscribe(self, topics: Sequence[str]) -> None:
        if self._group is None:
            raise SettingsError("A consumer without group cannot subscribe.", fix="Open it with a group.")
        handle = self._open("subscribed")
        with calling(self._watch, "subscribe"):
            handle.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def seek(self, tp: TopicPartition, offset: int | Start) -> None:
        position = _logical(offset)
        handle = self._assigned_handle(tp)
        part = KafkaPartition(tp.topic, tp.partition, position)
        with calling(self._watch, "seek", tp.topic):
            # Paused while it seeks: what was fetched ahead is dropped, and nothing of it comes after the new position.
            handle.pause(bare([tp]))
            self._seek(handle, part)
            if tp not in self._paused:
                handle.resume(bare([tp]))
        self._positions[tp] = position if position >= 0 else None

    def _seek(self, handle: Handle, part: KafkaPartition) -> None:
        deadline = time.monotonic() + _SEEK_S
        while True:
            try:
                handle.seek(part)
                return
            except KafkaException as failure:
                # An assignment of a moment ago is not being fetched yet.
                if failure.args[0].code() != KafkaError._STATE or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        handle = self._assigned_handle(*tps)
        with calling(self._watch, "pause"):
            handle.pause(bare(tps))
        self._paused.update(tps)

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        handle = self._assigned_handle(*tps)
        with calling(self._watch, "resume"):
            handle.resume(bare(tps))
        self._paused.difference_update(tps)

    def assignment(self) -> list[TopicPartition]:
        return sorted(self._positions)

    def position(self, tp: TopicPartition) -> int | None:
        return self._positions.get(tp)

    # Reading

    def poll(self, timeout_s: float, records_max: int = 5_000) -> list[Batch]:
        handle = self._open(self._mode)
        deadline = time.monotonic() + timeout_s
        with calling(self._watch, "read"):
            messages = [] if self._error is not None else handle.consume(records_max, 0)
            while True:
                batches = self._take(messages)
                left = deadline - time.monotonic()
                if batches or left <= 0:
                    return batches
                messages = handle.consume(1, min(left, _SLICE_S))
                if messages and records_max > 1 and messages[0].error() is None:
                    messages += handle.consume(records_max - 1, 0)

    def _take(self, messages: list[Message]) -> list[Batch]:
        """The records, and what the events among them mean. An error waits for the next call when records came with
        it: they would not come again."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if not messages:
            return []
        events: list[Message] = []
        if set(map(Message.error, messages)) != {None}:
            events = [message for message in messages if message.error() is not None]
            messages = [message for message in messages if message.error() is None]
        batches: list[Batch] = []
        for batch in in_batches(messages, self._only_topic()):
            tp = TopicPartition(batch.topic, batch.partition)
            if tp in self._positions:
                self._positions[tp] = batch.next_offset
                batches.append(batch)
        for event in events:
            try:
                self._told(event)
            except TwinstackError as error:
                self._error = self._error or error
        if self._error is not None and not batches:
            return self._take([])
        return batches

    def _only_topic(self) -> str | None:
        """The topic of whatever comes, where it can be but one. A member may still get records of what it gave away
        within the same call."""
        topics = {tp.topic for tp in self._positions} if self._mode == "assigned" else ()
        return next(iter(topics)) if len(topics) == 1 else None

    def _told(self, message: Message) -> None:
        """Events come as messages: ends of partitions, refusals, lost positions."""
        error = message.error()
        assert error is not None
        code = error.code()
        topic, partition = message.topic(), message.partition()
        tp = TopicPartition(topic or "", -1 if partition is None else partition)
        if code == KafkaError._PARTITION_EOF:
            # Behind the last record: it came with it, and stands for the markers and gaps after it.
            offset = message.offset()
            if tp in self._positions and offset is not None and offset > (self._positions[tp] or -1):
                self._positions[tp] = offset
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION):
            raise PositionLost(
                f"The position {self._positions.get(tp)} of {tp.topic}[{tp.partition}] is not on the log.",
                fix="Choose another position: earliest, latest or a time.",
                topic=tp.topic,
                partition=tp.partition,
            )
        elif code == KafkaError._MAX_POLL_EXCEEDED or (
            code == KafkaError.GROUP_AUTHORIZATION_FAILED and self._group is None
        ):
            # The member was too long without poll and joins again by this one; without a group its rights don't matter.
            return
        else:
            mapped = self._watch.error(error, f"read '{topic}'" if topic else "read", topic)
            # librdkafka goes on by itself when brokers are away for a while.
            if not isinstance(mapped, (Unreachable, TimedOut, RetriableLogError)):
                raise mapped

    # Offsets of the group

    def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        self._need_group()
        if offsets is None:
            offsets = {tp: position for tp, position in self._positions.items() if position is not None}
        for tp, offset in offsets.items():
            if offset < 0:
                raise InvalidInput(f"The offset {offset} of {tp.topic}[{tp.partition}] is below 0: nothing was stored.")
        handle = self._open(self._mode)
        if self._mode == "subscribed":
            self._check_membership(handle, offsets)
        if not offsets:
            return
        self._ask_coordinator(
            lambda: handle.commit(offsets=to_kafka(offsets), asynchronous=False),
            f"commit for the group '{self._group}'",
        )

    def _check_membership(self, handle: Handle, offsets: Iterable[TopicPartition]) -> None:
        """librdkafka commits as a stranger once it has left the group; a broker takes that while nobody is in it."""
        if handle.memberid() == self._member and all(tp in self._positions for tp in offsets):
            return
        raise Fenced(
            f"The group '{self._group}' has moved on: its partitions belong to other members now.",
            fix="Poll to join again, and go on at the committed offsets.",
        )

    def committed(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self._need_group()
        if not tps:
            return {}
        handle = self._open(self._mode)
        parts = self._ask_coordinator(
            lambda: handle.committed(bare(tps), timeout=_CALL_S), f"read the offsets of the group '{self._group}'"
        )
        return {TopicPartition(part.topic, part.partition): part.offset for part in parts if part.offset >= 0}

    def _ask_coordinator(self, call: Callable[[], list[KafkaPartition]], action: str) -> list[KafkaPartition]:
        def ask() -> list[KafkaPartition]:
            with calling(self._watch, action):
                parts = call()
            for part in parts:
                if part.error is not None:
                    raise self._watch.error(part.error, action, part.topic)
            return parts

        return repeated(ask, RetriableLogError)

    def close(self) -> None:
        self._closed = True
        handle, self._handle = self._handle, None
        self._positions = {}
        if handle is not None:
            with suppress(KafkaException):
                handle.close()

    # Opening

    def _open(self, mode: Mode) -> Handle:
        """The client. Another way of reading needs another client: a lost position is an error of one who assigns,
        and a restart at `start` of a member."""
        if self._closed:
            raise FatalLogError("The consumer is closed.", fix="Open a new one.")
        if self._handle is not None and mode != self._mode:
            self._handle.close()
            self._handle = None
            self._positions, self._paused = {}, set()
        if self._handle is None:
            own = {
                # librdkafka wants a group always; without one nothing is sent in its name.
                "group.id": self._group or f"{self._client_id}-without-group",
                "auto.offset.reset": "error" if mode == "assigned" else self._start,
            }
            self._handle = self._connection.consumer(self._watch, SETTINGS | own, client_id=self._client_id)
            self._mode = mode
        return self._handle

    def _assigned_handle(self, *tps: TopicPartition) -> Handle:
        for tp in tps:
            if tp not in self._positions:
                raise InvalidInput(f"{tp.topic}[{tp.partition}] is not assigned.", fix="Assign it first.")
        return self._open(self._mode)

    def _need_group(self) -> None:
        if self._group is None:
            raise SettingsError("A consumer without group has no offsets.", fix="Open it with a group.")

    def _check_exist(self, handle: Handle, tps: Iterable[TopicPartition]) -> None:
        """A missing topic is told now. When no broker answers the assignment stands, and poll waits for them."""
        topics = {tp.topic for tp in tps}
        if not topics:
            return
        timeout_s = limits.KAFKA_TOPIC_LOOKUP_MS_MAX / 1000
        try:
            with calling(self._watch, "look at the topics"):
                there = handle.list_topics(next(iter(topics)) if len(topics) == 1 else None, timeout=timeout_s).topics
        except (Unreachable, TimedOut):
            return
        for tp in tps:
            topic = there.get(tp.topic)
            if topic is None or topic.error is not None or tp.partition not in topic.partitions:
                what = "has no partition " + str(tp.partition) if topic and topic.error is None else "does not exist"
                raise UnknownTopic(f"The topic '{tp.topic}' {what}.", fix="Create it first, or check its name.")

    # Rebalances; called by librdkafka inside poll. It takes over the assignment itself when these return.

    def _assigned(self, handle: Handle, parts: list[KafkaPartition]) -> None:
        self._member = handle.memberid()
        for part in parts:
            self._positions[TopicPartition(part.topic, part.partition)] = None

    def _revoked(self, handle: Handle, parts: list[KafkaPartition]) -> None:
        for part in parts:
            tp = TopicPartition(part.topic, part.partition)
            self._positions.pop(tp, None)
            self._paused.discard(tp)
