"""Topics: create, exists, conflict, describe, delete; a topic made again is another one."""

from __future__ import annotations

import pytest
from log_helpers import read, write

from twinstack.core.errors import Conflict, InvalidName, UnknownTopic
from twinstack.core.ids import new_uid
from twinstack.log.seam import Admin, OutRecord, TopicPartition, TopicSpec


def test_created_then_exists(admin: Admin) -> None:
    name = f"ts.contract.{new_uid()}"
    assert admin.create_topics([TopicSpec(name, partitions=3)]) == {name: "created"}
    assert admin.create_topics([TopicSpec(name, partitions=3)]) == {name: "exists"}
    info = admin.describe(name)
    assert (info.name, info.partitions, info.cleanup) == (name, 3, "delete")
    assert admin.topics()[name] == info


def test_many_at_once(admin: Admin) -> None:
    names = [f"ts.contract.{new_uid()}" for _ in range(5)]
    assert admin.create_topics([TopicSpec(name) for name in names]) == dict.fromkeys(names, "created")
    assert set(names) <= set(admin.topics())


def test_other_partitions_are_a_conflict(admin: Admin, topic: str) -> None:
    with pytest.raises(Conflict, match=topic):
        admin.create_topics([TopicSpec(topic, partitions=2)])


@pytest.mark.parametrize("name", ["", "a b", "x" * 250, "..", "a/b", "ä"])
def test_names_are_checked_before_anything_is_created(admin: Admin, name: str) -> None:
    good = f"ts.contract.{new_uid()}"
    with pytest.raises(InvalidName):
        admin.create_topics([TopicSpec(good), TopicSpec(name)])
    assert good not in admin.topics()


def test_compacted_topics_say_so(admin: Admin) -> None:
    name = f"ts.contract.{new_uid()}"
    admin.create_topics([TopicSpec(name, cleanup="compact")])
    assert admin.describe(name).cleanup == "compact"


def test_unknown_topics_are_named(admin: Admin, opened) -> None:
    missing = f"ts.contract.{new_uid()}"
    with pytest.raises(UnknownTopic, match=missing):
        admin.describe(missing)
    with pytest.raises(UnknownTopic, match=missing):
        admin.end_offsets([TopicPartition(missing, 0)])
    reader = opened.consumer()
    with pytest.raises(UnknownTopic, match=missing):
        reader.assign({TopicPartition(missing, 0): "earliest"})
        for _ in range(20):
            reader.poll(1.0)


def test_nothing_is_created_by_writing(admin: Admin, opened) -> None:
    missing = f"ts.contract.{new_uid()}"
    producer = opened.producer()
    outcomes: list[object] = []
    try:
        producer.send(OutRecord(missing, b"lost?"), outcomes.append)
        producer.flush(20.0)
    except Exception as error:
        outcomes.append(error)
    assert any(isinstance(outcome, UnknownTopic) for outcome in outcomes), outcomes
    assert missing not in admin.topics()


def test_deleted_and_made_again_is_another_topic(admin: Admin, topic: str, opened) -> None:
    write(opened.producer(), topic, b"old")
    before = admin.describe(topic)
    admin.delete_topics([topic, f"ts.contract.{new_uid()}"])
    assert topic not in admin.topics()
    with pytest.raises(UnknownTopic):
        admin.describe(topic)
    assert admin.create_topics([TopicSpec(topic)]) == {topic: "created"}
    assert admin.describe(topic).uuid != before.uuid
    write(opened.producer(), topic, b"new")
    (record,) = read(opened.reader(topic), 1)
    assert (record.offset, record.value) == (0, b"new")
