"""One contract suite, every implementation of the log seam: `pytest tests/contract/log -k embedded`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from log_backends import BACKENDS, Backend

from twinstack.core.ids import new_uid
from twinstack.log.seam import Admin, Consumer, Log, Producer, Start, TopicPartition, TopicSpec, Transaction


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.kafka) if name == "kafka" else name for name in BACKENDS],
)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with BACKENDS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture(scope="session")
def log(backend: Backend) -> Log:
    return backend.connect()


@pytest.fixture
def admin(log: Log) -> Admin:
    return log.admin()


@pytest.fixture
def topic(admin: Admin) -> str:
    """A fresh topic of one partition."""
    name = f"ts.contract.{new_uid()}"
    admin.create_topics([TopicSpec(name)])
    return name


@pytest.fixture
def wide(admin: Admin) -> str:
    """A fresh topic of four partitions."""
    name = f"ts.contract.{new_uid()}.wide"
    admin.create_topics([TopicSpec(name, partitions=4)])
    return name


@pytest.fixture
def group() -> str:
    return f"contract-{new_uid()}"


class Open:
    """Opens producers, consumers and transactions that are closed when the test ends."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._stack = contextlib.ExitStack()

    def _close_later(self, close: Callable[[], None]) -> None:
        def quietly() -> None:
            with contextlib.suppress(Exception):  # what close must do when all is well is a test of its own
                close()

        self._stack.callback(quietly)

    def producer(self, log: Log | None = None) -> Producer:
        producer = (log or self._log).producer()
        self._close_later(lambda: producer.close(5.0))
        return producer

    def consumer(self, group: str | None = None, start: Start = "latest", log: Log | None = None) -> Consumer:
        consumer = (log or self._log).consumer(group=group, start=start)
        self._close_later(consumer.close)
        return consumer

    def reader(self, topic: str, start: int | Start = "earliest", partitions: int = 1) -> Consumer:
        """A consumer without group that reads the whole topic."""
        consumer = self.consumer()
        consumer.assign({TopicPartition(topic, p): start for p in range(partitions)})
        return consumer

    def transaction(self, transactional_id: str, log: Log | None = None) -> Transaction:
        transaction = (log or self._log).transaction(transactional_id)
        self._close_later(transaction.close)
        return transaction

    def adopt(self, consumer: Consumer) -> Consumer:
        self._close_later(consumer.close)
        return consumer

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def opened(log: Log) -> Iterator[Open]:
    opened = Open(log)
    yield opened
    opened.close()
