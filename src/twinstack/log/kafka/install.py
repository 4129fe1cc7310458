"""Apache Kafka on this machine: its jars from Maven Central, once, in a cache that parallel calls may share.

Everything stands in `${TWINSTACK_CACHE:-~/.cache/twinstack}/kafka-<version>`: `lib/*.jar`, the `pom.xml` they came from
and, per Java version, a class archive that halves the time of a start (AppCDS; without it all works the same).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from twinstack.core.errors import SettingsError, StorageFull, Unreachable

KAFKA_VERSION = "4.4.0"
JAVA_VERSION_MIN = 17
INSTALL_BYTES_MIN = 300 * 1024 * 1024
MAVEN_TIMEOUT_S = 900

Progress = Callable[[str], None]
"""Called with one short line per step."""

RESOURCES = resources.files(__package__) / "resources"


def silent(line: str) -> None:
    """A Progress that tells nobody."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Jars that are there, and the Java that runs them."""

    folder: Path
    java: Path
    java_version: str

    @property
    def archive(self) -> Path:
        """The class archive: valid for exactly one Java build, so its name says which."""
        return self.folder / f"classes-{self.java_version}.jsa"

    @property
    def log4j(self) -> Path:
        return self.folder / "log4j2.properties"

    def command(self, main: str, args: Sequence[str], jvm: Sequence[str] = ()) -> list[str]:
        """The command line of a Java main class. The classpath is sorted: an archive is bound to its order."""
        jars = ":".join(str(jar) for jar in sorted((self.folder / "lib").glob("*.jar")))
        return [str(self.java), *jvm, "-cp", jars, main, *args]

    def run(
        self, main: str, args: Sequence[str], *, stdin: bytes | None = None, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a short-lived tool to its end; a time-out raises subprocess.TimeoutExpired."""
        log4j = f"-Dlog4j2.configurationFile={self.folder / 'log4j2-tools.properties'}"
        jvm = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:disable", log4j]
        if self.archive.exists():
            jvm.append(f"-XX:SharedArchiveFile={self.archive}")
        return subprocess.run(
            self.command(main, args, jvm), input=stdin, capture_output=True, timeout=timeout_s, check=False
        )


def cache_folder(env: Mapping[str, str] = os.environ) -> Path:
    return Path(env.get("TWINSTACK_CACHE") or "~/.cache/twinstack").expanduser()


def installed() -> Installation | None:
    """The installation, None when the jars are not there. Errors: SettingsError without a fitting Java."""
    folder = cache_folder() / f"kafka-{KAFKA_VERSION}"
    pom = folder / "pom.xml"
    if not pom.exists() or pom.read_bytes() != (RESOURCES / "pom.xml").read_bytes():
        return None
    java, version = find_java()
    return Installation(folder, java, version)


def load(progress: Progress = silent) -> Installation:
    """Brings the jars if they are not there (about 45 MB, 5-60 s). May be called by many processes at once.

    Errors: SettingsError (no Java, no Maven), Unreachable (Maven could not load), StorageFull.
    """
    found = installed()
    if found:
        return found
    java, version = find_java()
    maven = _find_maven()
    folder = cache_folder() / f"kafka-{KAFKA_VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f"{folder.name}.lock")):
        found = installed()
        if found:
            return found
        check_space(folder.parent, INSTALL_BYTES_MIN)
        progress(f"Loading Apache Kafka {KAFKA_VERSION} from Maven Central (45 MB)")
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            _load_jars(maven, part)
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        progress(f"Apache Kafka {KAFKA_VERSION} is in {folder}")
    return Installation(folder, java, version)


def _load_jars(maven: str, part: Path) -> None:
    part.mkdir()
    for name in ("pom.xml", "log4j2.properties", "log4j2-tools.properties"):
        (part / name).write_bytes((RESOURCES / name).read_bytes())
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={part / 'lib'}", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(
            [maven, "-q", "-B", "-f", str(part / "pom.xml"), *goal],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MAVEN_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(
            f"Maven did not load Apache Kafka within {MAVEN_TIMEOUT_S} s.",
            fix="Check the network and the proxy settings in ~/.m2/settings.xml, then repeat.",
        ) from None
    if done.returncode != 0:
        raise Unreachable(
            f"Maven could not load Apache Kafka: {_last_error(done.stdout + done.stderr)}",
            fix="Check the network and the proxy settings in ~/.m2/settings.xml, then repeat.",
        )


def _last_error(output: bytes) -> str:
    lines = [line for line in output.decode(errors="replace").splitlines() if "ERROR" in line]
    return lines[0].removeprefix("[ERROR] ")[:500] if lines else "it gave no reason."


def find_java(env: Mapping[str, str] = os.environ) -> tuple[Path, str]:
    """`java` of JAVA_HOME, else of PATH, and its full version. Errors: SettingsError."""
    fix = "Debian and Ubuntu: apt-get install default-jre-headless. Or set JAVA_HOME."
    home = env.get("JAVA_HOME")
    path = str(Path(home, "bin", "java")) if home else shutil.which("java", path=env.get("PATH"))
    if not path or not Path(path).exists():
        raise SettingsError(f"Java {JAVA_VERSION_MIN} or later is not installed.", fix=fix)
    told = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    match = re.search(r'version "((\d+)[^"]*)"', told)
    if not match or int(match[2]) < JAVA_VERSION_MIN:
        version = match[1] if match else "of an unknown version"
        raise SettingsError(f"{path} is Java {version}; Kafka needs {JAVA_VERSION_MIN} or later.", fix=fix)
    build = re.search(r"\(build ([^),\s]+)", told)
    return Path(path), build[1] if build else match[1]


def _find_maven() -> str:
    maven = shutil.which("mvn")
    if not maven:
        raise SettingsError("Maven is not installed; it loads Apache Kafka.", fix="apt-get install maven")
    return maven


def check_space(folder: Path, bytes_min: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < bytes_min:
        raise StorageFull(
            f"{folder} has {free // 2**20} MB free, {bytes_min // 2**20} MB are needed.",
            fix="Free some space or choose another folder (TWINSTACK_CACHE for the jars, --dir for the data).",
        )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file: one process at a time. The system frees it when its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
