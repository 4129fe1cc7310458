"""Named places where a test may kill the process: `TWINSTACK_FAILPOINT=name` or `name:count` (at the count-th hit).

With `TWINSTACK_FAILPOINT_ONCE=path` only the first process that gets there dies: it makes that file before, and a
process that finds it lives on, so a supervisor's restart with the same environment is no crash loop.

Every name stands in NAMES, so that one test enumerates them all. Without the variable a hit is one global read and one
comparison. The process dies by SIGKILL: no handler, no `finally`, no flush runs.
"""

from __future__ import annotations

import os
import signal

NAMES: dict[str, str] = {
    "store.before_commit": "store: a group of writes is complete, its outbox row too, nothing is committed",
    "store.after_commit": "store: committed, no caller knows it",
    "archive.before_write": "archive: records are read, the store has none of them",
    "archive.before_commit": "archive: rows and next offset are written, nothing is committed",
    "archive.after_commit": "archive: rows and next offset are committed, the loop has not gone on",
    "outbox.after_init": "outbox: the predecessor is fenced, the marker is not read",
    "outbox.before_commit": "outbox: records and marker are sent, the log's transaction is open",
    "outbox.after_commit": "outbox: the log has them, the store's rows are not deleted",
    "outbox.after_delete": "outbox: the store's rows are deleted",
    "log.writer.before_commit": "embedded log: everything is written, nothing is committed",
    "log.writer.after_commit": "embedded log: committed, no caller knows it",
    "log.writer.between_parts": "embedded log: some of a transaction's parts are written",
    "log.housekeeping.between_steps": "embedded log: between two steps of retention, compaction or joining",
    "log.http.after_commit": "HTTP service of the log: committed, the answer is not sent",
    "streams.task.between_sends": "stream app: a batch's outputs are sent, its dead letters and offsets are not",
    "streams.stage.rows_sent": "stream app: rows for the next stage are sent, the state is not",
    "streams.stage.state_sent": "stream app: the changes of the state are sent, nothing is committed",
    "streams.task.before_commit": "stream app: everything of a transaction is sent, nothing is committed",
    "streams.task.after_commit": "stream app: committed, the task does not know it",
}
"""Name -> where it stands. Register a name here before it is used."""


def _armed(text: str | None) -> tuple[str, int]:
    if not text:
        return "", 0
    name, _, count = text.partition(":")
    if name not in NAMES:
        raise SystemExit(f"TWINSTACK_FAILPOINT names '{name}', known are: {', '.join(sorted(NAMES))}")
    if count and not (count.isdecimal() and int(count) > 0):
        raise SystemExit(f"TWINSTACK_FAILPOINT: '{count}' is no count of hits; use {name}:3 for the third hit.")
    return name, int(count or 1)


_name, _left = _armed(os.environ.get("TWINSTACK_FAILPOINT"))


def hit(name: str) -> None:
    """Kills this process if the environment says so; otherwise nothing."""
    if _name and name == _name:
        _count_down()


def _count_down() -> None:
    global _left  # noqa: PLW0603 - one counter per process is what the variable means
    _left -= 1
    if _left == 0 and _first():
        os.kill(os.getpid(), signal.SIGKILL)


def _first() -> bool:
    marker = os.environ.get("TWINSTACK_FAILPOINT_ONCE")
    if not marker:
        return True
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True
