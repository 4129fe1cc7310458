"""`twinstack setup topics`, `topics list`, `tail`: topics of a log, whichever implementation it is."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinstack.cli.address import Data, Server, demos_folder, find, open_log
from twinstack.cli.interrupt import remembered
from twinstack.cli.output import Json, emit_lines, emit_rows, hint
from twinstack.core.errors import InvalidInput, NotFound, TimedOut, TwinstackError
from twinstack.core.names import parse_system, split_topic

if TYPE_CHECKING:
    from twinstack.log.seam import Batch, TopicSpec

_POLL_S = 0.5

setup_group = typer.Typer(help="Prepare a log, or a store on PostgreSQL.", no_args_is_help=True)
topics_group = typer.Typer(help="Topics of a log.", no_args_is_help=True)


def add_to(root: typer.Typer) -> None:
    root.add_typer(setup_group, name="setup")
    root.add_typer(topics_group, name="topics")
    root.command("tail")(tail)


@setup_group.command("topics")
def setup_topics(
    server: Server = None,
    data: Data = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Keep topics that exist with other partitions.")] = False,
    replication: Annotated[int | None, typer.Option("--replication", min=1, max=10, help="Replicas (Kafka).")] = None,
    systems: Annotated[Path | None, typer.Option("--systems", help="A file like demos/systems.json.")] = None,
    as_json: Json = False,
) -> None:
    """Create the four topics (.int .ext .log .meta) of each system; may be repeated."""
    from twinstack.core.settings import load
    from twinstack.platform.systems import topic_specs

    settings = load({"data": data, "replication": replication}).settings
    place = find(server, data)
    rows: list[dict[str, Any]] = []
    with open_log(place.log) as log:
        admin = log.admin()
        existing = admin.topics()
        for name, size in _systems(systems, place.url):
            for spec in topic_specs(
                parse_system(name, allow_reserved=True), size or settings.size, settings.replication
            ):
                found = existing.get(spec.name)
                if found is not None and found.partitions != spec.partitions and adopt:
                    state = "adopted"
                else:
                    state = _create(admin, spec)
                partitions = found.partitions if found is not None else spec.partitions
                rows.append({"topic": spec.name, "partitions": partitions, "state": state})
    emit_rows(rows, ("topic", "partitions", "state"), as_json=as_json)


def _create(admin: Any, spec: TopicSpec) -> str:
    try:
        return str(admin.create_topics([spec])[spec.name])
    except TwinstackError as error:
        if error.code == "conflict" and not error.fix:
            error.fix = "Keep it as it is with --adopt, or delete it first."
        raise


def _systems(file: Path | None, url: str) -> list[tuple[str, str | None]]:
    """`(name, size)` of the systems of the file, else of the running server, else of the demo."""
    if file is None and url:
        from twinstack.cli.api import call

        try:
            found = [(s["name"], s.get("size")) for s in call("GET", url, "/api/v1/systems?limit=500")["items"]]
            if found:
                return found
        except TwinstackError:
            hint(f"No server answers at {url}: the systems of the demo are used.")
    path = file or demos_folder() / "systems.json"
    return read_systems(path)


def read_systems(path: Path) -> list[tuple[str, str | None]]:
    """Systems of a JSON file of the shape `{"companies": [{"name", "systems": [name, or {"name", "size"}]}]}`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}.", fix="Name a file with --systems.") from None
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}.", fix="demos/systems.json is an example.") from None
    try:
        entries = [entry for company in document["companies"] for entry in company["systems"]]
        return [(e, None) if isinstance(e, str) else (e["name"], e.get("size")) for e in entries]
    except (KeyError, TypeError, AttributeError):
        raise InvalidInput(f"{path} holds no list of systems.", fix="demos/systems.json is an example.") from None


