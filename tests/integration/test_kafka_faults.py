"""A broker that dies, hangs or moves: what was acknowledged is there, once, in order; what was committed is whole."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.kafka import KafkaNode, running_kafka
from twinstack.core import limits
from twinstack.core.errors import Fenced, RetriableLogError, TransactionAborted, TwinstackError, Undelivered
from twinstack.core.ids import new_uid
from twinstack.log.kafka import KafkaLog
from twinstack.log.kafka.node import tool
from twinstack.log.kafka.transaction import KafkaTransaction
from twinstack.log.seam import EARLIEST, Delivery, OutRecord, TopicPartition, TopicSpec

pytestmark = pytest.mark.kafka


@pytest.fixture
def log(kafka_node: KafkaNode) -> Iterator[KafkaLog]:
    log = kafka_node.log()
    yield log
    log.close()


def make_topic(log: KafkaLog, partitions: int = 1) -> str:
    name = f"ts.faults.{new_uid()}"
    log.admin().create_topics([TopicSpec(name, partitions)])
    return name


def everything_on(log: KafkaLog, topic: str, partitions: int = 1) -> list[tuple[int, bytes | None]]:
    """All committed records as (partition, value), by reading until the end: never by counting."""
    tps = [TopicPartition(topic, p) for p in range(partitions)]
    ends = log.admin().end_offsets(tps)
    with contextlib.closing(log.consumer()) as consumer:
        consumer.assign(dict.fromkeys(tps, EARLIEST))
        found: list[tuple[int, bytes | None]] = []
        deadline = time.monotonic() + 60
        while any((consumer.position(tp) or 0) < end for tp, end in ends.items()):
            assert time.monotonic() < deadline, f"positions stand still after {len(found)} records"
            for batch in consumer.poll(0.5):
                found += [(batch.partition, value) for value in batch.values]
        return found


@pytest.mark.parametrize("reports", [True, False], ids=["with reports", "without reports"])
def test_a_broker_killed_while_producing_loses_and_doubles_nothing(
    kafka_node: KafkaNode, log: KafkaLog, reports: bool
) -> None:
    topic = make_topic(log)
    producer = log.producer()
    acknowledged: list[int] = []
    failed: list[Exception] = []

    def report(number: int, outcome: Delivery | Exception) -> None:
        if isinstance(outcome, Delivery):
            acknowledged.append(number)
        else:
            failed.append(outcome)

    sent = 0
    for phase in ("before", "killed", "back"):
        if phase == "killed":
            kafka_node.kill()
        elif phase == "back":
            kafka_node.start()
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            for _ in range(20):
                callback = (lambda outcome, number=sent: report(number, outcome)) if reports else None
                producer.send(OutRecord(topic, b"%d" % sent, b"key"), callback)
                sent += 1
            time.sleep(0.005)
    producer.flush(60.0)
    assert not failed
    assert acknowledged == (list(range(sent)) if reports else [])
    assert [int(value) for _, value in everything_on(log, topic)] == list(range(sent))
    producer.close()


def test_records_that_cannot_be_delivered_are_counted_and_reported(
    kafka_node: KafkaNode, log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DELIVERY_TIMEOUT_MS", 2_000)
    topic = make_topic(log)
    producer, silent = log.producer(), log.producer()
    outcomes: list[Delivery | Exception] = []
    producer.send(OutRecord(topic, b"arrives"), outcomes.append)
    producer.flush(30.0)
    silent.send(OutRecord(topic, b"arrives too"))
    silent.flush(30.0)
    kafka_node.kill()
    try:
        for _ in range(3):
            producer.send(OutRecord(topic, b"lost"), outcomes.append)
            silent.send(OutRecord(topic, b"lost"))
        for each in (producer, silent):
            with pytest.raises(Undelivered, match="3 records") as undelivered:
                each.flush(10.0)
            assert undelivered.value.count == 3
        assert [type(outcome) for outcome in outcomes[:1]] == [Delivery]
        assert len(outcomes) == 4 and all(isinstance(outcome, TwinstackError) for outcome in outcomes[1:])
    finally:
        kafka_node.start()
    for each in (producer, silent):
        each.send(OutRecord(topic, b"after"))
        each.flush(30.0)  # the failures before were told already
        each.close()
    assert [value for _, value in everything_on(log, topic)] == [b"arrives", b"arrives too", b"after", b"after"]


def test_a_full_queue_waits_for_the_broker(
    kafka_node: KafkaNode, log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twinstack.log.kafka import producer as module

    monkeypatch.setitem(module.SETTINGS, "queue.buffering.max.messages", 100)
    topic = make_topic(log)
    producer = log.producer()
    producer.send(OutRecord(topic, b"first"))
    producer.flush(30.0)
    kafka_node.suspend()
    resume = threading.Timer(2.0, kafka_node.resume)
    resume.start()
    started = time.monotonic()
    producer.send_many(topic, [b"%d" % n for n in range(1_000)])
    assert time.monotonic() - started > 1.0
    producer.flush(60.0)
    producer.close()
    resume.join()
    assert len(everything_on(log, topic)) == 1_001


def test_a_consumer_goes_on_when_the_broker_is_back(kafka_node: KafkaNode, log: KafkaLog) -> None:
    topic = make_topic(log)
    producer, consumer = log.producer(), log.consumer()
    consumer.assign({TopicPartition(topic, 0): EARLIEST})
    producer.send(OutRecord(topic, b"before"))
    producer.flush(30.0)
    seen: list[bytes | None] = []
    while not seen:
        seen += [value for batch in consumer.poll(1.0) for value in batch.values]
    kafka_node.kill()
    assert consumer.poll(1.0) == []
    kafka_node.start()
    producer.send(OutRecord(topic, b"after"))
    producer.flush(60.0)
    deadline = time.monotonic() + 30
    while len(seen) < 2 and time.monotonic() < deadline:
        seen += [value for batch in consumer.poll(1.0) for value in batch.values]
    assert seen == [b"before", b"after"]
    consumer.close()
    producer.close()


def test_after_a_commit_that_took_too_long_the_owner_is_told_to_go_back(
    kafka_node: KafkaNode, log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late request of the slow commit must not end the next transaction: only a new epoch keeps it out."""
    topic, group, tp = make_topic(log), f"faults-{new_uid()}", TopicPartition(make_topic(log), 0)
    transaction = log.transaction(f"faults-{new_uid()}")
    transaction.send(OutRecord(topic, b"1"))
    transaction.commit(group, {tp: 1})
    transaction.send(OutRecord(topic, b"2"))
    monkeypatch.setattr(limits, "KAFKA_REQUEST_MS", 500)
    with hanging(kafka_node, 1.2):
        transaction.commit(group, {tp: 2})
    monkeypatch.undo()
    with pytest.raises(TransactionAborted):
        transaction.send(OutRecord(topic, b"3"))
    transaction.abort()
    assert log.consumer(group=group).committed([tp]) == {tp: 2}
    transaction.send(OutRecord(topic, b"3"))
    transaction.commit(group, {tp: 3})
    transaction.close()
    assert [value for _, value in everything_on(log, topic)] == [b"1", b"2", b"3"]


