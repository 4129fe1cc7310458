"""`twinstack migrate` on stores of this version, older ones and newer ones."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from alembic import command as alembic

from twinstack.cli import main as command
from twinstack.sensorthings.store import open_store
from twinstack.sensorthings.store.engine import make_engine
from twinstack.sensorthings.store.migrate import HEAD
from twinstack.sensorthings.store.upgrade import alembic_config


def run(*arguments: str) -> int:
    return command.run(arguments)


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:{tmp_path / 'store.sqlite'}"
    store = open_store(url)
    store.migrate()
    store.close()
    return url


def set_revision(url: str, revision: str) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    engine.dispose()


def older(url: str) -> None:
    engine = make_engine(url)
    config = alembic_config()
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        alembic.upgrade(config, "0001")
    engine.dispose()


def test_a_current_store_needs_nothing(url, capsys) -> None:
    assert run("migrate", "--store", url) == 0
    assert f"is at revision {HEAD}, nothing to do" in capsys.readouterr().out
    assert run("migrate", "--store", url, "--check", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"store": url, "from": HEAD, "to": HEAD, "up_to_date": True}


def test_an_older_store_is_checked_then_migrated(tmp_path, capsys) -> None:
    url = f"sqlite:{tmp_path / 'old.sqlite'}"
    older(url)
    assert run("migrate", "--store", url, "--check") == 7
    assert f"from revision 0001 to {HEAD} is missing" in capsys.readouterr().out
    assert run("migrate", "--store", url) == 0
    assert f"from revision 0001 to {HEAD}\n" in capsys.readouterr().out
    assert run("migrate", "--store", url, "--check") == 0


@pytest.mark.parametrize("more", [(), ("--check",)])
def test_a_newer_store_is_refused(url, more, capsys) -> None:
    set_revision(url, "9999")
    assert run("migrate", "--store", url, *more) == 2
    assert "newer version (9999)" in capsys.readouterr().err


def test_a_missing_store_is_not_made(tmp_path, capsys) -> None:
    path = tmp_path / "none.sqlite"
    assert run("migrate", "--store", f"sqlite:{path}") == 3
    assert "There is no store" in capsys.readouterr().err
    assert not path.exists()


def test_retention_is_set_shown_and_done(url, capsys, monkeypatch) -> None:
    monkeypatch.setenv("TWINSTACK_RETENTION", "90d")
    store = open_store(url)
    store.create_system("cz.icecars.x.Car1").result()
    store.close()
    assert run("retention", "set", "cz.icecars.x.Car1", "36h", "--store", url) == 0
    assert capsys.readouterr().out == "system cz.icecars.x.Car1: 36h\n"
    assert run("retention", "show", "--store", url, "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"of": "default", "name": "-", "kept": "90d"},
        {"of": "system", "name": "cz.icecars.x.Car1", "kept": "36h"},
    ]
    assert run("retention", "set", "cz.icecars.x.Car1", "default", "--store", url) == 0
    assert run("retention", "run", "--store", url, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"observations": 0, "datastreams": 0}
    for wrong, code in (("-1d", 2), ("90", 2), ("1d 2", 2)):
        assert run("retention", "set", "cz.icecars.x.Car1", wrong, "--store", url) == code
    assert run("retention", "set", "nobody", "1d", "--store", url) == 3
    monkeypatch.setenv("TWINSTACK_RETENTION", "soon")
    assert run("retention", "show", "--store", url) == 2
    assert "retention" in capsys.readouterr().err
