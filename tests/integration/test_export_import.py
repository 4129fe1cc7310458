"""`twinstack export|import` as commands: beside a running server, killed at any moment, and on to a server."""

from __future__ import annotations

import json
import signal
import stat

import pytest
import sqlalchemy as sa
from tests.integration.server_under_test import instances, run, server

from twinstack.core.instances import load_instances
from twinstack.sensorthings.store import NewObservation, open_store, tables

CAR = "cz.icecars.iot4cps-wp5-CarFleet.Car1"
N = 23_000
T0 = 1_767_225_600_000_000


def opened(path):
    return open_store(f"sqlite:{path}")


def table(path, name):
    store = opened(path)
    try:
        found = tables.BY_NAME[name]
        with store.reader() as connection:
            query = sa.select(found).order_by(*found.primary_key.columns)
            return [tuple(row) for row in connection.execute(query)]
    finally:
        store.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "store.sqlite"
    store = opened(path)
    store.migrate()
    store.create_system(CAR).result()
    document = instances()
    point = {"type": "Point", "coordinates": [13.0, 47.8]}
    here = {"name": "h", "description": "-", "encodingType": "application/geo+json", "location": point}
    document["Things"]["station"]["Locations"] = [here]
    made = store.register_instances(load_instances(document, CAR), "c").result().datastreams
    ids = [d.id for d in made.values()]
    for start in range(0, N, 10_000):
        rows = [NewObservation(ids[i % 2], T0 + i, i / 2) for i in range(start, min(start + 10_000, N))]
        store.insert_observations(rows).result()
    store.close()
    return path


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "all.ndjson"
    done = run("export", str(path), "--store", f"sqlite:{source}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"]["observation"] == N
    return path


def same(one, other):
    names = ("thing", "sensor", "observed_property", "datastream", "datastream_stat", "entity_name", "observation")
    return all(table(one, name) == table(other, name) for name in names)


def test_the_file_is_whole_and_for_its_owner_alone(exported):
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    lines = exported.read_bytes().splitlines()
    assert json.loads(lines[0])["twinstack_export"] == 1
    assert json.loads(lines[-1])["end"]["observation"] == N
    assert not exported.with_name("all.ndjson.part").exists()


# The import writes: decision, 7 sections, 5 batches of Observations, the end.
@pytest.mark.parametrize("failpoint", ["store.before_commit:3", "store.after_commit:10", "store.before_commit:12"])
def test_killed_and_repeated_nothing_comes_twice(source, exported, tmp_path, failpoint):
    path = tmp_path / "store.sqlite"
    killed = run("import", str(exported), "--store", f"sqlite:{path}", TWINSTACK_FAILPOINT=failpoint)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not same(source, path)
    again = run("import", str(exported), "--store", f"sqlite:{path}", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["lines_before"] > 0
    assert same(source, path)
    third = run("import", str(exported), "--store", f"sqlite:{path}", "--json")
    assert json.loads(third.stdout)["stored"] == {}
    assert same(source, path)


def test_an_import_gives_a_data_folder_that_a_server_starts_on(source, exported, tmp_path):
    data = tmp_path / "data"
    done = run("import", str(exported), "--data", str(data))
    assert done.returncode == 0, done.stderr
    assert f"topics of {CAR}" in done.stderr
    with server(data) as on:
        assert on.get(f"/api/v1/systems/{CAR}")["state"] == "ready"
        (stream,) = on.get(f"/v1.1/Datastreams?$filter=name eq '{CAR}.Station_1.Road Temperature'")["value"]
        page = on.get(f"/v1.1/Datastreams({stream['@iot.id']})/Observations?$count=true&$top=1")
        assert page["@iot.count"] == N // 2
        # Beside the running server: out, and in again.
        file = tmp_path / "again.ndjson"
        assert run("export", str(file), "--system", CAR, "--data", str(data)).returncode == 0
        done = run("import", str(file), "--data", str(data))
        assert (done.returncode, "this very store" in done.stderr) == (5, True)
        moved = run("import", str(file), "--move", "--data", str(data))
        assert (moved.returncode, "A server runs" in moved.stderr) == (5, True)
        other = tmp_path / "other.sqlite"
        done = run("import", str(file), "--store", f"sqlite:{other}")
        assert done.returncode == 0, done.stderr
        assert len(table(other, "observation")) == N
        # A store of others into the one that the server uses.
        assert run("export", str(file), "--store", f"sqlite:{other}").returncode == 0
        made = on.post("/v1.1/Things", {"name": "mine", "description": "-"})
        done = run("import", str(file), "--data", str(data), "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["present"]["thing"] == 1
        assert on.get(f"/v1.1/Things({made['@iot.id']})")["name"] == "mine"


def test_wrong_use_says_what_to_do(exported, tmp_path):
    for arguments, code, words in (
        (("export", str(tmp_path / "x"), "--store", f"sqlite:{tmp_path}/none.sqlite"), 3, "There is no store"),
        (("import", str(tmp_path / "none")), 3, "cannot be read"),
        (("export", "/proc/nowhere/x", "--data", "d"), 3, "There is no store"),
        (("import", str(__file__), "--store", f"sqlite:{tmp_path}/s.sqlite"), 2, "no export|no JSON"),
        (("export", "x", "--move", "--system", CAR), 2, "whole stores"),
    ):
        done = run(*arguments)
        assert done.returncode == code, done.stderr
        assert any(word in done.stderr for word in words.split("|"))
        assert "Traceback" not in done.stderr
