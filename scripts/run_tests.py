"""Runs all tests and ends with the line `N passed, N failed, N skipped`.

The unit tests run while system packages (Java, Maven, Chromium, PostgreSQL) and Kafka's jars are installed beside them;
the suites that need those follow. SIGTERM or a suite over its limit prints the stack of what hangs and ends its
children.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITES = ("unit", "contract", "conformance", "integration", "browser", "faults")
SUITE_S_MAX = 40 * 60
PACKAGES = {  # command, or the files that the package brings: Debian package
    "java": "default-jre-headless",
    "mvn": "maven",
    "chromium": "chromium",
    "/usr/lib/postgresql/*/bin/initdb": "postgresql-15",
    "/usr/share/postgresql/*/extension/postgis.control": "postgresql-15-postgis-3",
}


def _is_there(command: str) -> bool:
    if command.startswith("/"):
        return any(Path("/").glob(command.lstrip("/")))
    return shutil.which(command) is not None


def install_system_packages(report: list[str]) -> None:
    """As root on Debian installs what is missing; otherwise says what to install. Tests that miss it skip by name."""
    missing = [package for command, package in PACKAGES.items() if not _is_there(command)]
    if not missing:
        return
    line = f"apt-get install {' '.join(missing)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        report.append(f"Missing, so the tests that need it are skipped: run as root: {line}")
        return
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
    ):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            report.append(f"{' '.join(command)} failed: {done.stderr.strip()[-400:]}")


class Suites:
    """Runs pytest suite by suite in processes of their own group and adds up what they say."""

    def __init__(self, slow: bool, extra: list[str]) -> None:
        self.slow, self.extra = slow, extra
        self.passed = self.failed = self.skipped = 0
        self.skips: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, suite: str) -> None:
        if not list((ROOT / "tests" / suite).rglob("test_*.py")):
            return
        print(f"--- tests/{suite}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            xml = Path(folder) / "result.xml"
            command = [sys.executable, "-m", "pytest", f"tests/{suite}", f"--junit-xml={xml}", *self.extra]
            command += [] if self.slow else ["-m", "not slow"]
            env = {**os.environ, "PYTHONFAULTHANDLER": "1"}
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True)
            try:
                code = self.process.wait(SUITE_S_MAX)
            except subprocess.TimeoutExpired:
                self.stop(f"tests/{suite} ran longer than {SUITE_S_MAX // 60} minutes")
                code = 1
            self.add(suite, code, xml)

    def add(self, suite: str, code: int, xml: Path) -> None:
        if not xml.exists():
            if code != 5:  # 5: the suite holds no test that this run selects
                self.failed += 1
            return
        for case in ET.parse(xml).getroot().iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed += 1
            elif (skip := case.find("skipped")) is not None:
                self.skipped += 1
                self.skips.append(f"{case.get('classname')}.{case.get('name')}: {skip.get('message')}")
            else:
                self.passed += 1
        if code not in (0, 1, 5):
            self.failed += 1
            print(f"tests/{suite} ended with exit code {code}", flush=True)

    def stop(self, why: str) -> None:
        """Prints the stack of the running suite (faulthandler on SIGABRT) and ends its whole process group."""
        if self.process is None or self.process.poll() is not None:
            return
        print(f"{why}; the stack of what hung:", flush=True)
        self.process.send_signal(signal.SIGABRT)
        time.sleep(2)
        with_group = os.getpgid(self.process.pid) if self.process.poll() is None else self.process.pid
        try:
            os.killpg(with_group, signal.SIGKILL)
        except ProcessLookupError:
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", action="store_true", help="also the tests marked slow")
    parser.add_argument("suites", nargs="*", default=SUITES, help=f"of {', '.join(SUITES)}")
    known, extra = parser.parse_known_args()
    suites = Suites(known.slow, [e for e in extra if e != "--"])

    def on_term(_signal: int, _frame: object) -> None:
        suites.stop("Stopped by SIGTERM")
        print(f"{suites.passed} passed, {suites.failed + 1} failed, {suites.skipped} skipped", flush=True)
        os._exit(1)

    signal.signal(signal.SIGTERM, on_term)
    started = time.monotonic()
    notes: list[str] = []
    installer = threading.Thread(target=install_system_packages, args=(notes,), daemon=True)
    installer.start()
    for suite in known.suites:
        if suite != "unit":
            installer.join()
        suites.run(re.sub(r"^tests/", "", suite))
    for note in notes:
        print(note)
    for skip in suites.skips:
        print(f"skipped {skip}")
    print(f"in {time.monotonic() - started:.0f} s")
    print(f"{suites.passed} passed, {suites.failed} failed, {suites.skipped} skipped", flush=True)
    return 1 if suites.failed or not suites.passed else 0


if __name__ == "__main__":
    sys.exit(main())
