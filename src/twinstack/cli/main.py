"""The command `twinstack`: noun, then verb; errors of the one tree become exit codes.

0 ok, 1 failed, 2 usage or a query text with an error, 3 not found, 4 sign-in or permission, 5 conflict, 6 unreachable
or timed out, 7 a check found problems, 130 interrupted. Commands report a failure by raising an error of
`core.errors`; `run` is the only place that turns it into an exit code.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from twinstack import __version__
from twinstack.cli import app as app_commands
from twinstack.cli import (
    demo,
    doctor,
    kafka,
    retention,
    sensorthings,
    server,
    settings,
    setup,
    store,
    system,
    topics,
    transfer,
)
from twinstack.cli.output import emit_lines, show_error
from twinstack.core.errors import InvalidInput, TwinstackError

EXIT_INTERRUPTED = 130

# Typer brings its own copy of click; its ClickException is reachable through what typer exports.
_ClickError: Any = typer.BadParameter.__mro__[2]

root = typer.Typer(
    name="twinstack",
    help="Live data between companies: Kafka topics, SensorThings, stream apps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (server, demo, settings, topics, doctor, store, transfer):
    part.add_to(root)
root.add_typer(kafka.group, name="kafka")
setup.add_to(topics.setup_group)
root.add_typer(system.group, name="system")
root.add_typer(app_commands.group, name="app")
root.add_typer(retention.group, name="retention")
root.add_typer(sensorthings.group, name="sensorthings")


def _version(wanted: bool) -> None:
    if wanted:
        emit_lines(f"twinstack {__version__}")
        raise typer.Exit


@root.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = (
        False
    ),
) -> None:
    """Live data between companies: Kafka topics, SensorThings, stream apps."""


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    as_json = "--json" in arguments
    try:
        result = typer.main.get_command(root).main(args=list(arguments), prog_name="twinstack", standalone_mode=False)
    except TwinstackError as error:
        show_error(error, as_json=as_json)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # `twinstack tail ... | head`: the reader has what it wanted. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _ClickError as error:
        show_error(_usage(error), as_json=as_json)
        return int(error.exit_code)
    if isinstance(result, typer.Exit):  # somebody wrote `return typer.Exit(...)`: mean what was meant
        return int(result.exit_code)
    return result if isinstance(result, int) else 0


def _usage(error: Any) -> TwinstackError:
    path = error.ctx.command_path if getattr(error, "ctx", None) else "twinstack"
    if path == "twinstack app run" and "extra argument" in error.format_message():
        return InvalidInput(
            "The text of the app reached the command in pieces.",
            fix='Put it in quotes of the shell: --filter-logic "SELECT * FROM * WHERE result < 4;"',
        )
    return InvalidInput(error.format_message(), fix=f"`{path} --help` shows how.")


def main() -> None:
    gc.set_threshold(50_000, 20, 100)  # imports make objects that stay: looking at them often costs a tenth of a start
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
