"""Topics, offsets and groups on Kafka: the seam's Admin over librdkafka's admin client."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Literal, TypeVar

from confluent_kafka import IsolationLevel, TopicCollection

from twinstack.core import limits
from twinstack.core.errors import (
    Conflict,
    NotFound,
    PermissionDenied,
    RetriableLogError,
    TimedOut,
    UnknownTopic,
    Unreachable,
)
from twinstack.core.names import check_topic
from twinstack.log.kafka.facade import (
    AdminClient,
    ConfigResource,
    Connection,
    NewTopic,
    OffsetSpec,
    ResourceType,
    Watch,
    bare,
    calling,
    repeated,
    to_kafka,
)
from twinstack.log.seam import TopicInfo, TopicPartition, TopicSpec

T = TypeVar("T")

_TIMEOUT_S = limits.KAFKA_ADMIN_MS_MAX / 1000
_STABLE_TIMEOUT_S = 5.0
_POLL_S = 0.02


class KafkaAdmin:
    """One admin client, opened at the first call; librdkafka allows it to several threads at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._watch: Watch = connection.watch()
        self._handle: AdminClient | None = None
        self._lock = threading.Lock()

    @property
    def handle(self) -> AdminClient:
        with self._lock:
            if self._handle is None:
                self._handle = self._connection.admin(self._watch)
            return self._handle

    def close(self) -> None:
        with self._lock:
            self._handle = None

    def ping(self, timeout_s: float) -> None:
        try:
            self._metadata(None, timeout_s)
        except (TimedOut, RetriableLogError) as error:
            raise Unreachable(
                f"No Kafka broker answers at {self._connection.servers} within {timeout_s:g} s.",
                fix="Check that Kafka runs there (`twinstack kafka status`) and that the address is right.",
            ) from error

    # Topics

    def create_topics(self, specs: Sequence[TopicSpec]) -> dict[str, Literal["created", "exists"]]:
        for spec in specs:
            check_topic(spec.name)
        if not specs:
            return {}
        there = self._metadata(None, _TIMEOUT_S).topics
        outcome: dict[str, Literal["created", "exists"]] = {}
        for spec in specs:
            if spec.name in there:
                _check_partitions(spec, len(there[spec.name].partitions))
                outcome[spec.name] = "exists"
        missing = [spec for spec in specs if spec.name not in outcome]
        if missing:
            futures = self.handle.create_topics([_new_topic(spec) for spec in missing], request_timeout=_TIMEOUT_S)
            for spec in missing:
                outcome[spec.name] = self._created(spec, futures[spec.name])
            self._wait_for_leaders([spec.name for spec in missing])
        return outcome

    def _created(self, spec: TopicSpec, future: Future[Any]) -> Literal["created", "exists"]:
        try:
            self._result(future, f"create the topic '{spec.name}'", spec.name)
        except Conflict:  # made by another process meanwhile
            _check_partitions(spec, self.describe(spec.name).partitions)
            return "exists"
        return "created"

    def _wait_for_leaders(self, names: Sequence[str]) -> None:
        """A topic is created when the controller has it; brokers and leaders follow some milliseconds later."""
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            topics = self._metadata(names[0] if len(names) == 1 else None, _TIMEOUT_S).topics
            found = [topics.get(name) for name in names]
            if all(t and t.error is None and all(p.leader >= 0 for p in t.partitions.values()) for t in found):
                return
            time.sleep(_POLL_S)
        raise TimedOut("Kafka created the topics, but chose no leaders for them in time.", fix="Look at the brokers.")

    def delete_topics(self, names: Sequence[str]) -> None:
        if not names:
            return
        futures = self.handle.delete_topics(list(names), request_timeout=_TIMEOUT_S, operation_timeout=_TIMEOUT_S)
        for name, future in futures.items():
            try:
                self._result(future, f"delete the topic '{name}'", name)
            except UnknownTopic:
                continue
        deadline = time.monotonic() + _TIMEOUT_S
        while any(name in self._metadata(None, _TIMEOUT_S).topics for name in names):
            if time.monotonic() > deadline:
                raise TimedOut("Kafka accepted the deletion, but still shows the topics.", fix="Look at the brokers.")
            time.sleep(_POLL_S)

    def topics(self) -> dict[str, TopicInfo]:
        """All topics but Kafka's internal ones."""
        names = [name for name in self._metadata(None, _TIMEOUT_S).topics if not name.startswith("__")]
        return self._describe(names)

    def describe(self, topic: str) -> TopicInfo:
        check_topic(topic)
        found = self._describe([topic])
        if topic not in found:
            raise UnknownTopic(f"The topic '{topic}' does not exist.", fix="Create it first, or check its name.")
        return found[topic]

    def _describe(self, names: Sequence[str]) -> dict[str, TopicInfo]:
        """Topics that vanish between the requests are left out."""
        if not names:
            return {}
        futures = self.handle.describe_topics(TopicCollection(list(names)), request_timeout=_TIMEOUT_S)
        cleanups = {name: config.get("cleanup.policy", "delete") for name, config in self.configs(names).items()}
        found = {}
        for name, future in futures.items():
            try:
                told = self._result(future, f"describe the topic '{name}'", name)
            except UnknownTopic:
                continue
            if name in cleanups:
                cleanup = "compact" if "compact" in cleanups[name] else "delete"
                found[name] = TopicInfo(name, len(told.partitions), str(told.topic_id), cleanup)
        return found

    def configs(self, names: Sequence[str], timeout_s: float = _TIMEOUT_S) -> dict[str, dict[str, str]]:
        """Settings of topics; missing topics are left out."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        with calling(self._watch, "read the settings of topics"):
            futures = self.handle.describe_configs(resources, request_timeout=timeout_s)
        found = {}
        for resource, future in futures.items():
            try:
                entries = self._result(future, f"read the settings of '{resource.name}'", resource.name, timeout_s)
            except UnknownTopic:
                continue
            found[resource.name] = {name: entry.value for name, entry in entries.items()}
        return found

    def record_bytes_max(self, topic: str) -> int:
        """The topic's limit of a batch, and so of a record. Errors: UnknownTopic. When nobody answers in time, or
        reading settings is not allowed, the limit of the largest topics: the broker decides then."""
        timeout_s = limits.KAFKA_TOPIC_LOOKUP_MS_MAX / 1000
        check_topic(topic)
        try:
            config = self.configs([topic], timeout_s)
        except PermissionDenied:
            self.partitions([topic], timeout_s)
            return limits.DERIVED_RECORD_BYTES_MAX
        if topic not in config:
            raise UnknownTopic(
                f"The topic '{topic}' does not exist: nothing was sent.",
                fix="Create it first (registering a system does), or check its name.",
                topic=topic,
            )
        return int(config[topic]["max.message.bytes"])

    def partitions(self, topics: Iterable[str], timeout_s: float = _TIMEOUT_S) -> dict[str, int]:
        """How many partitions each topic has. Errors: UnknownTopic."""
        names = list(dict.fromkeys(topics))
        there = self._metadata(names[0] if len(names) == 1 else None, timeout_s).topics
        counts = {}
        for name in names:
            if name not in there or there[name].error is not None:
                raise UnknownTopic(f"The topic '{name}' does not exist.", fix="Create it first, or check its name.")
            counts[name] = len(there[name].partitions)
        return counts

    # Offsets

    def beginning_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self._offsets(tps, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def end_offsets(self, tps: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        return self._offsets(tps, OffsetSpec.latest(), committed=committed)  # type: ignore[no-untyped-call]

    def offsets_at(self, tps: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        found = self._offsets(tps, OffsetSpec.for_timestamp(timestamp_ms))
        behind = [tp for tp, offset in found.items() if offset < 0]
        return found | self.end_offsets(behind) if behind else found

    def _offsets(
        self, tps: Sequence[TopicPartition], spec: OffsetSpec, *, committed: bool = True
    ) -> dict[TopicPartition, int]:
        if not tps:
            return {}
        self._check_exist(tps)
        isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED

        def ask() -> dict[TopicPartition, int]:
            futures = self.handle.list_offsets(
                dict.fromkeys(bare(tps), spec), isolation_level=isolation, request_timeout=_TIMEOUT_S
            )
            return {
                TopicPartition(part.topic, part.partition): self._result(
                    future, f"read offsets of '{part.topic}'", part.topic
                ).offset
                for part, future in futures.items()
            }

        return repeated(ask, RetriableLogError, UnknownTopic)

    def _check_exist(self, tps: Iterable[TopicPartition]) -> None:
        """Asked first: librdkafka repeats a request for a missing topic until its time is over."""
        counts = self.partitions(tp.topic for tp in tps)
        for tp in tps:
            if not 0 <= tp.partition < counts[tp.topic]:
                raise UnknownTopic(f"The topic '{tp.topic}' has no partition {tp.partition}.", fix="Check the number.")

    def delete_records(self, before: Mapping[TopicPartition, int]) -> None:
        if not before:
            return
        self._check_exist(before)

        def ask() -> None:
            futures = self.handle.delete_records(
                to_kafka(before), request_timeout=_TIMEOUT_S, operation_timeout=_TIMEOUT_S
            )
            for part, future in futures.items():
                self._result(future, f"delete records of '{part.topic}'", part.topic)

        repeated(ask, RetriableLogError, UnknownTopic)

    # Groups

    def delete_group(self, group: str) -> None:
        future = self.handle.delete_consumer_groups([group], request_timeout=_TIMEOUT_S)[group]
        try:
            self._result(future, f"delete the group '{group}'")
        except NotFound:
            return

    def group_offsets(self, group: str) -> dict[TopicPartition, int]:
        """Waits a moment for offsets of transactions that are just ending; behind one that hangs, the ones before."""
        there = self._metadata(None, _TIMEOUT_S).topics
        tps = [TopicPartition(name, p) for name, topic in there.items() for p in topic.partitions]
        try:
            return self._group_offsets(group, tps, "read_committed", _STABLE_TIMEOUT_S)
        except (TimedOut, RetriableLogError):
            return self._group_offsets(group, tps, "read_uncommitted", _TIMEOUT_S)

    def _group_offsets(
        self, group: str, tps: Sequence[TopicPartition], isolation: str, timeout_s: float
    ) -> dict[TopicPartition, int]:
        """Asked by a consumer that never joins: librdkafka's admin client crashes the process when a broker answers
        'not coordinator', which a new cluster does, and any cluster whose coordinators move (its issue 5040)."""
        if not tps:
            return {}
        own = {"group.id": group, "isolation.level": isolation, "enable.auto.commit": False}
        consumer = self._connection.consumer(self._watch, own)
        try:
            with calling(self._watch, f"read the offsets of the group '{group}'"):
                parts = consumer.committed(bare(tps), timeout=timeout_s)
        finally:
            consumer.close()
        for part in parts:
            if part.error is not None:
                raise self._watch.error(part.error, f"read the offsets of the group '{group}'", part.topic)
        return {TopicPartition(part.topic, part.partition): part.offset for part in parts if part.offset >= 0}

    # Calls

    def _metadata(self, topic: str | None, timeout_s: float) -> Any:
        handle = self.handle
        with calling(self._watch, "read the cluster's metadata", topic):
            try:
                return handle.list_topics(topic, timeout=timeout_s) if topic else handle.list_topics(timeout=timeout_s)
            finally:
                handle.poll(0)  # lets error_cb tell a cause before the error is mapped

    def _result(self, future: Future[T], action: str, topic: str | None = None, timeout_s: float = _TIMEOUT_S) -> T:
        try:
            with calling(self._watch, action, topic):
                return future.result(timeout_s + 5.0)
        except TimeoutError:
            raise TimedOut(f"Kafka did not answer in time: could not {action}.", fix="Repeat.") from None


def _check_partitions(spec: TopicSpec, partitions: int) -> None:
    if partitions != spec.partitions:
        raise Conflict(
            f"The topic '{spec.name}' exists with {partitions} partitions, {spec.partitions} were asked for.",
            fix="Choose another name, or the same number of partitions.",
            topic=spec.name,
        )


def _new_topic(spec: TopicSpec) -> NewTopic:
    config = {"cleanup.policy": spec.cleanup, **spec.config}
    if spec.retention_ms is not None:
        config["retention.ms"] = str(spec.retention_ms)
    if spec.max_record_bytes is not None:
        config["max.message.bytes"] = str(spec.max_record_bytes)
    # -1: the cluster's own replication factor.
    return NewTopic(spec.name, num_partitions=spec.partitions, replication_factor=spec.replication or -1, config=config)
