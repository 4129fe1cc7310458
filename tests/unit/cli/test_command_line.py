from __future__ import annotations

import json

import pytest
import typer

from twinstack.cli import main as command
from twinstack.cli.api import _problem
from twinstack.cli.output import cell, emit_rows
from twinstack.core import errors
from twinstack.platform.apps import drop_quotes


def run(*arguments: str) -> int:
    return command.run(arguments)


def stand_in(monkeypatch: pytest.MonkeyPatch, body) -> None:
    """A command `x` that does `body`, in the place of all others."""
    root = typer.Typer(pretty_exceptions_enable=False)
    root.command("x")(body)
    root.command("y")(lambda: None)
    monkeypatch.setattr(command, "root", root)


def every_error() -> list[type[errors.TwinstackError]]:
    classes = [errors.TwinstackError]
    for cls in classes:
        classes.extend(cls.__subclasses__())
    return classes


@pytest.mark.parametrize("cls", [c for c in every_error() if c.__module__ == "twinstack.core.errors"])
def test_each_error_of_the_tree_has_its_exit_code(cls, monkeypatch, capsys) -> None:
    def body() -> None:
        error = cls.__new__(cls)
        errors.TwinstackError.__init__(error, "It broke.", fix="Mend it.")
        raise error

    stand_in(monkeypatch, body)
    assert run("x") == cls.exit_code != 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: It broke.\nfix: Mend it.\n"


def test_with_json_an_error_is_one_object_on_stderr(monkeypatch, capsys) -> None:
    def body(as_json: bool = typer.Option(False, "--json")) -> None:
        raise errors.Conflict("Taken.", fix="Choose.", port=1908)

    stand_in(monkeypatch, body)
    assert run("x", "--json") == 5
    assert json.loads(capsys.readouterr().err) == {
        "error": "Taken.",
        "code": "conflict",
        "fix": "Choose.",
        "port": 1908,
    }


def test_returning_typer_exit_means_what_it_says(monkeypatch) -> None:
    def body() -> typer.Exit:
        return typer.Exit(3)

    stand_in(monkeypatch, body)
    assert run("x") == 3


def test_raising_typer_exit_and_ctrl_c(monkeypatch) -> None:
    def leave() -> None:
        raise typer.Exit(7)

    def interrupt() -> None:
        raise KeyboardInterrupt

    stand_in(monkeypatch, leave)
    assert run("x") == 7
    stand_in(monkeypatch, interrupt)
    assert run("x") == 130


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("up", "--nonsense"),
        ("up", "--port", "many"),
        ("up", "--port", "70000"),
        ("app", "run"),
        ("app", "check"),
        ("tail",),
        ("tail", "x", "-n", "0"),
        ("setup", "topics", "--replication", "0"),
        ("kafka", "nonsense"),
    ],
)
def test_wrong_usage_is_2_and_names_the_help(arguments, capsys) -> None:
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: " in err
    assert "--help" in err
    assert "Traceback" not in err


def test_version_and_help_are_0(capsys) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("twinstack ")
    assert run("--help") == 0
    assert run("app", "run", "--help") == 0


def test_up_without_a_mode_is_2_and_says_which_to_choose(capsys) -> None:
    assert run("up") == 2
    err = capsys.readouterr().err
    assert "--open" in err
    assert "--demo" in err
    assert run("up", "--open", "--demo") == 2


def test_config_tells_values_and_origins(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setenv("TWINSTACK_PORT", "1999")
    assert run("config", "--data", str(tmp_path), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["port"]["value"] == 1999
    assert (found["port"]["origin"], found["port"]["place"]) == ("env", "TWINSTACK_PORT")
    assert found["fsync"]["origin"] == "default"
    assert run("config", "--data", str(tmp_path)) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["SETTING", "VALUE", "FROM", "DESCRIPTION"]
    assert any(line.split()[:2] == ["port", "1999"] for line in table)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("“SELECT * FROM * WHERE result < 4;”", "SELECT * FROM * WHERE result < 4;"),
        ("„SELECT * FROM *;“", "SELECT * FROM *;"),
        ('"SELECT * FROM *;"', "SELECT * FROM *;"),
        ("SELECT * FROM * WHERE name = 'a'", "SELECT * FROM * WHERE name = 'a'"),
        (" SELECT 1 ", "SELECT 1"),
        ("”", "”"),
    ],
)
def test_quotes_around_a_text_are_dropped(written: str, meant: str) -> None:
    assert drop_quotes(written) == meant


def test_tables_are_aligned_and_terminals_safe(capsys) -> None:
    emit_rows([{"name": "a", "n": 1}, {"name": "long name", "n": None}], ("name", "n"), as_json=False)
    assert capsys.readouterr().out == "NAME       N\na          1\nlong name  -\n"
    assert cell("evil\x1b[2J\nname") == "evil?[2J?name"
    emit_rows([], ("name",), as_json=True)
    assert capsys.readouterr().out == "[]\n"
    emit_rows([], ("name",), as_json=False, empty="None yet.")
    assert capsys.readouterr() == ("", "None yet.\n")


def test_a_problem_document_becomes_the_error_it_was() -> None:
    import httpx

    body = {"title": "x", "status": 422, "detail": "No column.", "code": "query_error", "fix": "Look.", "line": 2}
    error = _problem(httpx.Response(422, json=body, request=httpx.Request("GET", "http://x")))
    assert isinstance(error, errors.QueryError)
    assert (error.message, error.fix, error.fields["line"], error.exit_code) == ("No column.", "Look.", 2, 2)
    foreign = _problem(httpx.Response(502, text="<html>", request=httpx.Request("GET", "http://x")))
    assert isinstance(foreign, errors.Unreachable)
