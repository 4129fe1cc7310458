"""One real PostgreSQL server per test session, on a unix socket in a temporary folder, and a fresh database per test.

Use the fixture `postgres_server` (import it in a conftest). The server is started by its own program and stopped by
its process id; `initdb` refuses root, so root starts it as an unprivileged user.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

_START_S = 60.0
_STOP_S = 30.0
# Nothing here outlives the session, so nothing waits for the disk; the bench starts a server with its defaults.
QUICK = ("fsync=off", "full_page_writes=off")
_SETTINGS = ("listen_addresses=", "max_connections=200", "shared_buffers=64MB", "log_min_messages=fatal")


@dataclass(slots=True)
class PostgresServer:
    """`folder` holds the socket and the data; `pid` is the server's first process."""

    folder: Path
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def pid(self) -> int:
        return self.process.pid

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}"

    def run(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """One statement outside a transaction; its rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def create(self, template: str = "template0") -> str:
        """The name of a new database, a copy of `template`."""
        name = f"t{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'UTF8'")
        return name

    def empty(self, database: str) -> None:
        """Takes a store back to where migrations leave it; its identity and its partitions stay."""
        from twinstack.sensorthings.store import tables

        kept = {"store_info", "observation_chunk", "outbox_head"}
        names = [table.name for table in reversed(tables.metadata.sorted_tables) if table.name not in kept]
        statements = [f"DELETE FROM {name}" for name in names]
        self.run(";".join([*statements, "UPDATE outbox_head SET seq = 0, waiting_bytes = 0"]), database)

    def drop(self, database: str) -> None:
        self.run(f"DROP DATABASE {database} WITH (FORCE)")


def binaries() -> Path | None:
    """The folder of the newest server's programs."""
    found = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda p: int(p.parent.name) if p.parent.name.isdigit() else 0)
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom root starts the server as; None: we are not root."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


@contextlib.contextmanager
def running_postgres(settings: tuple[str, ...] = QUICK) -> Iterator[PostgresServer]:
    """A server for as long as the block lasts. Skips by name when PostgreSQL cannot run on this machine."""
    programs = binaries()
    if programs is None:
        pytest.skip("SKIPPED POSTGRESQL: not installed (apt-get install postgresql-15 postgresql-15-postgis-3)")
    # Not pytest's own temporary folder: its parents are closed to the unprivileged user.
    folder = Path(tempfile.mkdtemp(prefix="twinstack-pg-"))
    user = _unprivileged()
    who: dict[str, Any] = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        process = _start(programs, folder, settings, who)
        try:
            yield PostgresServer(folder, process)
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(programs: Path, folder: Path, settings: tuple[str, ...], who: dict[str, Any]) -> subprocess.Popen[bytes]:
    data = folder / "data"
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    made = subprocess.run(
        [*initdb, "--locale=C", "--no-sync"], cwd=folder, capture_output=True, text=True, check=False, **who
    )
    if made.returncode != 0:
        pytest.skip(f"SKIPPED POSTGRESQL: initdb failed: {made.stderr.strip()[-300:]}")
    command = [str(programs / "postgres"), "-D", str(data), "-k", str(folder)]
    for setting in (*_SETTINGS, *settings):
        command += ["-c", setting]
    log_path = folder / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **who)
    deadline = time.monotonic() + _START_S
    while not _answers(folder):
        if process.poll() is not None or time.monotonic() > deadline:
            _stop(process)
            pytest.skip(f"SKIPPED POSTGRESQL: it does not start: {log_path.read_text()[-300:]}")
        time.sleep(0.05)
    return process


def _answers(folder: Path) -> bool:
    import psycopg

    try:
        psycopg.connect(f"postgresql://postgres@/postgres?host={quote(str(folder), safe='')}").close()
    except psycopg.OperationalError:
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGINT is the fast shutdown: sessions end, nothing is lost."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(_STOP_S)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_store(postgres_server: PostgresServer, postgres_template: str) -> str:
    """A store to be emptied before each test: copying a database would take longer than the tests."""
    return postgres_server.create(postgres_template)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """A database with the store's tables, to be copied: making them takes long."""
    from twinstack.sensorthings.store import open_store

    name = postgres_server.create()
    store = open_store(postgres_server.url(name))
    store.migrate()
    store.close()
    return name
