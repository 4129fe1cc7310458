"""A cluster of Kafka nodes in a folder: its processes, and the faults that tests put on them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twinstack.core.errors import FatalLogError, SettingsError, TimedOut
from twinstack.log.kafka import process
from twinstack.log.kafka.install import Installation, installed
from twinstack.log.kafka.properties import HOST, JVM, Address, Profile, server_properties

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
QUORUM_LOST_S = 3.0


@dataclass(slots=True)
class Node:
    """One process. Signals go only to the process that was started with this node's settings file."""

    address: Address
    folder: Path
    pid: int | None = None

    @property
    def mark(self) -> str:
        return str(self.folder / "server.properties")

    @property
    def log_file(self) -> Path:
        return self.folder / "kafka.log"

    @property
    def running(self) -> bool:
        return process.is_running(self.pid, self.mark)

    def signal(self, number: signal.Signals) -> bool:
        return self.pid is not None and process.send(self.pid, self.mark, number)

    def last_lines(self, count: int = 6) -> str:
        try:
            lines = self.log_file.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-count:])


@dataclass(slots=True)
class Cluster:
    """The nodes of a folder. `kill`, `suspend` and `start_node` are for tests of faults; `jvm` are further options of
    Java for this run only."""

    folder: Path
    cluster_id: str
    nodes: list[Node]
    profile: Profile = "small"
    extra: Mapping[str, str] = field(default_factory=dict)
    jvm: Sequence[str] = ()

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{HOST}:{node.address.port}" for node in self.nodes)

    @property
    def running(self) -> bool:
        return all(node.running for node in self.nodes)

    def node(self, node_id: int) -> Node:
        return next(node for node in self.nodes if node.address.id == node_id)

    def save(self) -> None:
        nodes = [{**node.address._asdict(), "pid": node.pid} for node in self.nodes]
        state = {"cluster_id": self.cluster_id, "profile": self.profile, "extra": dict(self.extra), "nodes": nodes}
        part = self.folder / "cluster.json.part"
        part.write_text(json.dumps(state, indent=2) + "\n")
        part.replace(self.folder / "cluster.json")

    def start_node(self, node_id: int) -> None:
        """Starts one node that is down; does not wait for it."""
        found = installed()
        if found is None:
            raise SettingsError("Apache Kafka is not installed.", fix="Run `twinstack kafka install`.")
        node = self.node(node_id)
        if not node.running:
            start_process(found, self, node)
            self.save()

    def kill(self, node_id: int) -> None:
        """kill -9, and waits until the process is gone."""
        node = self.node(node_id)
        if node.signal(signal.SIGKILL):
            assert node.pid is not None
            process.wait_gone(node.pid, node.mark, STOP_TIMEOUT_S)

    def suspend(self, node_id: int) -> None:
        """A node that hangs: its connections stay open, nothing answers."""
        self.node(node_id).signal(signal.SIGSTOP)

    def resume(self, node_id: int) -> None:
        self.node(node_id).signal(signal.SIGCONT)

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Returns when every node is a registered broker and a leader takes topics. Errors: FatalLogError with the
        last lines of a node that ended, TimedOut."""
        from twinstack.log.kafka.facade import brokers_of

        deadline = time.monotonic() + timeout_s
        while brokers_of(self.bootstrap, timeout_s=1.0) < len(self.nodes):
            for node in self.nodes:
                if not node.running:
                    raise FatalLogError(
                        f"Kafka's node {node.address.id} ended while starting:\n{node.last_lines()}",
                        fix=f"See {node.log_file}.",
                    )
            if time.monotonic() > deadline:
                raise TimedOut(
                    f"Kafka did not answer at {self.bootstrap} within {timeout_s:.0f} s.",
                    fix=f"See {self.nodes[0].log_file}.",
                )
            time.sleep(0.1)


def load_cluster(folder: Path) -> Cluster | None:
    try:
        state = json.loads((folder / "cluster.json").read_text())
    except FileNotFoundError:
        return None
    nodes = [
        Node(Address(n["id"], n["port"], n["controller_port"]), folder / f"node-{n['id']}", n["pid"])
        for n in state["nodes"]
    ]
    return Cluster(folder, state["cluster_id"], nodes, state["profile"], state["extra"])


def start_process(installation: Installation, cluster: Cluster, node: Node) -> None:
    node.folder.mkdir(exist_ok=True)
    data = node.folder / "data"
    addresses = [n.address for n in cluster.nodes]
    text = server_properties(node.address, addresses, data, profile=cluster.profile, extra=cluster.extra)
    Path(node.mark).write_text(text)
    if not (data / "meta.properties").exists():
        _format(installation, cluster.cluster_id, node.mark)
    jvm = [
        *JVM[cluster.profile],
        *cluster.jvm,
        f"-Dlog4j2.configurationFile={installation.log4j}",
    ]
    if installation.archive.exists() and not cluster.jvm:
        jvm += [f"-XX:SharedArchiveFile={installation.archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
    node.pid = process.spawn(installation.command("kafka.Kafka", [node.mark], jvm), node.log_file)


def _format(installation: Installation, cluster_id: str, settings: str) -> None:
    done = installation.run("kafka.tools.StorageTool", ["format", "-t", cluster_id, "-c", settings])
    if done.returncode != 0:
        told = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise FatalLogError(f"Kafka could not format its storage: {told[-500:]}", fix=f"See {settings}.")


def stop_nodes(nodes: Sequence[Node], timeout_s: float) -> None:
    """SIGTERM to all; SIGKILL to those that hang until the time is over, or that wait in vain for a quorum which the
    others took with them."""
    for node in nodes:
        node.signal(signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    left = [node for node in nodes if node.running]
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        still = [node for node in left if node.running]
        if len(still) < len(left) and 0 < len(still) <= len(nodes) // 2:
            deadline = min(deadline, time.monotonic() + QUORUM_LOST_S)
        left = still
    for node in left:
        node.signal(signal.SIGKILL)
        assert node.pid is not None
        process.wait_gone(node.pid, node.mark, 5.0)
    for node in nodes:
        node.pid = None
