"""The data folder: who made it, which one server holds it, and where that server listens.

<data>/folder.json   {"mode", "instance", "created_at"}: written once; decides which mode may use the folder
<data>/lock          held (flock) by the running server: the kernel releases it whatever ends the process
<data>/server.json   {"pid", "started_at", "port", "url", "mode", "token", "log"}, 0600: how to find and stop the server
<data>/log.sqlite, store.sqlite, twinstack.toml, logs/, kafka/
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

from twinstack.core.errors import Conflict, NotFound
from twinstack.core.settings import FILE_NAME
from twinstack.platform.policy import Mode

_STARTED_TOLERANCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """The server that holds a folder; `started_at` (s since 1970) tells its process from a later one with its pid."""

    pid: int
    started_at: float
    port: int
    url: str
    mode: str
    token: str
    log: str

    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at) < _STARTED_TOLERANCE_S
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


class Folder:
    """One data folder, opened for one mode. `acquire` takes it for this process; nothing is written before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @property
    def log_path(self) -> Path:
        return self.path / "log.sqlite"

    @property
    def logs_path(self) -> Path:
        return self.path / "logs"

    def mode(self) -> Mode | None:
        """The mode that made the folder, None for a folder that is missing or empty.

        Errors: Conflict for a folder with files of others.
        """
        try:
            return Mode(json.loads((self.path / "folder.json").read_text(encoding="utf-8"))["mode"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):
            raise Conflict(f"{self.path / 'folder.json'} is damaged.", fix="Restore it from a backup.") from None
        # A settings file may be put there before the first start, or a store be imported.
        before = (FILE_NAME, "lock", "store.sqlite", "store.sqlite-wal", "store.sqlite-shm")
        if self.path.exists() and any(p.name not in before for p in self.path.iterdir()):
            raise Conflict(
                f"{self.path} holds files that twinstack did not make.", fix="Name an empty folder with --data."
            )
        return None

    def acquire(self, mode: Mode) -> None:
        """Takes the folder for this process. Errors: Conflict when a server runs on it or another mode made it."""
        made_by = self.mode()
        if made_by is not None and made_by is not mode:
            raise Conflict(
                f"{self.path} was made by `{command_of(made_by)}`, this is `{command_of(mode)}`.",
                fix="Name another folder with --data, or start the command that made it.",
            )
        # Log and logs hold what companies sent: nobody else on the machine reads them.
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.logs_path.mkdir(exist_ok=True)
        lock = (self.path / "lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise self._held() from None
        self._lock = lock
        if made_by is None:
            marker = {"mode": str(mode), "instance": secrets.token_hex(8)}
            _write(self.path / "folder.json", marker, 0o644)

    def _held(self) -> Conflict:
        other = self.running()
        where = f" (pid {other.pid}, {other.url})" if other else ""
        return Conflict(
            f"A server already runs on {self.path}{where}.",
            fix=f"Use it, stop it with `twinstack down --data {self.path}`, or name another folder with --data.",
        )

    def announce(self, port: int, mode: Mode, token: str, log: str) -> Running:
        """Writes server.json for `down`, `doctor` and other commands."""
        url = f"http://localhost:{port}"
        running = Running(os.getpid(), psutil.Process().create_time(), port, url, mode, token, log)
        _write(self.path / "server.json", asdict(running), 0o600)
        return running

    def running(self) -> Running | None:
        """The live server of this folder, None when there is none (a stale server.json counts as none)."""
        try:
            found = Running(**json.loads((self.path / "server.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return found if found.alive() else None

    def release(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.path / "server.json").unlink()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def delete(self) -> None:
        """Removes the folder and all its data. Errors: NotFound, Conflict when it is in use or not ours."""
        if not self.path.exists():
            raise NotFound(f"There is no folder {self.path}.", fix="Name the folder with --data.")
        if self.mode() is None:
            raise Conflict(f"{self.path} was not made by twinstack.", fix="Name the right folder with --data.")
        lock = (self.path / "lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.path)
        except BlockingIOError:
            raise self._held() from None
        finally:
            lock.close()


def command_of(mode: Mode) -> str:
    return {Mode.UP: "twinstack up", Mode.OPEN: "twinstack up --open", Mode.DEMO: "twinstack demo"}[mode]


def _write(path: Path, value: object, file_mode: int) -> None:
    """Atomically, and never readable by others in between."""
    temporary = path.with_suffix(".tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file_mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file)
    temporary.replace(path)
