"""What the consumer makes of a list of messages from librdkafka: records, ends of partitions, errors among them."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, Message

from twinstack.core.errors import PositionLost
from twinstack.log.kafka.consumer import KafkaConsumer
from twinstack.log.kafka.facade import Connection
from twinstack.log.seam import TopicPartition

A, B = TopicPartition("topic", 0), TopicPartition("topic", 1)


@pytest.fixture
def consumer() -> KafkaConsumer:
    consumer = KafkaConsumer(Connection("127.0.0.1:1"), group=None, client_id="unit", start="latest")
    consumer._positions = {A: None, B: None}
    return consumer


def record(tp: TopicPartition, offset: int) -> Message:
    return Message(topic=tp.topic, partition=tp.partition, offset=offset, value=b"%d" % offset)


def event(tp: TopicPartition, offset: int, code: int) -> Message:
    return Message(topic=tp.topic, partition=tp.partition, offset=offset, error=KafkaError(code))


def test_the_end_of_a_partition_counts_although_it_came_with_records(consumer: KafkaConsumer) -> None:
    """Offset 7 is a transaction's marker: a reader that waits for the end at 8 must get there."""
    messages = [record(A, 5), record(A, 6), event(A, 8, KafkaError._PARTITION_EOF), record(B, 0)]
    batches = consumer._take(messages)
    assert [(batch.partition, batch.values) for batch in batches] == [(0, [b"5", b"6"]), (1, [b"0"])]
    assert (consumer.position(A), consumer.position(B)) == (8, 1)


def test_records_behind_an_end_count_more_than_the_end(consumer: KafkaConsumer) -> None:
    consumer._take([record(A, 5), event(A, 6, KafkaError._PARTITION_EOF), record(A, 6), record(A, 7)])
    assert consumer.position(A) == 8


def test_the_end_of_an_empty_partition_is_a_position(consumer: KafkaConsumer) -> None:
    assert consumer._take([event(A, 0, KafkaError._PARTITION_EOF)]) == []
    assert consumer.position(A) == 0


def test_an_error_waits_until_the_records_beside_it_are_taken(consumer: KafkaConsumer) -> None:
    batches = consumer._take([record(A, 5), event(B, 9, KafkaError._AUTO_OFFSET_RESET), record(A, 6)])
    assert [batch.values for batch in batches] == [[b"5", b"6"]]
    with pytest.raises(PositionLost):
        consumer._take([])
    assert consumer._take([]) == []


def test_an_error_alone_is_raised_at_once(consumer: KafkaConsumer) -> None:
    with pytest.raises(PositionLost):
        consumer._take([event(B, 9, KafkaError._AUTO_OFFSET_RESET)])


def test_records_of_partitions_given_away_are_dropped(consumer: KafkaConsumer) -> None:
    consumer._mode = "subscribed"
    del consumer._positions[B]
    batches = consumer._take([record(B, 1), record(A, 1)])
    assert [batch.partition for batch in batches] == [0]
