"""Offsets of partitions, deleting records, and an answer within five seconds from a log that is not there."""

from __future__ import annotations

import socket
import time

import pytest
from log_backends import Backend
from log_helpers import read, write

from twinstack.core.errors import Unreachable
from twinstack.log.connect import connect
from twinstack.log.seam import Admin, Log, OutRecord, TopicPartition


def test_beginning_and_end(wide: str, admin: Admin, opened) -> None:
    tps = [TopicPartition(wide, p) for p in range(4)]
    assert admin.beginning_offsets(tps) == dict.fromkeys(tps, 0)
    assert admin.end_offsets(tps) == dict.fromkeys(tps, 0)
    producer = opened.producer()
    for n in range(6):
        producer.send(OutRecord(wide, b"%d" % n, partition=n % 2))
    producer.flush(30.0)
    assert admin.end_offsets(tps) == dict(zip(tps, [3, 3, 0, 0], strict=True))
    assert admin.end_offsets(tps[:1], committed=False) == {tps[0]: 3}
    assert admin.beginning_offsets(tps) == dict.fromkeys(tps, 0)


def test_deleted_records_are_gone_for_good(topic: str, admin: Admin, opened) -> None:
    tp = TopicPartition(topic, 0)
    producer = opened.producer()
    write(producer, topic, *(b"%d" % n for n in range(10)))
    admin.delete_records({tp: 4})
    assert admin.beginning_offsets([tp]) == {tp: 4}
    assert admin.end_offsets([tp]) == {tp: 10}
    assert [r.offset for r in read(opened.reader(topic), 6)] == [4, 5, 6, 7, 8, 9]
    admin.delete_records({tp: 2})  # behind the beginning: nothing to do
    assert admin.beginning_offsets([tp]) == {tp: 4}
    admin.delete_records({tp: 10})
    assert admin.beginning_offsets([tp]) == {tp: 10}
    write(producer, topic, b"next")
    (record,) = read(opened.reader(topic), 1)
    assert (record.offset, record.value) == (10, b"next")


def test_offsets_at_of_an_empty_partition(topic: str, admin: Admin) -> None:
    tp = TopicPartition(topic, 0)
    assert admin.offsets_at([tp], 0) == {tp: 0}


def test_ping_answers(log: Log) -> None:
    log.ping(30.0)


def test_nobody_listens(backend: Backend) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    _expect_unreachable(backend, port)


def test_somebody_listens_but_never_answers(backend: Backend) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _expect_unreachable(backend, silent.getsockname()[1])


def _expect_unreachable(backend: Backend, port: int) -> None:
    address = backend.address("127.0.0.1", port)
    if address is None:
        pytest.skip("this log has no network")
    log = connect(address)
    started = time.monotonic()
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}"):
        log.ping(5.0)
    assert time.monotonic() - started < 5.5
    log.close()
