"""Consumer instances of the API: each a consumer of the log on a thread of its own, expiring when nobody asks.

Positions are those that were given to the client, not those that were fetched ahead: a commit without a body covers
what the client has received.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from twinstack.bridges.kafka_rest.answers import InstanceExists, InstanceNotFound
from twinstack.bridges.kafka_rest.wire import Format, encode_batch
from twinstack.core import limits
from twinstack.core.errors import Conflict, InvalidInput, QueueFull, TwinstackError
from twinstack.log.seam import LATEST, Consumer, Log, Start, TopicPartition
from twinstack.log.starting import subscribe_pinned

P = ParamSpec("P")
T = TypeVar("T")
_SLICE_S = 0.5
_RECORDS_AT_ONCE = 2_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InstanceConfig:
    form: Format = "binary"
    start: Start = LATEST
    auto_commit: bool = True
    timeout_ms: int = 1_000


@dataclass(slots=True)
class _Fetched:
    """Encoded records of one partition that wait to be given out, and the position behind the last of them."""

    tp: TopicPartition
    records: deque[tuple[bytes, int]] = field(default_factory=deque)
    next_offset: int = 0


class Instance:
    """All methods but `call` run on the instance's own thread."""

    def __init__(self, log: Log, group: str, name: str, owner: str, config: InstanceConfig) -> None:
        self.name = name
        self.owner = owner
        self.config = config
        self.used_s = time.monotonic()
        self.topics: list[str] = []
        self.assigned: list[TopicPartition] = []
        self._log = log
        self._group = group
        self._consumer: Consumer | None = None
        self._fetched: deque[_Fetched] = deque()
        self._given: dict[TopicPartition, int] = {}
        self._stopping = False
        self._busy = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-rest-consumer")

    async def call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._busy += 1
        self.used_s = time.monotonic()
        try:
            return await asyncio.wrap_future(self._thread.submit(work, *args, **kwargs))
        finally:
            self._busy -= 1
            self.used_s = time.monotonic()

    def idle_ms(self) -> float:
        return 0.0 if self._busy else (time.monotonic() - self.used_s) * 1000

    def _open(self) -> Consumer:
        if self._consumer is None:
            self._consumer = self._log.consumer(group=self._group, client_id=self.name, start=self.config.start)
        return self._consumer

    def _forget(self) -> None:
        self._fetched.clear()
        self._given.clear()

    def subscribe(self, topics: Sequence[str]) -> None:
        """Errors: UnknownTopic, Conflict when partitions are assigned."""
        if self.assigned:
            raise Conflict("Partitions are assigned to this instance.", fix="Use another instance to subscribe.")
        self._forget()
        subscribe_pinned(self._log, self._open(), topics, self.config.start)
        self.topics = list(topics)

    def unsubscribe(self) -> None:
        self._close_consumer()
        self.topics, self.assigned = [], []

    def assign(self, tps: Sequence[TopicPartition]) -> None:
        """Errors: UnknownTopic, Conflict when topics are subscribed."""
        if self.topics:
            raise Conflict("This instance subscribed topics.", fix="Use another instance to assign partitions.")
        self._forget()
        consumer = self._open()
        committed = consumer.committed(tps)
        consumer.assign({tp: committed.get(tp, self.config.start) for tp in tps})
        self.assigned = list(tps)

    def assignments(self) -> list[TopicPartition]:
        return self._open().assignment()

    def seek(self, positions: Mapping[TopicPartition, int | Start]) -> None:
        consumer = self._open()
        for tp, position in positions.items():
            consumer.seek(tp, position)
            self._fetched = deque(f for f in self._fetched if f.tp != tp)
            self._given.pop(tp, None)

    def records(self, timeout_ms: int, bytes_max: int) -> list[bytes]:
        """Encoded records, waiting for the first. Commits what was given before when the instance commits itself."""
        if not self.topics and not self.assigned:
            raise Conflict("Nothing is subscribed.", fix="POST .../subscription or .../assignments first.")
        if self.config.auto_commit:
            self.commit(None)
        until_s = time.monotonic() + timeout_ms / 1000
        while not self._fetched and not self._stopping:
            left_s = until_s - time.monotonic()
            # in slices: a server that stops waits for no long poll
            for batch in self._open().poll(max(0.0, min(left_s, _SLICE_S)), _RECORDS_AT_ONCE):
                tp = TopicPartition(batch.topic, batch.partition)
                self._fetched.append(_Fetched(tp, deque(encode_batch(batch, self.config.form)), batch.next_offset))
            if left_s <= 0:
                break
        return self._take(bytes_max)

    def _take(self, bytes_max: int) -> list[bytes]:
        """At least one record if there is one."""
        out: list[bytes] = []
        size = 0
        while self._fetched:
            head = self._fetched[0]
            while head.records and (not out or size + len(head.records[0][0]) <= bytes_max):
                encoded, offset = head.records.popleft()
                out.append(encoded)
                size += len(encoded)
                self._given[head.tp] = offset + 1
            if head.records:
                break
            self._given[head.tp] = head.next_offset
            self._fetched.popleft()
        return out

    def commit(self, offsets: Mapping[TopicPartition, int] | None) -> None:
        """None: everything given out so far. Errors: Fenced when the group has moved on."""
        wanted = dict(self._given) if offsets is None else dict(offsets)
        if wanted:
            self._open().commit(wanted)
            if offsets is None:
                self._given.clear()

    def committed(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self._open().committed(tps)

    def stop(self) -> None:
        """Ends a long poll soon; from any thread."""
        self._stopping = True

    def _close_consumer(self) -> None:
        self._forget()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    async def close(self) -> None:
        """Never raises: a group that cannot be left now forgets a silent member by itself."""
        self.stop()
        try:
            await self.call(self._close_consumer)
        except TwinstackError as error:
            logger.warning("consumer instance %s: %s", self.name, error)
        finally:
            self._thread.shutdown(wait=False)


class Instances:
    """All instances of this process, by group and name. Used on the event loop."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._instances: dict[tuple[str, str], Instance] = {}
        self._reaper: asyncio.Task[None] | None = None

    def create(self, group: str, log_group: str, name: str, owner: str, config: InstanceConfig) -> Instance:
        """`log_group` is the group on the log. Errors: InstanceExists, QueueFull at the limits."""
        if (group, name) in self._instances:
            raise InstanceExists(
                f"The group '{group[:80]}' has an instance '{name[:80]}'.", fix="Delete it, or choose another name."
            )
        own = sum(1 for instance in self._instances.values() if instance.owner == owner)
        if len(self._instances) >= limits.REST_CONSUMERS_MAX or own >= limits.REST_CONSUMERS_PER_CALLER_MAX:
            raise QueueFull(
                f"{own} consumer instances of this client are open ({len(self._instances)} in all).",
                fix="Delete the ones that are not used; they expire by themselves.",
            )
        instance = Instance(self._log, log_group, name, owner, config)
        self._instances[group, name] = instance
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.create_task(self._reap())
        return instance

    def get(self, group: str, name: str, owner: str) -> Instance:
        """Errors: InstanceNotFound, also for an instance of somebody else."""
        instance = self._instances.get((group, name))
        if instance is None or instance.owner != owner:
            raise InstanceNotFound(
                "Consumer instance not found.", fix="Create it (POST /consumers/<group>): it may have expired."
            )
        return instance

    async def delete(self, group: str, name: str, owner: str) -> None:
        instance = self.get(group, name, owner)
        del self._instances[group, name]
        await instance.close()

    async def _reap(self) -> None:
        while self._instances:
            await asyncio.sleep(min(5.0, limits.REST_CONSUMER_IDLE_MS / 1000))
            for key, instance in list(self._instances.items()):
                if instance.idle_ms() > limits.REST_CONSUMER_IDLE_MS:
                    self._instances.pop(key, None)
                    await instance.close()

    def stop(self) -> None:
        """Ends the long polls that wait, and those that come, within half a second."""
        for instance in self._instances.values():
            instance.stop()

    async def close(self) -> None:
        self.stop()
        if self._reaper is not None:
            self._reaper.cancel()
        instances = list(self._instances.values())
        self._instances.clear()
        await asyncio.gather(*(instance.close() for instance in instances), return_exceptions=True)


def parse_config(body: Mapping[str, Any]) -> tuple[str, InstanceConfig]:
    """`(name, config)` of `POST /consumers/{group}`. Errors: InvalidInput."""
    name = body.get("name") or body.get("id") or ""
    form, start = body.get("format", "binary"), body.get("auto.offset.reset", LATEST)
    auto = body.get("auto.commit.enable", body.get("enable.auto.commit", True))
    timeout_ms = body.get("consumer.request.timeout.ms", 1_000)
    if form not in ("json", "binary"):
        raise InvalidInput(f"The format '{str(form)[:40]}' is not served here.", fix="Use json or binary.")
    if start not in ("earliest", "latest"):
        raise InvalidInput("auto.offset.reset is neither earliest nor latest.", fix="Use one of them.")
    if str(auto).lower() not in ("true", "false"):
        raise InvalidInput("auto.commit.enable is neither true nor false.", fix="Use one of them.")
    if not isinstance(name, str) or len(name) > limits.TOPIC_CHARS_MAX or not (name.isprintable() and "/" not in name):
        raise InvalidInput("The name of the instance is no plain text.", fix="Leave it out: a name is made.")
    try:
        timeout = min(max(int(timeout_ms), 0), limits.LOG_LONG_POLL_MS_MAX)
    except (TypeError, ValueError):
        raise InvalidInput("consumer.request.timeout.ms is no number.", fix="Give milliseconds.") from None
    return name, InstanceConfig(form, start, str(auto).lower() == "true", timeout)
