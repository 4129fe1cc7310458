"""Apache Kafka on this machine for users, tests and measurements: one node or three, started, stopped, tested.

    install() -> jars in the cache        start(nodes, folder, ports) -> Cluster       status(folder), stop(folder)
    test(folder) -> a round trip          tool(name, *args) -> Kafka's own console tools

A cluster is a folder: `cluster.json` names its nodes, ports and process ids; `node-<id>/` holds each node's settings,
data and `kafka.log`. Nodes listen on 127.0.0.1 without encryption: a place to try things, never to be exposed.
"""

from __future__ import annotations

import base64
import random
import socket
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from twinstack.core.errors import Conflict, FatalLogError, NotFound, SettingsError, TimedOut, TwinstackError
from twinstack.log.kafka.cluster import (
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    Cluster,
    Node,
    load_cluster,
    start_process,
    stop_nodes,
)
from twinstack.log.kafka.install import Installation, Progress, check_space, load, locked, silent
from twinstack.log.kafka.properties import HOST, Address, Profile
from twinstack.log.kafka.roundtrip import round_trip
from twinstack.log.kafka.tools import TOOLS, tool

__all__ = [
    "DEFAULT_FOLDER",
    "DEFAULT_PORTS",
    "TOOLS",
    "Cluster",
    "ClusterStatus",
    "find",
    "free_ports",
    "install",
    "start",
    "status",
    "stop",
    "test",
    "tool",
]

DEFAULT_FOLDER = Path("~/.local/share/twinstack/kafka")
DEFAULT_PORTS = (9092, 9093, 9094)
DATA_BYTES_MIN = 500 * 1024 * 1024
# Below the range from which the system takes the ports of outgoing connections (32768 on Linux).
_FREE_PORTS = range(20_000, 32_000)


def install(progress: Progress = silent) -> Installation:
    """Brings the jars (45 MB, 5-60 s) and prepares faster starts (10 s), each once; many processes may call it.

    Errors: SettingsError (no Java 17, no Maven: the apt package is named), Unreachable (Maven), StorageFull.
    """
    installation = load(progress)
    if installation.archive.exists():
        return installation
    with locked(installation.folder / "archive.lock"):
        if not installation.archive.exists():
            progress("Preparing faster starts (once, about 10 s)")
            try:
                _make_archive(installation)
            except TwinstackError as error:
                progress(f"Kafka will start without a class archive: {error.message.splitlines()[0]}")
    return installation


