"""Groups: members share partitions, continue at the committed offsets, and a member left behind is fenced."""

from __future__ import annotations

import time

import pytest
from log_backends import SETTLE_S, Backend, wait_for
from log_helpers import flatten, nothing_comes, read, write

from twinstack.core.errors import Conflict, Fenced
from twinstack.core.ids import new_uid
from twinstack.log.seam import EARLIEST, Admin, Log, OutRecord, TopicPartition


def test_an_assigned_consumer_commits_for_its_group(topic: str, group: str, opened) -> None:
    tp = TopicPartition(topic, 0)
    write(opened.producer(), topic, *(b"%d" % n for n in range(5)))
    reader = opened.consumer(group)
    assert reader.committed([tp]) == {}
    reader.assign({tp: EARLIEST})
    read(reader, 5)
    reader.commit({tp: 3})
    assert opened.consumer(group).committed([tp]) == {tp: 3}
    reader.commit()
    assert opened.consumer(group).committed([tp]) == {tp: 5}


def test_groups_are_separate(topic: str, group: str, opened) -> None:
    tp = TopicPartition(topic, 0)
    opened.consumer(group).commit({tp: 1})
    assert opened.consumer(f"{group}-other").committed([tp]) == {}


@pytest.mark.parametrize(("start", "wanted"), [("earliest", [b"old", b"new"]), ("latest", [b"new"])])
def test_a_new_group_starts_where_it_was_told(topic: str, group: str, opened, start, wanted) -> None:
    producer = opened.producer()
    write(producer, topic, b"old")
    member = opened.consumer(group, start)
    member.subscribe([topic])
    seen: list = []
    wait_for(lambda: seen.extend(flatten(member.poll(0.2))) or member.assignment())
    seen += flatten(member.poll(1.0))
    write(producer, topic, b"new")
    while len(seen) < len(wanted):
        seen += read(member, 1)
    assert [r.value for r in seen] == wanted


def test_a_group_resumes_at_the_committed_offset(topic: str, group: str, opened) -> None:
    write(opened.producer(), topic, *(b"%d" % n for n in range(8)))
    first = opened.consumer(group, EARLIEST)
    first.subscribe([topic])
    read(first, 8)
    first.commit({TopicPartition(topic, 0): 5})
    first.close()
    second = opened.consumer(group, EARLIEST)
    second.subscribe([topic])
    assert [r.value for r in read(second, 3)] == [b"5", b"6", b"7"]
    second.commit()
    second.close()
    third = opened.consumer(group, EARLIEST)
    third.subscribe([topic])
    assert nothing_comes(third, 2.0)


def test_two_members_share_the_partitions_and_the_rest_takes_over(wide: str, group: str, opened) -> None:
    producer = opened.producer()
    one, two = opened.consumer(group, EARLIEST), opened.consumer(group, EARLIEST)
    one.subscribe([wide])
    wait_for(lambda: one.poll(0.1) or len(one.assignment()) == 4)
    two.subscribe([wide])

    def shared() -> bool:
        one.poll(0.1)
        two.poll(0.1)
        return len(one.assignment()) == 2 and len(two.assignment()) == 2

    wait_for(shared)
    assert sorted(one.assignment() + two.assignment()) == [TopicPartition(wide, p) for p in range(4)]
    for partition in range(4):
        producer.send(OutRecord(wide, b"%d" % partition, partition=partition))
    producer.flush(SETTLE_S)
    for member in (one, two):
        seen = read(member, 2)
        assert {r.partition for r in seen} == {tp.partition for tp in member.assignment()}
        member.commit()
    one.close()
    wait_for(lambda: two.poll(0.1) or len(two.assignment()) == 4)
    for partition in range(4):
        producer.send(OutRecord(wide, b"again %d" % partition, partition=partition))
    producer.flush(SETTLE_S)
    assert sorted(r.value for r in read(two, 4)) == [b"again %d" % p for p in range(4)]


def test_a_member_left_behind_cannot_commit(topic: str, group: str, backend: Backend, log: Log, opened) -> None:
    write(opened.producer(), topic, b"0", b"1", b"2")
    tp = TopicPartition(topic, 0)
    stale = opened.adopt(backend.stale_member(log, group, topic))
    with pytest.raises(Fenced):
        stale.commit({tp: 2})
    assert opened.consumer(group).committed([tp]) == {}


def test_a_member_left_behind_rejoins_by_polling(topic: str, group: str, backend: Backend, log: Log, opened) -> None:
    write(opened.producer(), topic, b"0", b"1", b"2")
    stale = opened.adopt(backend.stale_member(log, group, topic))
    tp = TopicPartition(topic, 0)
    assert [r.value for r in read(stale, 3)] == [b"0", b"1", b"2"]  # nothing was committed: from the start
    stale.commit()
    assert opened.consumer(group).committed([tp]) == {tp: 3}


def test_several_topics(topic: str, wide: str, group: str, opened) -> None:
    member = opened.consumer(group, EARLIEST)
    member.subscribe([topic, wide])
    wait_for(lambda: member.poll(0.1) or len(member.assignment()) == 5)
    producer = opened.producer()
    write(producer, topic, b"one")
    write(producer, wide, b"two", key=b"k")
    assert sorted(r.value for r in read(member, 2)) == [b"one", b"two"]


def test_a_lost_position_of_a_group_restarts_at_start(topic: str, group: str, admin: Admin, opened) -> None:
    tp = TopicPartition(topic, 0)
    write(opened.producer(), topic, *(b"%d" % n for n in range(6)))
    opened.consumer(group).commit({tp: 1})
    admin.delete_records({tp: 4})
    member = opened.consumer(group, EARLIEST)
    member.subscribe([topic])
    assert [r.value for r in read(member, 2)] == [b"4", b"5"]


def test_admin_reads_and_deletes_groups(topic: str, wide: str, group: str, admin: Admin, opened) -> None:
    assert admin.group_offsets(group) == {}
    offsets = {TopicPartition(topic, 0): 3, TopicPartition(wide, 1): 4}
    opened.consumer(group).commit(offsets)
    assert admin.group_offsets(group) == offsets
    wait_for(lambda: _deleted(admin, group))
    assert admin.group_offsets(group) == {}
    admin.delete_group(f"contract-{new_uid()}")  # a missing group is ignored


def _deleted(admin: Admin, group: str) -> bool:
    try:
        admin.delete_group(group)
    except Conflict:  # a broker may take a moment to see that the last member left
        return False
    return True


def test_a_group_with_members_cannot_be_deleted(topic: str, group: str, admin: Admin, opened) -> None:
    member = opened.consumer(group, EARLIEST)
    member.subscribe([topic])
    wait_for(lambda: member.poll(0.1) or member.assignment())
    with pytest.raises(Conflict, match=group):
        admin.delete_group(group)


def test_a_silent_but_living_member_keeps_its_partitions(topic: str, group: str, opened) -> None:
    """Work on a batch may take longer than a heartbeat: the session belongs to the process, not to poll."""
    write(opened.producer(), topic, b"0")
    member = opened.consumer(group, EARLIEST)
    member.subscribe([topic])
    read(member, 1)
    time.sleep(4.0)
    member.commit()
    assert opened.consumer(group).committed([TopicPartition(topic, 0)]) == {TopicPartition(topic, 0): 1}
