"""Kafka on this machine: started, found again, stopped; only its own processes are touched."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli_shapes import check
from services.kafka import running_kafka
from twinstack.core.errors import Conflict, NotFound, SettingsError, StorageFull, Unreachable
from twinstack.log.kafka import install, node, process

pytestmark = pytest.mark.kafka


def test_a_cluster_is_started_tested_found_and_stopped(tmp_path: Path) -> None:
    steps: list[str] = []
    with running_kafka(tmp_path) as cluster:
        assert cluster.running
        told = node.status(tmp_path)
        assert (told.bootstrap, told.answers) == (cluster.bootstrap, 1)
        assert [each.running for each in told.nodes] == [True]
        assert_groups_of_a_new_cluster_are_asked_safely(cluster.bootstrap)
        assert node.test(tmp_path, progress=steps.append) == 100
        assert any("console consumer" in step for step in steps)
        again = node.start(1, tmp_path, progress=steps.append)
        assert again.nodes[0].pid == cluster.nodes[0].pid  # it ran already
        with pytest.raises(Conflict, match="1 nodes, 3 were asked for"):
            node.start(3, tmp_path)
        with pytest.raises(Conflict, match=str(cluster.nodes[0].address.port)):
            node.start(1, tmp_path / "other", [cluster.nodes[0].address.port])
        assert_printed_shapes(tmp_path)
        assert not cluster.running
        assert node.stop(tmp_path) == 0
        with pytest.raises(Unreachable):
            node.test(tmp_path)


def assert_printed_shapes(folder: Path) -> None:
    """Of the commands, at a cluster that runs; the last one stops it."""
    for name in ("install", "start", "status", "test", "stop"):
        command = [sys.executable, "-m", "twinstack.cli.main", "kafka", name, "--json"]
        command += [] if name == "install" else ["--dir", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert check(f"kafka {name}", done.stdout)


def assert_groups_of_a_new_cluster_are_asked_safely(bootstrap: str) -> None:
    """The first question for a group makes Kafka's topic of offsets, and until that is there its answer is 'not
    coordinator': librdkafka's admin client crashed the process then, so the question is put by a process of its own."""
    code = f"""
from twinstack.log.kafka import KafkaLog
from twinstack.log.seam import TopicSpec
admin = KafkaLog("{bootstrap}").admin()
admin.create_topics([TopicSpec("first", 2), TopicSpec("second")])
assert admin.group_offsets("nobody") == {{}}
admin.delete_topics(["first", "second"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_process_that_is_not_ours_is_never_stopped(tmp_path: Path) -> None:
    """The id of a dead node may belong to another program by now."""
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    state = {
        "cluster_id": "x",
        "profile": "small",
        "extra": {},
        "nodes": [{"id": 1, "port": 1, "controller_port": 2, "pid": stranger.pid}],
    }
    (tmp_path / "cluster.json").write_text(json.dumps(state))
    try:
        assert node.stop(tmp_path) == 0
        assert stranger.poll() is None
    finally:
        stranger.communicate(b"\n", timeout=10)


def test_a_child_that_ended_is_gone_although_nobody_waited(tmp_path: Path) -> None:
    mark = "a-mark-of-ours"
    pid = process.spawn([sys.executable, "-c", "pass", mark], tmp_path / "out")
    assert process.wait_gone(pid, mark, 10.0)
    assert not process.is_running(pid, mark)


def test_never_started(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        node.status(tmp_path / "nothing")
    assert node.stop(tmp_path / "nothing") == 0


def test_a_cluster_has_one_or_three_nodes(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="1 or 3"):
        node.start(2, tmp_path)


def test_free_ports_are_free_and_different() -> None:
    ports = node.free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_without_java_the_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="default-jre-headless"):
        install.find_java({"PATH": str(tmp_path)})


def test_an_old_java_is_refused(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    with pytest.raises(SettingsError, match="is Java 11"):
        install.find_java({"JAVA_HOME": str(tmp_path), "PATH": os.environ["PATH"]})


def test_without_maven_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java, _ = install.find_java()
    monkeypatch.setenv("TWINSTACK_CACHE", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(java.resolve().parent.parent))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="apt-get install maven"):
        install.load()


def test_a_maven_that_fails_tells_its_reason_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho '[ERROR] Could not transfer artifact: no route'\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("TWINSTACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{maven.parent}:{os.environ['PATH']}")
    with pytest.raises(Unreachable, match="Could not transfer artifact: no route"):
        install.load()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"kafka-{install.KAFKA_VERSION}.lock"]


def test_a_full_disk_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(StorageFull, match="TWINSTACK_CACHE"):
        install.check_space(tmp_path, 2**60)
