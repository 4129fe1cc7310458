"""What each command prints with `--json`: the promise to programs, committed as `docs/command-line.schema.json`.

    python -m tests.services.cli_shapes > docs/command-line.schema.json

One document, unless the type is `Lines[...]`: then one JSON value a line. A new key is a change of a shape and comes
here first; a key that vanishes breaks programs.
"""

from __future__ import annotations

import json
from typing import Any, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    """Exactly these keys."""


class Lines(Generic[T]):
    """One a line."""


class Ready(Closed):
    ready: str
    pid: int
    data: str
    mode: Literal["open", "demo"]


class Stopped(Closed):
    stopped: int
    url: str


class Deleted(Closed):
    deleted: str


class LogLine(msgspec.Struct):
    """Clients and apps add keys of their own."""

    system: str
    message: str
    time: str = ""
    level: str = ""
    source: dict[str, Any] = {}
    event: str = ""


class TailLine(Closed):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: str | None
    value: Any


class Setting(Closed):
    value: Any
    origin: str
    place: str
    description: str


class Topic(Closed):
    topic: str
    system: str | None
    partitions: int
    cleanup: Literal["delete", "compact"]
    offsets: int


class SetUpTopic(Closed):
    topic: str
    partitions: int
    state: Literal["created", "exists", "adopted"]


class Check(Closed):
    name: str
    status: Literal["pass", "warn", "fail"]
    cause: str
    fix: str


class Doctor(Closed):
    ok: bool
    checks: list[Check]


class System(Closed):
    name: str
    company: str
    state: Literal["creating", "ready", "degraded", "deleting"]
    size: str | None
    partitions: int
    topics: list[str]
    version: int


class App(Closed):
    uid: str
    name: str
    description: str
    target: str
    sources: list[str]
    text: str
    revision: int
    wanted: str
    state: str
    reason: str
    since: str | None
    rate_per_s: float
    counters: dict[str, int | float | None]
    version: int


class QueryWarning(Closed):
    code: str
    message: str
    line: int
    column: int
    caret: str


class QueryErrors(Closed):
    ok: bool
    errors: list[dict[str, Any]]
    warnings: list[QueryWarning]
    datastreams_known: bool | None = None


class AppReport(Closed):
    event: Literal["state", "counters"]
    state: str
    reason: str
    message: str
    at_us: int
    counters: dict[str, int | float | None]


class KafkaInstalled(Closed):
    folder: str
    java: str
    java_version: str


class StartedNode(Closed):
    id: int
    port: int
    pid: int | None


class KafkaStarted(Closed):
    bootstrap: str
    folder: str
    nodes: list[StartedNode]


class KafkaStopped(Closed):
    stopped: int


class KafkaNode(Closed):
    id: int
    address: str
    pid: int | None
    running: bool


class KafkaStatus(Closed):
    folder: str
    bootstrap: str
    nodes: list[KafkaNode]
    answers: int


class KafkaTested(Closed):
    ok: bool
    records: int


class Problem(msgspec.Struct):
    """On stderr, of every command; errors add fields of their own."""

    error: str
    code: str
    fix: str


class Migrated(msgspec.Struct, forbid_unknown_fields=True, rename={"before": "from"}):
    store: str
    before: str | None
    to: str
    up_to_date: bool


class Exported(Closed):
    file: str
    rows: dict[str, int]


class Imported(Closed):
    export: str
    source: str
    stored: dict[str, int]
    present: dict[str, int]
    lines_before: int


class Copied(Closed):
    """Counts by set; `reasons` of what was refused."""

    source: str
    version: str
    created: dict[str, int]
    changed: dict[str, int]
    unchanged: dict[str, int]
    refused: dict[str, int]
    reasons: list[str]


class Kept(Closed):
    of: Literal["default", "system", "datastream"]
    name: str
    kept: str


class KeptAnew(Kept):
    retention_ms: int | None


class Expired(Closed):
    observations: int
    datastreams: int


class PostgresSetUp(Closed):
    """`sql` without `--admin`, `done` with it."""

    sql: list[str] | msgspec.UnsetType = msgspec.UNSET
    done: list[str] | msgspec.UnsetType = msgspec.UNSET


SHAPES: dict[str, Any] = {
    "up": Ready,
    "down": Stopped,
    "demo": Ready,
    "reset": Deleted,
    "logs": Lines[LogLine],
    "tail": Lines[TailLine],
    "config": dict[str, Setting],
    "doctor": Doctor,
    "topics list": list[Topic],
    "setup topics": list[SetUpTopic],
    "setup postgres": PostgresSetUp,
    "migrate": Migrated,
    "export": Exported,
    "import": Imported,
    "sensorthings copy": Copied,
    "retention show": list[Kept],
    "retention set": KeptAnew,
    "retention run": Expired,
    "system add": System,
    "system list": list[System],
    "system show": System,
    "app list": list[App],
    "app show": App,
    "app check": QueryErrors,
    "app run": Lines[AppReport],
    "kafka install": KafkaInstalled,
    "kafka start": KafkaStarted,
    "kafka stop": KafkaStopped,
    "kafka status": KafkaStatus,
    "kafka test": KafkaTested,
}


def check(command: str, printed: str) -> Any:
    """What the command printed, decoded by its shape. Errors: msgspec.ValidationError that names the place."""
    shape = SHAPES[command]
    if getattr(shape, "__origin__", None) is Lines:
        return [msgspec.json.decode(line, type=shape.__args__[0]) for line in printed.splitlines()]
    return msgspec.json.decode(printed, type=shape)


def schema() -> dict[str, Any]:
    """JSON Schema of all commands: `commands` says which definition each prints, and whether it is one a line."""
    kinds = {name: getattr(s, "__args__", (s,))[0] if _lines(s) else s for name, s in SHAPES.items()}
    found, definitions = msgspec.json.schema_components([*kinds.values(), Problem], ref_template="#/$defs/{name}")
    commands = {
        name: {"lines": _lines(SHAPES[name]), "schema": of} for name, of in zip(kinds, list(found), strict=False)
    }
    return {"commands": commands, "error": list(found)[-1], "$defs": definitions}


def _lines(shape: Any) -> bool:
    return getattr(shape, "__origin__", None) is Lines


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1, sort_keys=True))
