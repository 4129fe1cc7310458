"""The one place that makes objects of confluent-kafka: settings common to all, errors mapped, callbacks kept.

librdkafka tells some causes only on the side, through `error_cb` (a wrong password: the call itself just times out).
A `Watch` keeps them, and `calling()` raises the cause instead of the symptom.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public by its documentation
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from twinstack.core.errors import TwinstackError
from twinstack.log.kafka.errors import mapped
from twinstack.log.seam import Headers, TopicPartition

__all__ = ["AdminClient", "ConfigResource", "Connection", "NewTopic", "OffsetSpec", "ResourceType", "Watch"]

T = TypeVar("T")

KafkaHeaders = list[tuple[str, str | bytes | None]]

LOGGER = logging.getLogger("twinstack.log.kafka")
LOGGER.addHandler(logging.NullHandler())

_REPEAT_S = 10.0

_CAUSES = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE})
_SYMPTOMS = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN})


@dataclass(slots=True)
class Watch:
    """What a client told on the side. `timeouts` counts requests that were not answered in time."""

    servers: str
    cause: KafkaError | None = None
    timeouts: int = 0

    def on_error(self, error: KafkaError) -> None:
        if error.code() in _CAUSES:
            self.cause = error
        elif error.code() == KafkaError._TIMED_OUT:
            self.timeouts += 1

    def error(self, error: KafkaError, action: str, topic: str | None = None) -> TwinstackError:
        if error.code() in _SYMPTOMS and self.cause is not None:
            error = self.cause
        return mapped(error, action, servers=self.servers, topic=topic)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the brokers are; `settings` are librdkafka's own for TLS and SASL."""

    servers: str
    client_id: str = "twinstack"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def watch(self) -> Watch:
        return Watch(self.servers)

    def _config(self, watch: Watch, client_id: str | None, more: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "bootstrap.servers": self.servers,
            "client.id": client_id or self.client_id,
            "error_cb": watch.on_error,
            "socket.keepalive.enable": True,
            # Every failed attempt to connect would be a line; what matters comes back as an error of a call.
            "log_level": 2,
            # A broker that comes back is found again within a second, not after librdkafka's ten.
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,
            **more,
            **self.settings,
        }

    def producer(self, watch: Watch, more: Mapping[str, Any], *, client_id: str | None = None) -> Producer:
        with calling(watch, "open a producer"):
            return Producer(self._config(watch, client_id, more), logger=LOGGER)

    def consumer(self, watch: Watch, more: Mapping[str, Any], *, client_id: str | None = None) -> Consumer:
        with calling(watch, "open a consumer"):
            return Consumer(self._config(watch, client_id, more), logger=LOGGER)

    def admin(self, watch: Watch) -> AdminClient:
        with calling(watch, "open an admin client"):
            return AdminClient(self._config(watch, None, {}), logger=LOGGER)


@contextmanager
def calling(watch: Watch, action: str, topic: str | None = None) -> Iterator[None]:
    """Inside, an error of confluent-kafka becomes one of core.errors. `action` completes 'Kafka could not ...'."""
    try:
        yield
    except KafkaException as failure:
        raise watch.error(failure.args[0], action, topic) from None


def repeated(ask: Callable[[], T], *kinds: type[TwinstackError]) -> T:
    """Repeats a call that may be repeated, while leaders and coordinators move or brokers learn of a new topic."""
    deadline = time.monotonic() + _REPEAT_S
    while True:
        try:
            return ask()
        except kinds:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def to_headers(headers: Headers) -> KafkaHeaders | None:
    if not headers:
        return None
    return headers if type(headers) is list else [*headers]


def to_kafka(positions: Mapping[TopicPartition, int]) -> list[KafkaPartition]:
    return [KafkaPartition(tp.topic, tp.partition, offset) for tp, offset in positions.items()]


def bare(tps: Iterable[TopicPartition]) -> list[KafkaPartition]:
    return [KafkaPartition(tp.topic, tp.partition) for tp in tps]


def brokers_of(servers: str, timeout_s: float) -> int:
    """How many brokers are registered at `servers`, 0 when nobody answers within the time."""
    admin = Connection(servers).admin(Watch(servers))
    try:
        return len(admin.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return 0
