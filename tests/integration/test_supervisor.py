"""Child processes: states and logs, back-off after a crash, an end in time, never longer than their parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from server_under_test import gone

from twinstack.core import limits
from twinstack.platform import supervisor as module
from twinstack.platform.supervisor import Child, LogFile, Supervisor


class Watched:
    def __init__(self, folder: Path) -> None:
        self.lines: list[tuple[str, dict]] = []
        self.states: list[str] = []
        self.folder = folder
        self.supervisor = Supervisor(
            folder,
            on_line=lambda name, line: self.lines.append((name, line)),
            on_state=lambda name, state, reason: self.states.append(state),
        )

    def script(self, text: str, **options) -> Child:
        path = self.folder / "script.py"
        path.write_text(textwrap.dedent(text))
        return Child("child", str(path), **options)

    async def until(self, condition, timeout_s: float = 30) -> bool:
        for _ in range(int(timeout_s / 0.05)):
            if condition():
                return True
            await asyncio.sleep(0.05)
        return False

    def pid(self) -> int | None:
        return self.supervisor.states()["child"]["pid"]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_json_lines_are_states_and_the_rest_is_its_log(watched: Watched) -> None:
    child = watched.script(
        """
        import os, sys
        print('{"state": "running"}'); print("plain words"); print("{no json"); print("an error", file=sys.stderr)
        print(sys.stdin.readline().strip(), os.environ["SECRET"], sys.argv[1:])
        """,
        stdin=b"hello\n",
        environment={"SECRET": "s3"},
        arguments=("--x", "1"),
    )
    watched.supervisor.start(child)
    assert await watched.until(lambda: watched.states == ["starting", "running", "stopping", "idle"])
    assert watched.lines == [("child", {"state": "running"})]
    log = (watched.folder / "child.log").read_text()
    for words in ("plain words", "{no json", "an error", "hello s3 ['--x', '1']"):
        assert words in log


async def test_a_programs_json_is_its_own_business(watched: Watched) -> None:
    watched.supervisor.start(watched.script("print('{\"a\": 1}')", kind="program"))
    assert await watched.until(lambda: watched.states[-1:] == ["idle"])
    assert watched.lines == []
    assert '{"a": 1}' in (watched.folder / "child.log").read_text()


async def test_a_child_that_is_killed_is_started_again(watched: Watched) -> None:
    watched.supervisor.start(watched.script("import time\nprint('{\"up\": 1}', flush=True)\ntime.sleep(600)"))
    for n in (1, 2, 3):
        assert await watched.until(lambda n=n: len(watched.lines) == n)
        os.kill(watched.pid(), signal.SIGKILL)
        assert await watched.until(lambda n=n: watched.states.count("failing") == n)
    assert await watched.until(lambda: len(watched.lines) == 4)
    await watched.supervisor.stop_all()
    assert watched.states[-2:] == ["stopping", "idle"]


async def test_an_app_that_fails_again_and_again_is_given_up_a_worker_is_not(watched: Watched, monkeypatch) -> None:
    monkeypatch.setattr(module, "_BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr(module, "_BACKOFF_MAX_S", 0.01)
    monkeypatch.setattr(limits, "APP_CRASHES_MAX", 3)
    watched.supervisor.start(watched.script("raise SystemExit(3)", kind="app"))
    assert await watched.until(lambda: watched.states[-1:] == ["crashed"], 60)
    assert watched.states.count("failing") == 2
    assert "exit code 3" in watched.supervisor.states()["child"]["reason"]
    await watched.supervisor.restart("child")
    assert await watched.until(lambda: watched.states.count("starting") > 3)
    await watched.supervisor.stop_all()
    watched.states.clear()
    watched.supervisor.start(watched.script("raise SystemExit(3)", kind="worker"))
    assert await watched.until(lambda: watched.states.count("failing") >= 5, 60)
    await watched.supervisor.stop_all()
    assert "crashed" not in watched.states


async def test_one_that_does_not_listen_is_killed_in_time(watched: Watched) -> None:
    child = watched.script(
        """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print('{"up": 1}', flush=True)
        time.sleep(600)
        """
    )
    watched.supervisor.start(child)
    assert await watched.until(lambda: watched.lines)
    process = psutil.Process(watched.pid())
    await watched.supervisor.stop("child", timeout_s=1)
    assert gone([process], 1)
    assert watched.states[-1] == "idle"


async def test_stopping_does_not_wait_for_the_back_off(watched: Watched, monkeypatch) -> None:
    monkeypatch.setattr(module, "_BACKOFF_FIRST_S", 600.0)
    watched.supervisor.start(watched.script("raise SystemExit(1)"))
    assert await watched.until(lambda: watched.states[-1:] == ["failing"])
    await asyncio.wait_for(watched.supervisor.stop_all(), 5)
    assert watched.states[-1] == "idle"


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, subprocess, sys, time\n"
            "os.environ['TWINSTACK_PARENT'] = str(os.getpid())\n"
            f"subprocess.Popen([sys.executable, '-m', 'twinstack.platform.child', {str(tmp_path / 'child.py')!r}])\n"
            "time.sleep(600)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone([child], 10)


def test_a_log_file_stays_bounded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "CHILD_LOG_BYTES_MAX", 100)
    with LogFile(tmp_path / "child.log") as file:
        for i in range(50):
            file.write(b"line %d\n" % i)
    sizes = [p.stat().st_size for p in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= 120
    assert b"line 49\n" in b"".join(p.read_bytes() for p in tmp_path.iterdir())


async def test_children_start_in_turn_and_one_that_waits_can_be_stopped(watched: Watched) -> None:
    path = watched.folder / "slow.py"
    path.write_text(
        textwrap.dedent(
            """
            import sys, time
            print('{"at": "begin"}'), sys.stdout.flush()
            time.sleep(60)
            """
        )
    )
    watched.supervisor._turns = asyncio.Semaphore(1)
    silent = watched.folder / "silent.py"
    silent.write_text("import time\ntime.sleep(60)\n")
    watched.supervisor.start(Child("silent", str(silent)))  # holds its turn for three seconds
    for n in range(3):
        watched.supervisor.start(Child(f"c{n}", str(path)))
    await asyncio.sleep(0.5)
    assert [s["pid"] is not None for s in watched.supervisor.states().values()] == [True, False, False, False]
    await watched.supervisor.stop("c1")
    assert watched.supervisor.states()["c1"]["state"] == "idle"
    assert await watched.until(lambda: len(watched.lines) == 2, 20)
    assert [name for name, _ in watched.lines] == ["c0", "c2"]
    await watched.supervisor.stop_all()
