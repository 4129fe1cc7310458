"""Clients of other parties, unmodified from PyPI, each in a virtual environment of its own in the cache.

They cannot share one: some pin old versions, two bring the same module, one needs a newer Python. An environment is
made once for each lock file (`requirements/clients`), with hashes; without network or Python its test is skipped, and
says so.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.server_under_test import Server, server

from twinstack.log.kafka.install import cache_folder

ROOT = Path(__file__).parents[3]
PROGRAMS = Path(__file__).parent / "programs"


def python_313() -> str | None:
    """A Python of at least 3.13: this one, one of the PATH, or one of pyenv."""
    if sys.version_info >= (3, 13):
        return sys.executable
    versions = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"
    found = [shutil.which("python3.13"), shutil.which("python3.14"), *versions.glob("3.1[34]*/bin/python3")]
    for candidate in filter(None, map(str, filter(None, found))):
        check = "import sys; assert (3, 13) <= sys.version_info < (3, 15)"
        if subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def environment(client: str, python: str) -> Path:
    """The Python of the client's environment, made when it is missing or its lock file has changed."""
    lock = ROOT / "requirements" / "clients" / f"{client}.lock"
    digest = hashlib.sha256(lock.read_bytes() + python.encode()).hexdigest()[:12]
    folder = cache_folder() / "clients" / f"{client}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{client}.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run([python, "-m", "venv", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
            _run([*pip, "install", "--require-hashes", "-r", str(lock)])
            (folder / "complete").touch()
    return folder / "bin" / "python"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"CLIENT NOT INSTALLED: {' '.join(command[-4:])}: {done.stderr.strip()[-500:]}")


@pytest.fixture(scope="session")
def on(tmp_path_factory: pytest.TempPathFactory):
    with server(tmp_path_factory.mktemp("clients") / "data") as running:
        yield running


@pytest.fixture
def run_client(on: Server, tmp_path: Path) -> Callable[..., None]:
    def run(client: str, program: str, *options: str, python: str | None = sys.executable) -> None:
        if python is None:
            pytest.skip(f"CLIENT NOT INSTALLED: {client} needs Python 3.13, and there is none")
        done = subprocess.run(
            [str(environment(client, python)), str(PROGRAMS / program), f"{on.url}/v1.1", *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
            cwd=tmp_path,  # stapy keeps its settings in the folder it runs in
            env={"PATH": os.environ["PATH"], "NO_PROXY": "*", "HOME": str(tmp_path)},
        )
        assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["ok"]), done.stdout + done.stderr

    return run
