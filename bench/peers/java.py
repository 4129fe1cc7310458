"""Peers in Java: their jars from Maven Central and their compiled classes, once, in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from twinstack.core.errors import SettingsError
from twinstack.log.kafka.install import cache_folder, find_java

SOURCES = Path(__file__).parent / "kafka_streams"
HEAP = "-Xmx1g"


def command(main: str, *args: str) -> list[str]:
    """The command line of one of the programs in `kafka_streams/`, which loads and compiles them at first use
    (needs Maven and a JDK: default-jdk-headless). Errors: SettingsError."""
    java, _ = find_java()
    folder = _built()
    return [str(java), HEAP, "-cp", f"{folder / 'classes'}:{folder / 'lib'}/*", main, *args]


def _built() -> Path:
    sources = sorted(SOURCES.glob("*.java"))
    pom = SOURCES / "pom.xml"
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in (*sources, pom))).hexdigest()[:16]
    folder = cache_folder() / f"bench-peers-{digest}"
    if folder.exists():
        return folder
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        copy = [
            "-q",
            "-B",
            "-f",
            str(shutil.copy(pom, part)),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={part / 'lib'}",
            "-DincludeScope=runtime",
        ]
        _run([_tool("mvn", "maven"), *copy])
        classes = [str(path) for path in sources]
        _run([_tool("javac", "default-jdk-headless"), "--release", "17", "-d", str(part / "classes"), "-cp",
              f"{part / 'lib'}/*", *classes])  # fmt: skip
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _tool(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise SettingsError(f"{name} is not installed; the peers in Java need it.", fix=f"apt-get install {package}")
    return path


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise SettingsError(f"{command[0]} failed: {(done.stdout + done.stderr)[-800:]}", fix="Repeat it online.")
