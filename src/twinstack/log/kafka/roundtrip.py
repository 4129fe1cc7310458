"""The test of an installation: records written are records read, by us and by Kafka's own console consumer."""

from __future__ import annotations

import time

from twinstack.core.errors import CheckFailed
from twinstack.core.ids import new_uid
from twinstack.log.kafka.install import Progress, silent
from twinstack.log.kafka.log import KafkaLog
from twinstack.log.kafka.tools import tool
from twinstack.log.seam import EARLIEST, OutRecord, TopicPartition, TopicSpec

RECORDS = 100
_READ_S = 20.0


def round_trip(servers: str, *, progress: Progress = silent, console: bool = False) -> int:
    """Returns how many records made the trip. Errors: CheckFailed, and those of the log."""
    log = KafkaLog(servers, client_id="twinstack-test")
    topic = f"ts.test.{new_uid()}"
    values = [b"Hello Kafka %d" % n for n in range(RECORDS)]
    try:
        log.ping()
        log.admin().create_topics([TopicSpec(topic)])
        progress(f"Created the topic {topic}")
        try:
            _write(log, topic, values)
            progress(f"Wrote {len(values)} records")
            _compare("Our client", _read(log, topic, len(values)), values)
            progress("Read them back with our client")
            if console:
                _compare("Kafka's console consumer", _read_by_console(servers, topic, len(values)), values)
                progress("Read them back with Kafka's own console consumer")
        finally:
            log.admin().delete_topics([topic])
        progress(f"Deleted the topic {topic}")
    finally:
        log.close()
    return len(values)


def _write(log: KafkaLog, topic: str, values: list[bytes]) -> None:
    producer = log.producer()
    try:
        for value in values:
            producer.send(OutRecord(topic, value))
        producer.flush(_READ_S)
    finally:
        producer.close()


def _read(log: KafkaLog, topic: str, count: int) -> list[bytes | None]:
    consumer = log.consumer()
    found: list[bytes | None] = []
    deadline = time.monotonic() + _READ_S
    try:
        consumer.assign({TopicPartition(topic, 0): EARLIEST})
        while len(found) < count and time.monotonic() < deadline:
            for batch in consumer.poll(0.5):
                found += batch.values
    finally:
        consumer.close()
    return found


def _read_by_console(servers: str, topic: str, count: int) -> list[bytes | None]:
    args = ("--bootstrap-server", servers, "--topic", topic, "--from-beginning", "--max-messages", str(count))
    done = tool("console-consumer", *args, "--timeout-ms", "20000")
    return [*done.stdout.splitlines()]


def _compare(reader: str, found: list[bytes | None], wanted: list[bytes]) -> None:
    if found != wanted:
        raise CheckFailed(
            f"{reader} read {len(found)} records instead of the {len(wanted)} that were written, or others.",
            fix="See kafka.log in the node's folder.",
        )
