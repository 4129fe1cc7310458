"""Every failing path of the command has its exit code, on stderr, with what to do; and the commands that speak with a
server do what they say."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from server_under_test import (
    TWINSTACK,
    Server,
    clean_environment,
    free_port,
    instances,
    produce,
    run,
    server,
    wait_until,
)

from services.cli_shapes import Problem, check
from twinstack import DigitalTwinClient
from twinstack.cli import main as command
from twinstack.sensorthings.store import open_store

A = "is.iceland.iot4cps-wp5-WeatherService.Stations"
B = "is.iceland.iot4cps-wp5-WeatherService.Services"
NAME = "Station_1.Air Temperature"
NOWHERE = "http://localhost:1"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("commands") / "data") as running:
        running.post(f"/api/v1/systems/{A}/instances", {"client": "c", "instances": instances()}, status=200)
        running.post("/api/v1/systems", {"name": B})
        yield running


CHECK = ("app", "check", "--source-system", A)
RUN = ("app", "run", "--stream-name", "s", "--source-system", A)
TEXT = ("--filter-logic", "SELECT * FROM *;")

FAILURES = [
    (2, ("up",)),
    (2, ("up", "--open", "--demo")),
    (2, ("demo", "--strict")),
    (2, ("tail", "x", "--server", "no-address")),
    (2, ("app", "list", "--server", "localhost:9092")),
    (2, (*RUN, *TEXT, "--server", NOWHERE)),
    (2, (*RUN, *TEXT, B, "--target-system", B)),
    (2, (*RUN, *TEXT, "not.a.system")),
    (2, ("logs", "not-a-system", "--server", NOWHERE)),
    (2, (*CHECK, "SELECT * FROM * WHERE resul < 4;", "--server", NOWHERE)),
    (2, (*CHECK, "SELECT", "--server", NOWHERE)),
    (2, ("app", "check", "SELECT * FROM *;", "--source-system", "x", "--server", NOWHERE)),
    (2, ("reset", "--data", "{tmp}")),
    (2, ("setup", "topics", "--systems", "{tmp}/bad.json", "--server", "{up}")),
    (3, ("down", "--data", "{tmp}")),
    (3, ("reset", "--data", "{tmp}/none", "--yes")),
    (3, ("tail", "no.such.topic.int", "--server", "{up}")),
    (3, ("logs", "cz.no.such.system", "--server", "{up}")),
    (3, ("app", "show", "aaaaaaaaaa", "--server", "{up}")),
    (3, ("system", "show", "cz.no.such.system", "--server", "{up}")),
    (2, ("system", "add", "too.short", "--server", "{up}")),
    (2, ("system", "add", "cz.a.b.c", "--size", "huge", "--server", "{up}")),
    (5, ("system", "add", A, "--server", "{up}")),
    (6, ("system", "list", "--server", NOWHERE)),
    (3, (*RUN, *TEXT, "cz.no.such.system", "--server", "{up}")),
    (3, ("kafka", "test", "--dir", "{tmp}/kafka")),
    (3, ("kafka", "status", "--dir", "{tmp}/kafka")),
    (3, ("setup", "topics", "--systems", "{tmp}/none.json", "--server", "{up}")),
    (5, ("up", "--open", "--data", "{tmp}/foreign", "--port", "0")),
    (5, ("demo", "--data", "{data}", "--port", "0")),
    (5, ("reset", "--data", "{tmp}/foreign", "--yes")),
    (6, ("tail", A + ".int", "--server", NOWHERE)),
    (6, ("tail", A + ".meta", "--timeout", "0.3", "--server", "{up}")),
    (6, ("topics", "list", "--server", NOWHERE)),
    (6, ("logs", "--server", NOWHERE)),
    (6, ("app", "list", "--server", NOWHERE)),
    (6, ("app", "show", "x", "--server", NOWHERE)),
    (6, (*RUN, *TEXT, B, "--server", NOWHERE)),
    (6, ("setup", "topics", "--systems", "{tmp}/good.json", "--server", NOWHERE)),
    (7, ("doctor", "--data", "{tmp}/foreign")),
]


@pytest.mark.parametrize(("code", "arguments"), FAILURES, ids=[f"{c} {' '.join(a)[:60]}" for c, a in FAILURES])
def test_failing_paths_have_their_exit_codes(
    up: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int, arguments: tuple[str, ...]
) -> None:
    """In this process, since there are many: `command.run` is all that `main` calls."""
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.odt").write_text("")
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "good.json").write_text(json.dumps({"companies": [{"name": "cz.a", "systems": ["cz.a.b.c"]}]}))
    filled = [a.format(tmp=tmp_path, up=up.url, data=up.data) for a in arguments]
    assert command.run(filled) == code
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") or "\nerror: " in shown
    assert command.run([*filled, "--json"]) == code
    error = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert set(error) >= {"error", "code", "fix"}
    assert error["fix"] or error["caret"], error


def test_the_process_ends_with_the_code_of_its_error() -> None:
    done = run("tail", "x", "--server", NOWHERE)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith("error: ")


def test_a_wrong_setting_of_the_environment_is_2() -> None:
    done = run("config", TWINSTACK_PORT="many")
    assert done.returncode == 2
    assert "TWINSTACK_PORT" in done.stderr


def test_check_is_0_or_tells_line_column_message_and_fix(up: Server) -> None:
    good = run(*CHECK, "“SELECT * FROM * WHERE result < 4;”", "--server", up.url, "--json")
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout) == {"ok": True, "errors": [], "warnings": [], "datastreams_known": True}
    bad = run(*CHECK, "SELECT * FROM *\nWHERE name = 'a' AND resul < 4;", "--server", up.url, "--json")
    assert bad.returncode == 2
    (error,) = json.loads(bad.stdout)["errors"]
    assert (error["line"], error["column"], error["fix"]) == (2, 22, "Did you mean result?")
    assert error["message"]
    warned = run(*CHECK, "SELECT * FROM * WHERE name = 'Station_9.x';", "--server", up.url)
    assert warned.returncode == 0
    assert "warning" in warned.stderr


def test_check_needs_no_server() -> None:
    done = run(*CHECK, "SELECT * FROM * WHERE result < 4;", "--server", NOWHERE, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["datastreams_known"] is False


@pytest.mark.parametrize("option", ["--server", "--bootstrap-server"])
def test_run_takes_the_originals_options_in_their_order(up: Server, option: str) -> None:
    name = f"mystream{option}"
    started = [*TWINSTACK, "app", "run", "--stream-name", name, "--source-system", A, B]
    started += ["--filter-logic", "“SELECT * FROM * WHERE result < 4;”", option, up.url]
    before = len(up.records(f"{B}.ext"))
    app = subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())
    try:
        assert any(" running" in line for line in app.stdout)
        produce(up, A, NAME, [3.5, 4.5, -2.0])
        assert wait_until(lambda: len(up.records(f"{B}.ext")) == before + 2, 30)
        assert [r["value"]["result"] for r in up.records(f"{B}.ext")][before:] == [3.5, -2.0]
    finally:
        app.send_signal(signal.SIGINT)
        rest, err = app.communicate(timeout=30)
    assert app.returncode == 0, err
    assert rest.splitlines()[-1].endswith("idle  user")
    said = [json.loads(line) for line in run("logs", B, "--server", up.url, "--json").stdout.splitlines()]
    assert [s["state"] for s in said if s["source"]["name"] == name][-2:] == ["stopping", "idle"]


def test_setup_topics_may_be_repeated_and_adopts(up: Server, tmp_path: Path) -> None:
    file = tmp_path / "systems.json"
    systems = ["cz.icecars.x.Small", {"name": "cz.icecars.x.Large", "size": "large"}]
    file.write_text(json.dumps({"companies": [{"name": "cz.icecars", "systems": systems}]}))
    arguments = ("setup", "topics", "--systems", str(file), "--server", up.url, "--json")
    first, second = run(*arguments), run(*arguments)
    assert first.returncode == second.returncode == 0, first.stderr
    made = {row["topic"]: row for row in json.loads(first.stdout)}
    assert {row["state"] for row in made.values()} == {"created"}
    assert made["cz.icecars.x.Large.int"]["partitions"] == 12
    assert made["cz.icecars.x.Large.log"]["partitions"] == 1
    assert {row["state"] for row in json.loads(second.stdout)} == {"exists"}
    file.write_text(json.dumps({"companies": [{"name": "cz.icecars", "systems": ["cz.icecars.x.Large"]}]}))
    assert run(*arguments).returncode == 5
    adopted = run(*arguments, "--adopt")
    assert adopted.returncode == 0
    states = {row["topic"]: (row["partitions"], row["state"]) for row in json.loads(adopted.stdout)}
    assert states["cz.icecars.x.Large.ext"] == (12, "adopted")


def test_setup_topics_of_a_running_platform_are_its_systems(up: Server) -> None:
    done = run("setup", "topics", "--server", up.url, "--json")
    assert done.returncode == 0, done.stderr
    assert {row["state"] for row in json.loads(done.stdout)} == {"exists"}
    assert f"{A}.meta" in {row["topic"] for row in json.loads(done.stdout)}


def test_systems_are_added_shown_and_listed(up: Server) -> None:
    made = run("system", "add", "cz.icecars.y.New", "--size", "small", "--server", up.url, "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["partitions"] == 1
    assert "cz.icecars.y.New" in run("system", "list", "--server", up.url).stdout
    shown = json.loads(run("system", "show", "cz.icecars.y.New", "--server", up.url, "--json").stdout)
    assert shown["topics"][0] == "cz.icecars.y.New.int"


def test_tail_prints_n_records_each_a_line(up: Server) -> None:
    produce(up, A, NAME, [1.0, 2.0, 3.0])
    done = run("tail", f"{A}.int", "--from-beginning", "-n", "2", "--server", up.url)
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2
    assert all(line["Datastream"]["name"] == f"{A}.{NAME}" for line in lines)
    full = json.loads(run("tail", f"{A}.int", "--from-beginning", "-n", "1", "--server", up.url, "--json").stdout)
    assert set(full) == {"topic", "partition", "offset", "timestamp", "key", "value"}
    assert full["key"] == f"{A}.{NAME}"


def test_commands_find_the_server_of_the_data_folder(up: Server) -> None:
    done = run("app", "list", "--data", str(up.data), "--json")
    assert done.returncode == 0, done.stderr
    assert run("app", "list", TWINSTACK_SERVER=up.url).returncode == 0


def test_doctor_is_0_when_all_is_well_and_7_when_not(up: Server, tmp_path: Path) -> None:
    assert wait_until(lambda: up.call("GET", "/readyz").status_code == 200, 40)
    good = run("doctor", "--data", str(up.data), "--json")
    checks = {c["name"]: c for c in json.loads(good.stdout)["checks"]}
    assert good.returncode == 0, checks
    assert set(checks) >= {"python", "packages", "settings", "data folder", "disk", "server", "log", "topics", "ready"}
    down = run("doctor", "--data", str(tmp_path / "new"), TWINSTACK_PORT=str(free_port()))
    assert down.returncode == 0, down.stdout
    assert "twinstack up --open" in down.stdout
    away = run("doctor", "--data", str(tmp_path / "new"), TWINSTACK_LOG="localhost:1")
    assert away.returncode == 7
    assert "fix: " in away.stdout


def test_after_kafka_start_commands_find_that_kafka(tmp_path: Path) -> None:
    """No server runs and nothing names a log: what else could be meant? Only as long as it runs."""
    folder = tmp_path / ".local" / "share" / "twinstack" / "kafka"
    folder.mkdir(parents=True)
    port = free_port()
    node = subprocess.Popen(
        [sys.executable, "-c", "input()", str(folder / "node-1" / "server.properties")], stdin=subprocess.PIPE
    )
    nodes = [{"id": 1, "port": port, "controller_port": free_port(), "pid": node.pid}]
    cluster = {"cluster_id": "t", "profile": "small", "extra": {}, "nodes": nodes}
    (folder / "cluster.json").write_text(json.dumps(cluster))
    arguments = ("topics", "list", "--data", str(tmp_path / "none"))
    try:
        assert f"No Kafka broker answers at 127.0.0.1:{port}" in run(*arguments, HOME=str(tmp_path)).stderr
    finally:
        node.kill()
        node.wait()
    assert "No server answers at localhost:" in run(*arguments, HOME=str(tmp_path)).stderr


def test_what_a_user_does_wrong_first_is_explained() -> None:
    systems = ("is.iceland.w.Stations", "is.iceland.w.Services")
    unquoted = run(
        "app", "run", "--stream-name", "s", "--source-system", *systems, "--filter-logic", "SELECT", "a", "b"
    )
    assert unquoted.returncode == 2
    assert "Put it in quotes of the shell" in unquoted.stderr


def test_what_commands_print_as_json_has_its_committed_shape(up: Server, tmp_path: Path) -> None:
    produce(up, A, NAME, [1.5])
    app = {"name": "shaped", "target": B, "sources": [A], "text": "SELECT * FROM * WHERE result < 4;"}
    up.post("/api/v1/apps", app)
    at = ("--server", up.url)
    lines = {
        "topics list": at,
        "setup topics": at,
        "tail": (f"{A}.int", "--from-beginning", "-n", "1", *at),
        "logs": at,
        "config": (),
        "doctor": ("--data", str(up.data)),
        "system add": ("cz.icecars.z.Shaped", *at),
        "system list": at,
        "system show": (A, *at),
        "app list": at,
        "app show": ("shaped", *at),
        "app check": ("--source-system", A, "SELECT * FROM * WHERE result < 1 AND result / 0 > 1;", *at),
    }
    for name, arguments in lines.items():
        done = run(*name.split(), *arguments, "--json")
        assert done.returncode == 0, (name, done.stderr)
        assert check(name, done.stdout), name
    wrong = run("app", "check", "--source-system", A, "SELECT * FROM * WHERE resul < 4;", *at, "--json")
    assert check("app check", wrong.stdout).errors
    assert msgspec.json.decode(wrong.stderr.splitlines()[-1], type=Problem).code
    with server(tmp_path / "own", ("up", "--open", "--json")) as own:
        assert check("up", own.out[0]).ready == own.url
        assert check("down", run("down", "--data", str(own.data), "--json").stdout).url == own.url
    assert check("reset", run("reset", "--data", str(tmp_path / "own"), "--yes", "--json").stdout)


@pytest.mark.parametrize("command", [("logs", "--follow"), ("tail", f"{A}.log", "--from-beginning")])
def test_ctrl_c_ends_what_follows_with_0(up: Server, command: tuple[str, ...]) -> None:
    following = subprocess.Popen(
        [*TWINSTACK, *command, "--server", up.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**clean_environment(), "PYTHONUNBUFFERED": "1"},
    )
    try:
        with DigitalTwinClient("follower", A, up.url, kafka_rest_server=up.url) as twin:
            twin.produce("logging", "a line").wait(20)
        assert following.stdout is not None and any("a line" in line for line in following.stdout)
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=30)
    finally:
        following.kill()
    assert following.returncode == 0, err
    assert "Traceback" not in err


def test_the_commands_of_a_store_print_the_shapes_that_are_written_down(up: Server, tmp_path: Path) -> None:
    store, file = f"sqlite:{up.data / 'store.sqlite'}", str(tmp_path / "all.ndjson")
    other, empty = f"sqlite:{tmp_path / 'other.sqlite'}", f"sqlite:{tmp_path / 'empty.sqlite'}"
    made = open_store(empty)
    made.migrate()
    made.close()
    for shape, arguments in (
        ("migrate", ("migrate", "--check", "--store", store)),
        ("export", ("export", file, "--store", store)),
        ("import", ("import", file, "--store", other)),
        ("retention set", ("retention", "set", A, "90d", "--store", other)),
        ("retention show", ("retention", "show", "--store", other)),
        ("retention run", ("retention", "run", "--store", other)),
        ("sensorthings copy", ("sensorthings", "copy", f"{up.url}/v1.1", "--allow-private", "--store", empty)),
        ("setup postgres", ("setup", "postgres", "--url", "postgresql://twin:secret@db:5432/twin")),
    ):
        done = run(*arguments, "--json")
        assert done.returncode == 0, (shape, done.stderr)
        check(shape, done.stdout)
