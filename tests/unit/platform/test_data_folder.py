from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from twinstack.core.errors import Conflict, NotFound
from twinstack.platform.folder import Folder
from twinstack.platform.policy import Mode


def test_a_folder_belongs_to_the_mode_that_made_it(tmp_path: Path) -> None:
    path = tmp_path / "data"
    first = Folder(path)
    first.acquire(Mode.DEMO)
    first.release()
    with pytest.raises(Conflict, match="made by `twinstack demo`") as caught:
        Folder(path).acquire(Mode.OPEN)
    assert caught.value.exit_code == 5
    again = Folder(path)
    again.acquire(Mode.DEMO)
    again.release()


def test_one_server_per_folder(tmp_path: Path) -> None:
    first = Folder(tmp_path / "data")
    first.acquire(Mode.OPEN)
    first.announce(1908, Mode.OPEN, "token", "embedded")
    with pytest.raises(Conflict, match=f"pid {os.getpid()}, http://localhost:1908"):
        Folder(tmp_path / "data").acquire(Mode.OPEN)
    with pytest.raises(Conflict, match="already runs"):
        Folder(tmp_path / "data").delete()
    first.release()
    second = Folder(tmp_path / "data")
    second.acquire(Mode.OPEN)
    second.release()


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").write_text("years of work")
    for call in (lambda: Folder(tmp_path).acquire(Mode.OPEN), lambda: Folder(tmp_path).delete()):
        with pytest.raises(Conflict, match="did not make"):
            call()
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.odt"]


def test_a_settings_file_may_wait_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "twinstack.toml").write_text("port = 1909\n")
    folder = Folder(tmp_path)
    folder.acquire(Mode.OPEN)
    folder.release()
    assert Folder(tmp_path).mode() is Mode.OPEN


def test_the_announcement_is_for_its_owner_alone_and_ends_with_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.acquire(Mode.OPEN)
    folder.announce(1908, Mode.OPEN, "token", "embedded")
    assert stat.S_IMODE((tmp_path / "data" / "server.json").stat().st_mode) == 0o600
    running = folder.running()
    assert running is not None
    assert (running.pid, running.url) == (os.getpid(), "http://localhost:1908")
    folder.release()
    assert folder.running() is None


def test_a_pid_that_another_process_has_now_is_no_server(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.acquire(Mode.OPEN)
    folder.announce(1908, Mode.OPEN, "token", "embedded")
    path = tmp_path / "data" / "server.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "started_at": document["started_at"] - 60}))
    assert folder.running() is None
    path.write_text("half a docum")
    assert folder.running() is None
    folder.release()


def test_delete_removes_what_twinstack_made_and_nothing_else(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.acquire(Mode.OPEN)
    folder.release()
    folder.delete()
    assert not (tmp_path / "data").exists()
    with pytest.raises(NotFound):
        folder.delete()
    (tmp_path / "empty").mkdir()
    with pytest.raises(Conflict):
        Folder(tmp_path / "empty").delete()


def test_a_new_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.acquire(Mode.OPEN)
    try:
        folder.announce(1908, Mode.OPEN, "secret", "embedded")
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "data" / "server.json").stat().st_mode & 0o777 == 0o600
    finally:
        folder.release()
