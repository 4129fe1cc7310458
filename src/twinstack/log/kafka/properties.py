"""`server.properties` of a node: combined broker and controller, on loopback, for development and measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from twinstack.core import limits

HOST = "127.0.0.1"

Profile = Literal["small", "throughput"]


class Address(NamedTuple):
    """Where a node listens: `port` for clients and brokers, `controller_port` for the quorum."""

    id: int
    port: int
    controller_port: int


_COMMON = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # A misspelt topic must be an error, not a new topic.
    "auto.create.topics.enable": "false",
    # The default for topics; one that asks for larger records sets its own max.message.bytes, and replicas follow.
    "message.max.bytes": str(limits.MIB),
    "replica.fetch.max.bytes": str(8 * limits.MIB),
    # A paused app finds its position again after 30 days.
    "offsets.retention.minutes": "43200",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": str(8 * limits.MIB),
}

# A dead leader is replaced in 3 s instead of 10 s.
_FAST_FAIL_OVER = {
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1000",
    "controller.quorum.election.timeout.ms": "500",
}

_THROUGHPUT = {
    "num.network.threads": "2",
    "num.io.threads": "4",
    "socket.send.buffer.bytes": str(limits.MIB),
    "socket.receive.buffer.bytes": str(limits.MIB),
    "log.segment.bytes": str(512 * limits.MIB),
}

JVM: Mapping[Profile, Sequence[str]] = {
    # The first compiler only: half the start, a third of the memory; enough for tests and a developer's traffic.
    "small": (
        "-Xms128m",
        "-Xmx384m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xss512k",
        "-XX:MaxDirectMemorySize=128m",
    ),
    "throughput": ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"),
}


def server_properties(
    node: Address, nodes: Sequence[Address], data: Path, *, profile: Profile = "small", extra: Mapping[str, str]
) -> str:
    """The text of the file. Three nodes keep three copies of all, two must have a record before it counts."""
    copies = min(3, len(nodes))
    isr = 2 if copies == 3 else 1
    lines = {
        **_COMMON,
        "node.id": str(node.id),
        "controller.quorum.voters": ",".join(f"{n.id}@{HOST}:{n.controller_port}" for n in nodes),
        "listeners": f"PLAINTEXT://{HOST}:{node.port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{node.port}",
        "log.dirs": str(data),
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(isr),
    }
    for internal in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        lines[f"{internal}.replication.factor"] = str(copies)
    for internal in ("transaction.state.log", "share.coordinator.state.topic"):
        lines[f"{internal}.min.isr"] = str(isr)
    if len(nodes) > 1:
        lines |= _FAST_FAIL_OVER
    if profile == "throughput":
        lines |= _THROUGHPUT
    lines |= extra
    return "".join(f"{key}={value}\n" for key, value in lines.items())