def _make_archive(installation: Installation) -> None:
    """Java writes the classes of a node that served some traffic into an archive when it ends (AppCDS)."""
    part = installation.archive.with_suffix(".part")
    with tempfile.TemporaryDirectory(prefix="twinstack-kafka-") as name:
        folder = Path(name)
        cluster = _create(folder, 1, free_ports(1), "small", {})
        cluster.jvm = (f"-XX:ArchiveClassesAtExit={part}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
        start_process(installation, cluster, cluster.nodes[0])
        try:
            cluster.wait_ready()
            round_trip(cluster.bootstrap)
        finally:
            stop_nodes(cluster.nodes, 60.0)
    if part.exists():
        part.replace(installation.archive)


def start(
    nodes: int | None = None,
    folder: Path | str = DEFAULT_FOLDER,
    ports: Sequence[int] | None = None,
    *,
    progress: Progress = silent,
    profile: Profile = "small",
    extra: Mapping[str, str] | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Cluster:
    """Installs Kafka if need be, starts the nodes and waits until they answer. A running cluster is left as it is.

    `nodes` 1 (default) or 3, on `ports` (default 9092, 9093, 9094); a folder keeps its number of nodes and, unless
    `ports` says otherwise, its ports. `extra` are lines of server.properties for this cluster.
    Errors: Conflict (port taken, other number of nodes), SettingsError, StorageFull, Unreachable, FatalLogError,
    TimedOut.
    """
    installation = load(progress)
    folder = Path(folder).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "cluster.lock"):
        cluster = load_cluster(folder)
        if cluster and nodes not in (None, len(cluster.nodes)):
            raise Conflict(
                f"{folder} holds a cluster of {len(cluster.nodes)} nodes, {nodes} were asked for.",
                fix="Choose another folder, or delete this one when its data is not needed.",
            )
        if cluster is None:
            cluster = _create(folder, nodes or 1, ports, profile, extra or {})
        elif not any(node.running for node in cluster.nodes):
            cluster.profile, cluster.extra = profile, extra or {}
            _readdress(cluster, ports)
        down = [node for node in cluster.nodes if not node.running]
        if not down:
            progress(f"Kafka is running already at {cluster.bootstrap}")
        else:
            check_space(folder, DATA_BYTES_MIN)
            _check_ports(port for node in down for port in (node.address.port, node.address.controller_port))
            started = time.monotonic()
            for node in down:
                progress(f"Starting node {node.address.id} on {HOST}:{node.address.port}")
                start_process(installation, cluster, node)
                cluster.save()
        try:
            cluster.wait_ready(timeout_s)
        except (FatalLogError, TimedOut):
            stop_nodes(down, STOP_TIMEOUT_S)
            raise
        if down:
            progress(f"Kafka answers at {cluster.bootstrap} after {time.monotonic() - started:.1f} s")
    return cluster


def stop(folder: Path | str = DEFAULT_FOLDER, *, progress: Progress = silent, timeout_s: float = STOP_TIMEOUT_S) -> int:
    """Stops what `start` started in this folder, by the recorded process ids; returns how many nodes ran."""
    folder = Path(folder).expanduser().absolute()
    if not folder.exists():
        return 0
    with locked(folder / "cluster.lock"):
        cluster = load_cluster(folder)
        running = [node for node in cluster.nodes if node.running] if cluster else []
        for node in running:
            progress(f"Stopping node {node.address.id} (process {node.pid})")
        stop_nodes(running, timeout_s)
        if cluster:
            cluster.save()
    return len(running)


def test(folder: Path | str = DEFAULT_FOLDER, *, progress: Progress = silent) -> int:
    """Proves that a running cluster works: makes a topic, writes records, reads them back with our client and with
    Kafka's own console consumer, deletes the topic; returns the number of records.

    Errors: NotFound (never started), Unreachable (not running), CheckFailed with what differed.
    """
    cluster = find(folder)
    count = round_trip(cluster.bootstrap, progress=progress, console=True)
    progress(f"Kafka at {cluster.bootstrap} works: {count} records written and read back")
    return count


@dataclass(frozen=True, slots=True)
class NodeStatus:
    id: int
    address: str
    pid: int | None
    running: bool


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """`answers` counts the brokers that are registered; equal to `len(nodes)` when all is well."""

    folder: str
    bootstrap: str
    nodes: list[NodeStatus]
    answers: int

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def status(folder: Path | str = DEFAULT_FOLDER) -> ClusterStatus:
    """Errors: NotFound when no cluster was ever started in this folder."""
    from twinstack.log.kafka.facade import brokers_of

    cluster = find(folder)
    nodes = [NodeStatus(n.address.id, f"{HOST}:{n.address.port}", n.pid, n.running) for n in cluster.nodes]
    answers = brokers_of(cluster.bootstrap, timeout_s=2.0) if any(n.running for n in nodes) else 0
    return ClusterStatus(str(cluster.folder), cluster.bootstrap, nodes, answers)


def find(folder: Path | str = DEFAULT_FOLDER) -> Cluster:
    """The cluster of a folder, running or not. Errors: NotFound."""
    folder = Path(folder).expanduser().absolute()
    cluster = load_cluster(folder)
    if cluster is None:
        raise NotFound(f"No Kafka was started in {folder}.", fix="Run `twinstack kafka start`.")
    return cluster


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens now, outside the range of outgoing connections; chosen at random, so that two
    callers hardly meet."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_FREE_PORTS)  # noqa: S311  no secret
        if port not in found and _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _check_ports(ports: Iterable[int]) -> None:
    taken = [str(port) for port in ports if not _is_free(port)]
    if taken:
        raise Conflict(
            f"Another program listens on port {', '.join(taken)} of {HOST}.",
            fix="Stop it (`ss -ltnp` names it) or choose other ports.",
            ports=taken,
        )


def _create(
    folder: Path, count: int, ports: Sequence[int] | None, profile: Profile, extra: Mapping[str, str]
) -> Cluster:
    if count not in (1, 3):
        raise SettingsError(f"A cluster has 1 or 3 nodes, not {count}.", fix="Use --nodes 1 or --nodes 3.")
    # Kafka's spelling of a UUID: 22 characters of base64, of which the first must not be a dash.
    cluster_id = "t" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
    nodes = [
        Node(Address(i + 1, port, controller), folder / f"node-{i + 1}")
        for i, (port, controller) in enumerate(zip(_ports(count, ports), free_ports(count), strict=True))
    ]
    return Cluster(folder, cluster_id, nodes, profile, dict(extra))


def _ports(count: int, ports: Sequence[int] | None) -> Sequence[int]:
    chosen = DEFAULT_PORTS[:count] if ports is None else ports
    if len(set(chosen)) != count:
        raise SettingsError(f"{count} nodes need {count} different ports, got {list(chosen)}.")
    return chosen


def _readdress(cluster: Cluster, ports: Sequence[int] | None) -> None:
    """New client ports if asked for; a controller port that another program took meanwhile is replaced."""
    count = len(cluster.nodes)
    chosen = [node.address.port for node in cluster.nodes] if ports is None else _ports(count, ports)
    for node, port in zip(cluster.nodes, chosen, strict=True):
        controller = node.address.controller_port
        node.address = Address(node.address.id, port, controller if _is_free(controller) else free_ports(1)[0])
