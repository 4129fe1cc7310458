"""Apache Kafka as a backend of the contract suite."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from log_backends import Backend, wait_for

from services.kafka import running_kafka
from twinstack.log.kafka import KafkaLog
from twinstack.log.seam import EARLIEST, Consumer, Log

POLL_INTERVAL_MS_MAX = 6_000


class KafkaBackend:
    name = "kafka"

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._opened: list[Log] = []

    def connect(self, client_id: str = "contract") -> Log:
        log = KafkaLog(self._servers, client_id=client_id)
        self._opened.append(log)
        return log

    def address(self, host: str, port: int) -> str | None:
        return f"kafka://{host}:{port}"

    def stale_member(self, log: Log, group: str, topic: str) -> Consumer:
        """A member that does not poll for too long is out; another one has had its partitions meanwhile."""
        impatient = KafkaLog(self._servers, settings={"max.poll.interval.ms": POLL_INTERVAL_MS_MAX})
        stale = impatient.consumer(group=group, start=EARLIEST)
        stale.subscribe([topic])
        wait_for(lambda: stale.poll(0.5))
        time.sleep(POLL_INTERVAL_MS_MAX / 1000)
        with contextlib.closing(log.consumer(group=group, start=EARLIEST)) as other:
            other.subscribe([topic])
            wait_for(lambda: other.poll(0.1) or other.assignment())
        return stale

    def close(self) -> None:
        for log in self._opened:
            log.close()


@contextlib.contextmanager
def kafka_backend(folder: Path) -> Iterator[Backend]:
    with running_kafka(folder) as cluster:
        backend = KafkaBackend(cluster.bootstrap)
        try:
            yield backend
        finally:
            backend.close()
