"""Exactly once on every log: killed anywhere, fenced, stopped, with poison between good records."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest
from stream_world import World

from twinstack.core import failpoints
from twinstack.log.seam import OutRecord, TopicPartition

TASK_FAILPOINTS = [name for name in failpoints.NAMES if name.startswith("streams.task.")]
N = 12_000


@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("failpoint", TASK_FAILPOINTS)
def test_output_is_exact_after_a_kill(world: World, failpoint: str, hit: int) -> None:
    with world.place.open() as log:
        world.produce(log, N)
    killed = world.child(world.spec(), f"{failpoint}:{hit}")
    assert killed.wait_end() == -signal.SIGKILL
    again = world.child(world.spec())
    again.wait(lambda r: r.get("counters", {}).get("lag") == 0)
    assert again.terminate() == 0
    with world.place.open() as log:
        world.check_exact(log)


def test_a_kill_before_the_first_commit_loses_nothing_of_a_start_at_latest(world: World) -> None:
    with world.place.open() as log:
        world.produce(log, 100, poison=0)
    before = len(world.sent)
    if world.place.name == "embedded":  # nobody can write while the child has the file: it dies at its first input
        with world.place.open() as log, world.app(log, world.spec(start="latest")) as app:
            app.state("running")
    else:
        first = world.child(world.spec(start="latest"), "streams.task.before_commit:1")
        first.state("running")
        with world.place.open() as log:
            world.produce(log, 50, poison=0)
        assert first.wait_end() == -signal.SIGKILL
    with world.place.open() as log:
        world.produce(log, 50, poison=0)
        with world.app(log, world.spec(start="latest")):
            world.wait_settled(log)
        world.check_exact(log, since=before)


def test_a_second_instance_fences_the_first(world: World) -> None:
    with world.place.open() as log:
        with world.app(log, world.spec()) as first:
            world.produce(log, 2_000)
            first.counted(1)
            with world.app(log, world.spec()) as second:
                second.state("running")
                world.produce(log, 2_000)
                fenced = first.wait(lambda r: r["state"] == "idle")
                assert fenced["reason"] == "worker_lost"
                world.produce(log, 1_000)
                world.wait_settled(log)
        assert first.states[-2:] == ["stopping", "idle"]
        world.check_exact(log)


def test_poison_between_good_records_becomes_dead_letters(world: World) -> None:
    with world.place.open() as log:
        world.produce(log, 3_000, poison=0.3)
        with world.app(log, world.spec()) as app:
            told = app.counted(3_000)
        assert told["counters"]["dead"] == len(world.poison)
        world.check_exact(log)
        kinds = Counter(_error(h) for _, _, h in world.read(log, f"ts.{world.uid}.dead"))
        assert set(kinds) == {"empty", "json", "number", "duplicate_key", "encoding", "not_object"}


def _error(headers: object) -> str:
    return json.loads(dict(headers)["ts-dead"])["error"]  # type: ignore[call-overload]


def test_a_child_stops_gracefully_at_sigterm(world: World) -> None:
    with world.place.open() as log:
        world.produce(log, 1_000)
    child = world.child(world.spec())
    child.counted(1_000)
    assert child.terminate() == 0
    assert child.states == ["init", "starting", "running", "stopping", "idle"]
    with world.place.open() as log:
        world.check_exact(log)
        lines = [v for _, v, _ in world.read(log, f"{world.target}.log")]
        assert [
            state for line in lines for state in child.states if f'"state":"{state}"'.encode() in line
        ] == child.states


def test_a_new_revision_goes_on_where_the_old_one_stopped(world: World) -> None:
    with world.place.open() as log:
        world.produce(log, 2_000, poison=0)
        with world.app(log, world.spec()) as first:
            first.counted(2_000)
        middle = len(world.sent)
        world.produce(log, 2_000, poison=0)
        text = "SELECT * FROM * WHERE result >= 20;"
        with world.app(log, world.spec(text, revision=2)) as second:
            second.counted(2_000)
        output = Counter((k, v) for k, v, _ in world.read(log, f"{world.target}.ext"))
        results = [(k, v, json.loads(v)["result"]) for k, v, _ in world.sent]
        expected = Counter((k, v) for k, v, r in results[:middle] if r < 20)
        expected += Counter((k, v) for k, v, r in results[middle:] if r >= 20)
        assert output == expected
        world.check_settled(log, revision=2)


def test_a_lost_position_is_a_state_with_a_reason(world: World) -> None:
    with world.place.open() as log:
        world.produce(log, 500)
        with world.app(log, world.spec()) as app:
            app.counted(500)
        world.produce(log, 500)
        tps = [TopicPartition(f"{world.source}.int", p) for p in range(3)]
        log.admin().delete_records(log.admin().end_offsets(tps))
        with world.app(log, world.spec()) as app:
            assert app.state("failing")["reason"] == "position_lost"


def test_a_paused_app_commits_and_goes_on_later(world: World) -> None:
    with world.place.open() as log:
        world.produce(log, 500)
        with world.app(log, world.spec()) as app:
            app.counted(500)
            app.pause.set()
            app.state("paused")
            world.produce(log, 500)
            app.pause.clear()
            app.counted(1_000)
        assert app.states == ["init", "starting", "running", "paused", "running", "stopping", "idle"]
        world.check_exact(log)


def test_a_record_without_datastream_of_the_system_is_a_dead_letter(world: World) -> None:
    with world.place.open() as log:
        foreign = world.value(1, 3).replace(world.log_key(1).encode(), b"it.other.system.here.Thing.Quantity")
        by_id = b'{"phenomenonTime":"2026-11-24T12:00:00Z","result":3,"Datastream":{"@iot.id":2}}'
        unknown_id = by_id.replace(b":2}", b":77}")
        by_key = b'{"phenomenonTime":"2026-11-24T12:00:00Z","result":3}'
        late = world.value(6, 3)
        key = world.log_key(5).encode()
        producer = log.producer()
        for value in (foreign, by_id, unknown_id, by_key, late):
            producer.send(OutRecord(f"{world.source}.int", value, key))
        producer.flush(10)
        with world.app(log, world.spec()) as app:
            app.state("starting")
            world.register(log, 6)
            app.counted(5)
        output = {v: k for k, v, _ in world.read(log, f"{world.target}.ext")}
        assert output == {
            by_id: world.log_key(2).encode(),
            by_key: key,
            late: world.log_key(6).encode(),
        }
        letters = world.read(log, f"ts.{world.uid}.dead")
        assert [(v, _error(h)) for _, v, h in letters] == [(v, "foreign_datastream") for v in (foreign, unknown_id)]
        producer.close()
