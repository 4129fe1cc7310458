"""What we write others read, and the other way round: Kafka's own Java clients are the judges."""

from __future__ import annotations

import pytest

from services.kafka import KafkaNode
from twinstack.core.ids import new_uid
from twinstack.log.kafka import KafkaLog
from twinstack.log.kafka.node import tool
from twinstack.log.partitioner import partition_for
from twinstack.log.seam import EARLIEST, OutRecord, TopicPartition, TopicSpec

pytestmark = pytest.mark.kafka

KEYS = [f"cz.icecars.iot4cps-wp5-CarFleet.Car{n}.Wagen {n}.Außentemperatur" for n in range(40)]


@pytest.fixture
def topic(kafka_node: KafkaNode) -> str:
    name = f"ts.interop.{new_uid()}"
    log = kafka_node.log()
    log.admin().create_topics([TopicSpec(name, partitions=4)])
    log.close()
    return name


def by_partition(log: KafkaLog, topic: str, count: int) -> dict[bytes, int]:
    consumer = log.consumer()
    consumer.assign({TopicPartition(topic, p): EARLIEST for p in range(4)})
    found: dict[bytes, int] = {}
    for _ in range(60):
        for batch in consumer.poll(0.5):
            found |= {key: batch.partition for key in batch.keys if key is not None}
        if len(found) == count:
            break
    consumer.close()
    return found


def test_kafkas_console_consumer_reads_what_we_write(kafka_node: KafkaNode, topic: str) -> None:
    log = kafka_node.log()
    producer = log.producer()
    sent = OutRecord(topic, '{"result": "21 °C"}'.encode(), b"key", (("ts-id", b"1"),), 1_700_000_000_000, 2)
    producer.send(sent)
    producer.close()
    transaction = log.transaction(f"interop-{new_uid()}")
    transaction.send(OutRecord(topic, b"aborted", b"key", partition=2))
    transaction.abort()
    transaction.send(OutRecord(topic, b"committed", b"key", partition=2))
    transaction.commit()
    transaction.close()
    log.close()
    args = ["--bootstrap-server", kafka_node.bootstrap, "--topic", topic, "--from-beginning", "--max-messages", "2"]
    shown = [f"--formatter-property=print.{part}=true" for part in ("key", "headers", "timestamp", "partition")]
    isolation = ["--isolation-level", "read_committed", "--timeout-ms", "20000"]
    done = tool("console-consumer", *args, *shown, *isolation)
    first, second = done.stdout.decode().splitlines()
    assert first.split("\t") == [
        "CreateTime:1700000000000",
        "Partition:2",
        "ts-id:1",
        "key",
        '{"result": "21 °C"}',
    ]
    assert second.endswith("\tkey\tcommitted")


def test_the_java_client_puts_a_key_where_we_put_it(kafka_node: KafkaNode, topic: str) -> None:
    lines = "".join(f"{key}|java\n" for key in KEYS).encode()
    args = ("--bootstrap-server", kafka_node.bootstrap, "--topic", topic)
    done = tool(
        "console-producer",
        *args,
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "key.separator=|",
        stdin=lines,
    )
    assert done.returncode == 0, done.stderr
    log = kafka_node.log()
    java = by_partition(log, topic, len(KEYS))
    assert java == {key.encode(): partition_for(key.encode(), 4) for key in KEYS}
    ours = f"ts.interop.{new_uid()}"
    log.admin().create_topics([TopicSpec(ours, partitions=4)])
    producer = log.producer()
    producer.send_many(ours, [b"ours"] * len(KEYS), keys=[key.encode() for key in KEYS])
    producer.close()
    assert by_partition(log, ours, len(KEYS)) == java
    log.close()


def test_records_of_up_to_two_mebibytes_on_topics_that_ask_for_them(kafka_node: KafkaNode) -> None:
    log = kafka_node.log()
    large = f"ts.interop.{new_uid()}"
    size = 2 * 1024 * 1024
    log.admin().create_topics([TopicSpec(large, max_record_bytes=size)])
    producer = log.producer()
    value = bytes(range(256)) * (size // 256 - 16)
    producer.send(OutRecord(large, value, b"key"))
    producer.flush(30.0)
    producer.close()
    consumer = log.consumer()
    consumer.assign({TopicPartition(large, 0): EARLIEST})
    found = [value for _ in range(20) for batch in consumer.poll(0.5) for value in batch.values]
    assert found == [value]
    consumer.close()
    log.close()
