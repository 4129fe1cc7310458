"""`twinstack kafka install|start|stop|status|test`: Apache Kafka on this machine, to try things."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinstack.cli.output import Json, emit_json, emit_lines, emit_rows, hint

if TYPE_CHECKING:
    from twinstack.log.kafka.cluster import Cluster

group = typer.Typer(help="Apache Kafka on this machine (needs Java 17 and Maven).", no_args_is_help=True)

Dir = Annotated[Path | None, typer.Option("--dir", help="Folder of the cluster.", show_default="in ~/.local/share")]


@group.command("install")
def install(as_json: Json = False) -> None:
    """Load Apache Kafka from Maven Central into the cache (45 MB, once)."""
    from twinstack.log.kafka import node

    found = node.install(hint)
    if as_json:
        emit_json({"folder": str(found.folder), "java": str(found.java), "java_version": found.java_version})
    else:
        emit_lines(f"Apache Kafka is in {found.folder}, run by Java {found.java_version}")


@group.command("start")
def start(
    nodes: Annotated[int | None, typer.Option("--nodes", help="1 or 3 nodes.", show_default="1")] = None,
    folder: Dir = None,
    port: Annotated[
        list[int] | None, typer.Option("--port", help="Port of each node.", show_default="9092 ...")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start one or three nodes and wait until they answer; a running cluster is left as it is."""
    from twinstack.log.kafka import node

    _show(node.start(nodes, folder or node.DEFAULT_FOLDER, port or None, progress=hint), as_json)


@group.command("stop")
def stop(folder: Dir = None, as_json: Json = False) -> None:
    """Stop the nodes that were started in the folder."""
    from twinstack.log.kafka import node

    stopped = node.stop(folder or node.DEFAULT_FOLDER, progress=hint)
    if as_json:
        emit_json({"stopped": stopped})
    else:
        emit_lines("Nothing was running." if not stopped else f"Stopped {stopped} node{'s' if stopped > 1 else ''}.")


@group.command("status")
def status(folder: Dir = None, as_json: Json = False) -> None:
    """Show the nodes of a cluster and how many of them answer."""
    from twinstack.log.kafka import node

    found = node.status(folder or node.DEFAULT_FOLDER)
    if as_json:
        emit_json(found.as_dict())
    else:
        rows = [{"node": n.id, "address": n.address, "pid": n.pid, "running": n.running} for n in found.nodes]
        emit_rows(rows, ("node", "address", "pid", "running"), as_json=False)
        hint(f"{found.answers} of {len(found.nodes)} brokers answer at {found.bootstrap}")


@group.command("test")
def test(folder: Dir = None, as_json: Json = False) -> None:
    """Send a record through the running cluster and read it back."""
    from twinstack.log.kafka import node

    records = node.test(folder or node.DEFAULT_FOLDER, progress=hint)
    if as_json:
        emit_json({"ok": True, "records": records})
    else:
        emit_lines(f"ok: {records} records written and read back")


def _show(cluster: Cluster, as_json: bool) -> None:
    if as_json:
        rows = [{"id": n.address.id, "port": n.address.port, "pid": n.pid} for n in cluster.nodes]
        emit_json({"bootstrap": cluster.bootstrap, "folder": str(cluster.folder), "nodes": rows})
    else:
        emit_lines(cluster.bootstrap)