@topics_group.command("list")
def list_topics(server: Server = None, data: Data = None, as_json: Json = False) -> None:
    """List the topics with their partitions and the number of records they hold now."""
    from twinstack.log.seam import TopicPartition

    with open_log(find(server, data).log) as log:
        admin = log.admin()
        infos = sorted(admin.topics().values(), key=lambda info: info.name)
        tps = [TopicPartition(info.name, p) for info in infos for p in range(info.partitions)]
        first, last = admin.beginning_offsets(tps), admin.end_offsets(tps)
    rows = []
    for info in infos:
        mine = [tp for tp in tps if tp.topic == info.name]
        # Offsets of a compacted topic, and of Kafka's transactions, have gaps: an upper bound, named so.
        offsets = sum(last[tp] - first[tp] for tp in mine)
        system = split_topic(info.name)
        rows.append(
            {
                "topic": info.name,
                "system": system[0] if system else None,
                "partitions": info.partitions,
                "cleanup": info.cleanup,
                "offsets": offsets,
            }
        )
    emit_rows(rows, ("topic", "partitions", "cleanup", "offsets"), as_json=as_json, empty="No topics yet.")


def tail(
    topic: Annotated[str, typer.Argument(help="A topic, e.g. cz.icecars.iot4cps-wp5-CarFleet.Car1.int")],
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Begin with the oldest record.")] = False,
    n: Annotated[int | None, typer.Option("-n", min=1, help="Stop after N records.")] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Seconds to wait for a record; then exit 6.")
    ] = None,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Print the records of a topic, one JSON value a line; --json adds topic, partition, offset, time and key."""
    from twinstack.log.seam import EARLIEST, LATEST, TopicPartition

    with remembered() as interrupted, open_log(find(server, data).log) as log:
        info = log.admin().describe(topic)
        consumer = log.consumer(client_id="twinstack-tail")
        start = EARLIEST if from_beginning else LATEST
        consumer.assign({TopicPartition(topic, p): start for p in range(info.partitions)})
        printed, heard = 0, time.monotonic()
        try:
            while (n is None or printed < n) and not interrupted.is_set():
                lines = _lines(consumer.poll(_POLL_S), as_json)
                lines = lines if n is None else lines[: n - printed]
                emit_lines(*lines) if lines else None
                printed += len(lines)
                heard = time.monotonic() if lines else heard
                if timeout_s is not None and time.monotonic() - heard >= timeout_s:
                    raise TimedOut(
                        f"No {'further ' if printed else ''}record on {topic} for {timeout_s:g} s ({printed} printed).",
                        fix=_why_nothing(topic, from_beginning),
                    )
        except KeyboardInterrupt:
            return
        finally:
            consumer.close()


def _why_nothing(topic: str, from_beginning: bool) -> str:
    if not from_beginning:
        return "--from-beginning also prints what is there already."
    if topic.endswith(".ext"):
        return (
            "Only stream apps write there: `twinstack logs` shows whether one runs, and its source whether data comes."
        )
    return "Wait longer, or see by `twinstack logs` whether a client produces."


def _lines(batches: list[Batch], as_json: bool) -> list[str]:
    """Lines in order of arrival over the partitions of one poll."""
    rows = [
        (stamp, batch.partition, offset, key, value)
        for batch in batches
        for stamp, offset, key, value in zip(batch.timestamps_ms, batch.offsets, batch.keys, batch.values, strict=True)
    ]
    rows.sort(key=lambda row: row[:3])
    if not as_json:
        return [_text(value) for *_, value in rows]
    topic = batches[0].topic if batches else ""
    return [
        json.dumps(
            {
                "topic": topic,
                "partition": partition,
                "offset": offset,
                "timestamp": stamp,
                "key": None if key is None else key.decode("utf-8", "replace"),
                "value": _json(value),
            },
            ensure_ascii=False,
        )
        for stamp, partition, offset, key, value in rows
    ]


def _json(value: bytes | None) -> Any:
    """The value as JSON; bytes that are not JSON as `{"base64": ...}`, so that each line is JSON whatever was sent."""
    if value is None:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return {"base64": base64.b64encode(value).decode("ascii")}


def _text(value: bytes | None) -> str:
    return json.dumps(_json(value), ensure_ascii=False)
