"""KafkaLog: the seam's Log on Apache Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinstack.core import limits
from twinstack.log.kafka.admin import KafkaAdmin
from twinstack.log.kafka.consumer import KafkaConsumer
from twinstack.log.kafka.facade import Connection
from twinstack.log.kafka.producer import KafkaProducer
from twinstack.log.kafka.transaction import KafkaTransaction
from twinstack.log.seam import LATEST, Start


class KafkaLog:
    """`servers` is `host:port[,host:port]`; `settings` are librdkafka's own, for TLS, SASL and memory, for example
    `{"security.protocol": "SASL_SSL", ...}`. Nothing is contacted before the first call that needs a broker."""

    def __init__(
        self, servers: str, *, client_id: str = "twinstack", settings: Mapping[str, Any] | None = None
    ) -> None:
        self._connection = Connection(servers, client_id, dict(settings or {}))
        self._admin = KafkaAdmin(self._connection)

    def producer(self, *, client_id: str = "twinstack", linger_ms: int = 5) -> KafkaProducer:
        return KafkaProducer(self._connection, self._admin.record_bytes_max, client_id=client_id, linger_ms=linger_ms)

    def consumer(
        self, *, group: str | None = None, client_id: str = "twinstack", start: Start = LATEST
    ) -> KafkaConsumer:
        return KafkaConsumer(self._connection, group=group, client_id=client_id, start=start)

    def transaction(
        self, transactional_id: str, *, timeout_ms: int = limits.TRANSACTION_TIMEOUT_MS
    ) -> KafkaTransaction:
        return KafkaTransaction(self._connection, self._admin.record_bytes_max, transactional_id, timeout_ms=timeout_ms)

    def admin(self) -> KafkaAdmin:
        return self._admin

    def ping(self, timeout_s: float = 5.0) -> None:
        self._admin.ping(timeout_s)

    def close(self) -> None:
        self._admin.close()
