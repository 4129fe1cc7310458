"""One real Kafka node per test session, on free ports and in a temporary folder.

Use the fixture `kafka_node` (import it in a conftest); a test that kills or suspends the node brings it back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from twinstack.core.errors import SettingsError, Unreachable
from twinstack.log.kafka import KafkaLog, node
from twinstack.log.kafka.cluster import Cluster

# A killed broker may register again after this time, not after nine seconds; on a busy machine a heartbeat may be late.
SOON_BACK = {"broker.session.timeout.ms": "4000", "broker.heartbeat.interval.ms": "500"}


@dataclass(frozen=True, slots=True)
class KafkaNode:
    """`bootstrap` is `host:port`; `cluster` kills, suspends and starts it again."""

    cluster: Cluster

    @property
    def bootstrap(self) -> str:
        return self.cluster.bootstrap

    def log(self, client_id: str = "tests") -> KafkaLog:
        return KafkaLog(self.bootstrap, client_id=client_id)

    def kill(self) -> None:
        self.cluster.kill(1)

    def start(self) -> None:
        self.cluster.start_node(1)
        self.cluster.wait_ready()

    def suspend(self) -> None:
        self.cluster.suspend(1)

    def resume(self) -> None:
        self.cluster.resume(1)


@contextlib.contextmanager
def running_kafka(folder: Path, nodes: int = 1) -> Iterator[Cluster]:
    """A cluster for as long as the block lasts. Skips by name when Kafka cannot be had on this machine."""
    try:
        node.install()
    except (SettingsError, Unreachable) as error:
        pytest.skip(f"SKIPPED KAFKA: {error}")
    cluster = node.start(nodes, folder, node.free_ports(nodes), extra=SOON_BACK)
    try:
        yield cluster
    finally:
        for each in cluster.nodes:
            cluster.resume(each.address.id)
        node.stop(folder)


@pytest.fixture(scope="session")
def kafka_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    with running_kafka(tmp_path_factory.mktemp("kafka")) as cluster:
        yield KafkaNode(cluster)


@contextlib.contextmanager
def running_node(folder: Path) -> Iterator[str]:
    """The address `host:port` of one node, for as long as the block lasts."""
    with running_kafka(folder) as cluster:
        yield cluster.bootstrap