def test_an_owner_that_renews_itself_after_a_slow_commit_leaves_its_successor_alone(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new epoch that a slow commit asks for would fence a process that took over meanwhile."""
    tp = TopicPartition(make_topic(log), 0)
    for overtaken in (False, True):
        name = f"renewed-{new_uid()}"
        owner = log.transaction(name)
        with monkeypatch.context() as patched:
            patched.setattr(limits, "KAFKA_REQUEST_MS", -1)
            owner.commit(name, {tp: 1})
        successor = log.transaction(name) if overtaken else None
        with pytest.raises(TransactionAborted):
            owner.commit(name, {tp: 2})
        if successor is not None:
            with pytest.raises(Fenced):
                owner.abort()
            successor.commit(name, {tp: 3})
            successor.close()
        else:
            owner.abort()
            owner.commit(name, {tp: 3})
        owner.close()
        assert log.admin().group_offsets(name) == {tp: 3}


def test_a_transaction_recovers_from_a_broker_that_hung_until_it_was_taken_for_dead(
    kafka_node: KafkaNode, log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, group, tp = make_topic(log), f"faults-{new_uid()}", TopicPartition(make_topic(log), 0)
    monkeypatch.setattr(limits, "KAFKA_REQUEST_MS", 3_000)
    monkeypatch.setattr(limits, "KAFKA_COMMIT_MS_MAX", 8_000)
    transaction = log.transaction(f"faults-{new_uid()}")
    done = 0
    with hanging(kafka_node, 6.0, after_s=0.5):
        started = time.monotonic()
        while done < 20 or time.monotonic() - started < 7.0:
            assert time.monotonic() - started < 120.0
            try:
                transaction.send(OutRecord(topic, b"%d" % done))
                transaction.commit(group, {tp: done + 1})
                done += 1
            except TransactionAborted:
                done = back_to_the_committed(log, transaction, group, tp)
    transaction.close()
    assert [value for _, value in everything_on(log, topic)] == [b"%d" % n for n in range(done)]


def back_to_the_committed(log: KafkaLog, transaction: KafkaTransaction, group: str, tp: TopicPartition) -> int:
    for _ in range(5):
        with contextlib.suppress(RetriableLogError):
            transaction.abort()
            break
    with contextlib.closing(log.consumer(group=group)) as reader:
        return reader.committed([tp]).get(tp, 0)


@contextlib.contextmanager
def hanging(node: KafkaNode, for_s: float, after_s: float = 0.0) -> Iterator[None]:
    """The node hangs from now, or from `after_s` on."""

    def hang() -> None:
        time.sleep(after_s)
        node.suspend()
        time.sleep(for_s)
        node.resume()

    if not after_s:
        node.suspend()
    thread = threading.Thread(target=hang)
    thread.start()
    try:
        yield
    finally:
        thread.join()


class CopyLoop:
    """Copies a topic exactly once as a task does: commit, abort, go back, start again; at a pace, until told to end."""

    def __init__(self, log: KafkaLog, source: str, target: str, partitions: int) -> None:
        self.log, self.source, self.target = log, source, target
        self.tps = [TopicPartition(source, p) for p in range(partitions)]
        self.group = self.id = f"copy-{new_uid()}"
        self.gap_s_max = 0.0
        self.incidents: list[str] = []

    def run(self, until_s: float) -> None:
        ends = self.log.admin().end_offsets(self.tps)
        deadline = time.monotonic() + until_s
        transaction = self.log.transaction(self.id)
        consumer = self.log.consumer(group=self.group)
        try:
            done = self._go_back(consumer)
            committed_at = time.monotonic()
            while any(done[tp] < ends[tp] for tp in self.tps):
                assert time.monotonic() < deadline, f"{self.incidents} copied to {done} of {ends}"
                try:
                    self._copy(consumer, transaction, done)
                    self.gap_s_max = max(self.gap_s_max, time.monotonic() - committed_at)
                    committed_at = time.monotonic()
                except TransactionAborted as error:
                    self.incidents.append(str(error))
                    transaction.abort()
                    done = self._go_back(consumer)
        finally:
            consumer.close()
            transaction.close()

    def _go_back(self, consumer) -> dict[TopicPartition, int]:
        done = dict.fromkeys(self.tps, 0) | consumer.committed(self.tps)
        consumer.assign(done)
        return done

    def _copy(self, consumer, transaction, done: dict[TopicPartition, int]) -> None:
        batches = consumer.poll(0.2, 50)
        for batch in batches:
            transaction.send_many(self.target, batch.values, batch.keys, batch.headers)
        offsets = {TopicPartition(batch.topic, batch.partition): batch.next_offset for batch in batches}
        transaction.commit(self.group, offsets)
        done.update(offsets)
        time.sleep(0.01)


def fill(log: KafkaLog, topic: str, count: int) -> list[bytes]:
    values = [b"%d" % n for n in range(count)]
    producer = log.producer()
    producer.send_many(topic, values, keys=[b"key-%d" % (n % 20) for n in range(count)])
    producer.flush(60.0)
    producer.close()
    return values


def check_copy(log: KafkaLog, topic: str, values: list[bytes], partitions: int) -> None:
    found = everything_on(log, topic, partitions)
    assert sorted(value for _, value in found) == sorted(values)
    for key in range(20):
        numbers = [int(value) for _, value in found if int(value) % 20 == key]
        assert numbers == sorted(numbers)


def test_a_transactional_copy_survives_a_killed_broker(kafka_node: KafkaNode, log: KafkaLog) -> None:
    source, target = make_topic(log, 2), make_topic(log, 2)
    values = fill(log, source, 6_000)
    copy = CopyLoop(log, source, target, 2)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            copy.run(120.0)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    time.sleep(1.0)
    kafka_node.kill()
    kafka_node.start()
    thread.join(150.0)
    assert not thread.is_alive()
    assert not failures
    check_copy(log, target, values, 2)
    hanging = tool("transactions", "--bootstrap-server", kafka_node.bootstrap, "find-hanging", "--broker-id", "1")
    assert hanging.returncode == 0, hanging.stderr
    assert len(hanging.stdout.splitlines()) <= 1, hanging.stdout  # the heading alone


def test_a_successor_ends_a_hung_predecessor(log: KafkaLog) -> None:
    source, target = make_topic(log), make_topic(log)
    values = fill(log, source, 500)
    copy = CopyLoop(log, source, target, 1)
    hung = log.transaction(copy.id)
    hung.send_many(target, [b"-1"] * 10, [b"k"] * 10, [()] * 10)
    copy.run(60.0)
    with pytest.raises(Fenced):
        hung.commit(copy.group, {copy.tps[0]: 10})
    hung.close()
    check_copy(log, target, values, 1)


@pytest.mark.slow
def test_three_nodes_and_leaders_killed_under_a_transactional_copy(tmp_path: Path) -> None:
    """Each node is killed once while records are copied; the copy must have come through all three."""
    with running_kafka(tmp_path / "three", nodes=3) as cluster:
        log = KafkaLog(cluster.bootstrap)
        source, target = make_topic(log, 3), make_topic(log, 3)
        values = fill(log, source, 20_000)
        copy = CopyLoop(log, source, target, 3)
        killed: list[int] = []
        failures: list[BaseException] = []

        def murder() -> None:
            try:
                for victim in random.Random(7).sample((1, 2, 3), 3):
                    time.sleep(2.0)
                    cluster.kill(victim)
                    killed.append(victim)
                    time.sleep(4.0)
                    cluster.start_node(victim)
                    cluster.wait_ready()
            except BaseException as error:
                failures.append(error)

        murderer = threading.Thread(target=murder)
        murderer.start()
        try:
            copy.run(240.0)
        finally:
            murderer.join()
        assert not failures
        assert sorted(killed) == [1, 2, 3]
        check_copy(log, target, values, 3)
        log.close()
        print(f"longest gap {copy.gap_s_max:.1f} s, {len(copy.incidents)} aborted: {copy.incidents}")
        assert copy.gap_s_max < 60.0, copy.gap_s_max
