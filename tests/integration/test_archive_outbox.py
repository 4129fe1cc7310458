"""History and log agree record by record, whatever dies in between."""

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from archive_stand import CAR, STATION, embedded, instances, on, running, wait_for

from twinstack.bridges.archive import Archive
from twinstack.bridges.history import Resolver, read
from twinstack.bridges.outbox import Publisher
from twinstack.bridges.process import Stop
from twinstack.bridges.replay import replay
from twinstack.bridges.topics import specs_of
from twinstack.core.errors import Conflict
from twinstack.core.instances import load_instances
from twinstack.core.settings import load
from twinstack.log.seam import OutRecord
from twinstack.log.topics import ensure_topics
from twinstack.platform.systems import Systems
from twinstack.sensorthings.model import DATASTREAM, OBSERVATION
from twinstack.sensorthings.store import NewObservation, WriteContext, dead_letters, open_store, outbox, tables
from twinstack.streams.catalogue import Datastream, SystemCatalogue
from twinstack.streams.context import FOREIGN, SourceContext
from twinstack.streams.decode import Decoder

LAB = WriteContext(lab=True)


@pytest.fixture
def s(tmp_path):
    with embedded(tmp_path) as (log, address), on(log, address, tmp_path) as made:
        yield made


class InProcess:
    """Archive or publisher on a thread of this process, on its own store."""

    def __init__(self, s, kind, **options):
        self.events = []
        self.stop = Stop()
        self.store = open_store(s.store.url)
        self.bridge = kind(self.store, s.log, lambda event, fields: self.events.append((event, fields)), **options)
        self.thread = threading.Thread(target=self.bridge.run, args=(self.stop,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(10)
        self.store.close()

    def names(self):
        return [event for event, _ in self.events]


def produce(s, *records):
    producer = s.log.producer()
    for record in records:
        producer.send(record)
    producer.flush(10)


# --- kill -9 --------------------------------------------------------------------------------------------------------
ARCHIVE_POINTS = [
    "archive.before_write",
    "archive.before_commit",
    "store.before_commit:2",
    "store.after_commit",
    "archive.after_commit",
]


def test_the_archive_is_killed_everywhere(s):
    for point in ARCHIVE_POINTS:
        process = s.spawn("archive", point)
        s.produce(40)
        assert process.wait(60) == -signal.SIGKILL, point
        process.stdin.close()
    with running(s.spawn("archive")):
        s.produce(40)
        wait_for(lambda: s.history() == s.on_log())
    assert s.history().total() == s.produced == s.stat_sum()
    assert set(s.history().values()) == {1}
    assert s.dead() == []


OUTBOX_POINTS = [
    "outbox.after_init",
    "outbox.before_commit",
    "outbox.after_commit",
    "outbox.before_commit:2",
    "outbox.after_commit:2",
]


def test_the_outbox_is_killed_everywhere(s):
    for point in OUTBOX_POINTS:
        process = s.spawn("outbox", point)
        while process.poll() is None:
            s.insert(7)
            time.sleep(0.05)
        assert process.returncode == -signal.SIGKILL, point
        process.stdin.close()
    with running(s.spawn("outbox")), running(s.spawn("archive")):
        s.insert(7)
        s.produce(10)
        wait_for(lambda: s.history() == s.on_log())
    assert s.history().total() == s.produced
    assert set(s.on_log().values()) == {1}


def test_rows_are_deleted_after_a_while_and_a_kill_there_loses_nothing(s):
    with InProcess(s, Publisher, keep_s=0.05) as publisher:
        s.insert(5)
        shard = outbox.shard_of(CAR)
        wait_for(lambda: publisher.bridge.counters.sent == 5)
        wait_for(lambda: s.store.outbox_read(shard, 0, 10) == [])
        with s.store.reader() as connection:
            assert outbox.waiting_bytes(connection) == 0
    with InProcess(s, Publisher, keep_s=0.05):
        s.insert(5)
        wait_for(lambda: s.on_log() == s.history())
    assert s.history().total() == 10


@pytest.mark.parametrize("point", ["store.before_commit:7", "store.after_commit:7"])
def test_a_killed_writer_lost_nothing_it_acknowledged(s, point):
    script = Path(__file__).parent / "store_writer.py"
    arguments = [sys.executable, str(script), s.store.url, str(s.ids["q0"]), "1"]
    done = subprocess.run(arguments, env={"TWINSTACK_FAILPOINT": point}, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    acknowledged = [float(line) for line in done.stdout.split()]
    assert acknowledged == [float(i) for i in range(1, 7)]
    with InProcess(s, Publisher):
        wait_for(lambda: s.on_log() == s.history())
    assert {result for _, _, result in s.history()} >= set(acknowledged)
    assert s.history().total() == (7 if "after" in point else 6)


def test_children_stop_when_they_are_told_and_when_their_parent_closes_the_pipe(s):
    archive, publisher = s.spawn("archive"), s.spawn("outbox")
    with running(archive), running(publisher):
        out = s.folder / "archive.jsonl"
        wait_for(lambda: b'"running"' in out.read_bytes())
        wait_for(lambda: b'"running"' in (s.folder / "outbox.jsonl").read_bytes())
        archive.send_signal(signal.SIGTERM)
        publisher.stdin.close()
        assert (archive.wait(10), publisher.wait(10)) == (0, 0)
        assert b'"stopped"' in out.read_bytes()
        publisher.stdin = subprocess.DEVNULL  # closed above
        publisher.stdin = archive.stdin


# --- two owners -----------------------------------------------------------------------------------------------------
def test_two_archives_store_each_record_once(s):
    with InProcess(s, Archive) as a, InProcess(s, Archive) as b:
        for _ in range(10):
            s.produce(20)
        wait_for(lambda: s.history() == s.on_log())
        # counters follow the commit, and a record both wrote counts at both
        wait_for(lambda: a.bridge.counters.stored + b.bridge.counters.stored >= 200)
    assert s.history().total() == 200


@pytest.mark.kafka
def test_kafka_and_history_agree_over_restarts_and_kills(kafka_node, tmp_path):
    log = kafka_node.log()
    with on(log, kafka_node.bootstrap, tmp_path) as s:
        for point in ("outbox.before_commit", "outbox.after_commit"):
            process = s.spawn("outbox", point)
            s.insert(20)
            assert process.wait(90) == -signal.SIGKILL
            process.stdin.close()
        process = s.spawn("archive", "archive.before_commit")
        s.produce(30)
        assert process.wait(90) == -signal.SIGKILL
        process.stdin.close()
        with running(s.spawn("outbox")), running(s.spawn("archive")):
            s.insert(20)
            s.produce(30)
            wait_for(lambda: s.history() == s.on_log(), 90)
        assert s.history().total() == s.produced == 120
        assert s.dead() == []
    log.close()


def test_two_publishers_send_each_record_once(s):
    with InProcess(s, Publisher), InProcess(s, Publisher):
        for _ in range(30):
            s.insert(3)
        wait_for(lambda: s.history() == s.on_log())
    assert set(s.on_log().values()) == {1}


# --- what the archive does with records ------------------------------------------------------------------------------
def test_history_is_visible_at_once_and_what_came_from_the_store_is_skipped(s):
    with InProcess(s, Archive) as archive, InProcess(s, Publisher):
        s.produce(1)
        wait_for(lambda: s.history().total() == 1)
        s.insert(50)
        started = time.monotonic()
        s.produce(1)
        wait_for(lambda: s.history().total() == 52)
        assert time.monotonic() - started < 1.0
        wait_for(lambda: archive.bridge.counters.skipped == 50)
    assert s.history() == s.on_log()


def test_a_new_system_is_found_while_it_runs(s):
    name = "at.datahouse.iot4cps-wp5-Analytics.Road"
    with InProcess(s, Archive):
        ensure_topics(s.log.admin(), specs_of(s.store.create_system(name).result()))
        made = s.store.register_instances(load_instances(instances(["q"]), name), "c").result()
        key = made.datastreams["q"].entity["log_key"]
        produce(s, OutRecord(f"{name}.int", s.value("q0", 1).replace(s.key("q0").encode(), key.encode()), key.encode()))
        wait_for(lambda: s.history().total() == 1)


def test_attributes_join_the_parameters_and_types_stay(s):
    value = (
        b'{"phenomenonTime":"2026-01-01T00:00:00.5+01:00","resultTime":"2026-01-01T00:00:00Z","result":5,'
        b'"Datastream":{"@iot.id":%d},"longitude":13.1,"parameters":{"p":1},"resultQuality":"good"}' % s.ids["q1"]
    )
    with InProcess(s, Archive):
        produce(s, OutRecord(f"{CAR}.int", value, b'{"a thing": "as the original keys it"}'))
        wait_for(lambda: s.history().total() == 1)
    with s.store.reader() as connection:
        row = connection.execute(sa.select(tables.observation)).one()
    assert (row.datastream_id, row.result, row.kind) == (s.ids["q1"], 5, "i")
    assert row.extra == {"parameters": {"longitude": 13.1, "p": 1}, "resultQuality": "good"}
    assert row._mapping["t"] == 1_767_222_000_500_000
    assert row.feature_id is not None


def test_what_cannot_be_stored_is_a_dead_letter(s):
    good = s.value("q0", 1)
    foreign = good.replace(b'"@iot.id":1', b'"@iot.id":999').replace(s.key("q0").encode(), b"other")
    key = s.key("q0").encode()
    bad = [
        (key, b"junk"),
        (key, b""),
        (key, b'{"result":1,"result":2}'),
        (key, b'{"phenomenonTime":"2026-01-01T00:00:00Z","Datastream":{"@iot.id":1}}'),
        (key, b'{"phenomenonTime":"then","result":1,"Datastream":{"@iot.id":1}}'),
        (key, good.replace(b'"result":1.0', b'"result":"text"')),
        (key, good.replace(b'"result":1.0', b'"result":NaN')),
        (key, good.replace(b'"result":1.0', b'"result":1.0,"x":"\\u0000"')),
        (b"other", foreign),
    ]
    with InProcess(s, Archive) as archive:
        produce(s, *(OutRecord(f"{CAR}.int", value, k, partition=0) for k, value in bad))
        produce(s, OutRecord(f"{CAR}.int", good, key, partition=0))
        wait_for(lambda: s.history().total() == 1 and archive.bridge.counters.dead == len(bad))
    assert [d.reason for d in s.dead()] == [
        "json",
        "empty",
        "duplicate_key",
        "missing_result",
        "timestamp",
        "invalid_result",
        "number",
        "invalid_input",
        "foreign_datastream",
    ]
    assert [d.value for d in s.dead()] == [value for _, value in bad]


def test_a_system_cannot_write_into_anothers_history(s):
    """Neither by id, nor by key, nor with the header of a record that was archived before."""
    produce(s, OutRecord(f"{STATION}.int", s.value("q0", 1), s.key("q0").encode()))
    s.store.ensure_copies(CAR, STATION).result()
    produce(s, OutRecord(f"{STATION}.int", s.value("q0", 2), s.key("q0").encode()))
    produce(s, OutRecord(f"{STATION}.ext", s.value("q0", 3), s.key("q0").encode()))
    with InProcess(s, Archive) as archive:
        wait_for(lambda: archive.bridge.counters.dead == 2 and s.history().total() == 1)
    copy = s.store.catalogue(STATION)[0]["@iot.id"]
    assert set(s.history()) == {(copy, 3_000_000, 3.0)}


def test_archive_and_apps_agree_whose_a_record_is(s):
    """Of key, name and id any may be missing, wrong or another's: what history files under one Datastream no app may
    take for another, or for nobody's."""
    rename = [s.ids["q1"], s.key("q1").replace("q1", "renamed")]
    s.store.update(DATASTREAM, rename[0], {"name": rename[1]}, LAB).result()
    names = [None, s.key("q0"), s.key("q1"), rename[1], f"{STATION}.Car1.q0", "q0", 5]
    numbers = [None, s.ids["q0"], s.ids["q1"], 999, 2**40, "1", True]
    keys = [None, s.key("q0"), s.key("q1"), rename[1], '{"name": "Car1"}']
    entities = [Datastream.of_entity(e["log_key"], e, CAR) for e in s.store.catalogue(CAR)]
    context = SourceContext(f"{CAR}.int", SystemCatalogue(CAR, by_key={e.log_key: e for e in entities}), needed=True)
    resolver = Resolver(s.store)
    by_key = {e.log_key: e.ids[0] for e in entities}
    for name, number, key in itertools.product(names, numbers, keys):
        link = {"name": name, "@iot.id": number}
        link = {field: value for field, value in link.items() if value is not None}
        value = json.dumps({"phenomenonTime": "2026-01-01T00:00:00Z", "result": 1, "Datastream": link}).encode()
        raw_key = key.encode() if key else None
        claim, _ = read(raw_key, value, 0)
        resolver.learn(CAR, [claim], received=False)
        code = int(context.resolve(Decoder().decode([value]), lambda k=raw_key: [k])[0])
        by_app = None if code == FOREIGN else by_key[context.datastreams[code].log_key]
        assert resolver.find(CAR, claim, received=False) == by_app, (link, key)


def test_a_stolen_header_keeps_no_other_record_out(s):
    with InProcess(s, Archive) as archive, InProcess(s, Publisher):
        s.insert(1)
        wait_for(lambda: archive.bridge.counters.skipped == 1)
        ((key, _, headers),) = s.records(f"{CAR}.int")
        assert [name for name, _ in headers] == ["ts-id", "ts-store"]
        produce(s, OutRecord(f"{CAR}.int", s.value("q1", 77), key, headers))
        wait_for(lambda: s.history().total() == 2)


def test_a_datastream_registered_after_the_app_started_has_its_history(s):
    s.store.ensure_copies(CAR, STATION).result()
    s.store.register_instances(load_instances(instances(["late"]), CAR), "car").result()
    s.ids["late"] = s.store.resolve_datastreams(CAR, [s.key("late")])[s.key("late")]["@iot.id"]
    app = (("ts-app", b"abcdefghij 1"),)
    with InProcess(s, Archive) as archive:
        produce(s, OutRecord(f"{STATION}.ext", s.value("late", 1), s.key("late").encode(), app))
        produce(s, OutRecord(f"{STATION}.ext", s.value("late", 2), b"keyed by something else", app))
        wait_for(lambda: s.history().total() == 2)
        assert archive.bridge.counters.dead == 0
    copies = {e["log_key"]: e for e in s.store.catalogue(STATION)}
    assert copies[s.key("late")]["copy_of"] == s.ids["late"]
    assert {d for d, _, _ in s.history()} == {copies[s.key("late")]["@iot.id"]}


def test_without_an_app_nothing_is_copied(s):
    with InProcess(s, Archive) as archive:
        produce(s, OutRecord(f"{STATION}.ext", s.value("q0", 1), s.key("q0").encode()))
        wait_for(lambda: archive.bridge.counters.dead == 1)
    assert s.dead()[0].reason == "foreign_datastream"
    assert s.store.catalogue(STATION) == []


def test_received_records_are_not_kept_when_the_system_says_so(s):
    s.store.ensure_copies(CAR, STATION).result()
    s.store.write(
        lambda tx: tx.connection.execute(
            sa.update(tables.system).where(tables.system.c.name == STATION).values(archive_received=False)
        )
    ).result()
    with InProcess(s, Archive) as archive:
        for n in range(1, 4):
            produce(s, OutRecord(f"{STATION}.ext", s.value("q0", n), s.key("q0").encode()))
        wait_for(lambda: [r for _, _, r in s.history()] == [3.0])
        assert archive.bridge.counters.dead == 0


def test_a_datastream_deleted_and_registered_anew_gets_its_records(s):
    with InProcess(s, Archive) as archive:
        produce(s, OutRecord(f"{CAR}.int", s.value("q0", 1), s.key("q0").encode()))
        wait_for(lambda: s.history().total() == 1)
        s.store.delete(DATASTREAM, s.ids["q0"], LAB).result()
        again = s.store.register_instances(load_instances(instances(["q0"]), CAR), "car").result()
        produce(s, OutRecord(f"{CAR}.int", s.value("q0", 2), s.key("q0").encode()))
        wait_for(lambda: set(s.history()) == {(again.datastreams["q0"].id, 2_000_000, 2.0)})
        assert archive.bridge.counters.dead == 0


def test_a_topic_made_again_is_read_from_its_beginning(s):
    with InProcess(s, Archive) as archive:
        s.produce(5)
        wait_for(lambda: s.history().total() == 5)
        s.log.admin().delete_topics([f"{CAR}.int"])
        ensure_topics(s.log.admin(), specs_of(s.store.system(CAR)))
        s.produce(4)
        wait_for(lambda: s.history().total() == 9)
        assert "topic_made_again" in archive.names()


def test_a_position_beyond_the_end_goes_to_the_end_and_is_reported(s):
    uuid = s.log.admin().describe(f"{CAR}.int").uuid
    for partition in range(3):
        s.store.archive_batch(f"{CAR}.int", partition, uuid, None, 1000, [], []).result()
    with InProcess(s, Archive) as archive:
        wait_for(lambda: archive.names().count("position_beyond_end") == 3)
        s.produce(5)
        wait_for(lambda: s.history().total() == 5)


def test_history_changes_do_not_reach_the_log(s):
    with InProcess(s, Publisher) as publisher:
        s.insert(2)
        wait_for(lambda: publisher.bridge.counters.sent == 2)
        before = s.records(f"{CAR}.int")
        s.store.update(OBSERVATION, 1, {"result": 9.0}, LAB).result()
        s.store.delete(OBSERVATION, 2, LAB).result()
        s.insert(1)
        wait_for(lambda: publisher.bridge.counters.sent == 3)
    assert s.records(f"{CAR}.int")[: len(before)] == before or len(s.records(f"{CAR}.int")) == 3


def test_meta_carries_full_entities_and_tombstones(s):
    import json

    def latest(system):
        return {key: value for key, value, _ in s.records(f"{system}.meta")}

    with InProcess(s, Publisher):
        wait_for(lambda: len(latest(CAR)) == 3)
        entity = json.loads(latest(CAR)[s.key("q0").encode()])
        assert (entity["@iot.id"], entity["Thing"]["name"], entity["log_key"]) == (
            s.ids["q0"],
            f"{CAR}.Car1",
            s.key("q0"),
        )
        assert entity["Sensor"]["name"] and entity["ObservedProperty"]["name"] and entity["unitOfMeasurement"]
        s.store.ensure_copies(CAR, STATION).result()
        wait_for(lambda: len(latest(STATION)) == 3)
        copy = json.loads(latest(STATION)[s.key("q0").encode()])
        assert (copy["copy_of"], copy["system"]) == (s.ids["q0"], STATION)
        s.store.update(DATASTREAM, s.ids["q0"], {"description": "new"}, LAB).result()
        wait_for(lambda: b'"new"' in latest(STATION)[s.key("q0").encode()])
        s.store.delete(DATASTREAM, s.ids["q0"], LAB).result()
        wait_for(lambda: latest(CAR)[s.key("q0").encode()] is None)


def test_a_meta_topic_that_was_lost_is_filled_again(s):
    """As at the first start on another log: apps know a Datastream only from there."""

    def latest():
        return {key: value for key, value, _ in s.records(f"{CAR}.meta")}

    with InProcess(s, Publisher):
        known = wait_for(lambda: len(found := latest()) == 3 and found)
    s.log.admin().delete_topics([f"{CAR}.meta"])
    Systems(s.store, s.log.admin(), load({}).settings).repair()
    with InProcess(s, Publisher):
        wait_for(lambda: latest() == known)


def test_a_store_put_back_from_a_backup_sends_rather_twice_than_never(s):
    with InProcess(s, Publisher) as publisher:
        s.insert(3)
        wait_for(lambda: publisher.bridge.counters.sent == 3)
    shard = outbox.shard_of(CAR)
    s.store.write(
        lambda tx: tx.connection.execute(
            sa.update(tables.outbox_head).where(tables.outbox_head.c.shard == shard).values(seq=0)
        )
    ).result()
    s.store.outbox_delete(shard, 100).result()
    with InProcess(s, Publisher) as publisher:
        s.store.insert_observations([NewObservation(s.ids["q0"], 99, 99.0)]).result()
        wait_for(lambda: publisher.bridge.counters.sent == 1)
        assert "store_is_older" in publisher.names()


def test_dead_letters_are_replayed_once(s):
    late = s.value("q0", 1).replace(s.key("q0").encode(), s.key("late").encode()).replace(b'"@iot.id":1', b'"x":1')
    with InProcess(s, Archive) as archive:
        produce(s, OutRecord(f"{CAR}.int", late, s.key("late").encode()), OutRecord(f"{CAR}.int", b"junk", b"k"))
        wait_for(lambda: archive.bridge.counters.dead == 2)
    unknown, junk = sorted(s.dead(), key=lambda d: d.reason != "foreign_datastream")
    assert replay(s.store, unknown.id) == "open"
    s.store.register_instances(load_instances(instances(["late"]), CAR), "car").result()
    assert replay(s.store, unknown.id) == "done"
    assert replay(s.store, junk.id) == "open"
    with pytest.raises(Conflict):
        replay(s.store, unknown.id)
    assert s.history().total() == 1
    assert s.store.write(lambda tx: dead_letters.discard(tx, junk.id)).result() == "discarded"
    with s.store.reader() as connection:
        assert dead_letters.letters(connection) == []
        assert [x.state for x in dead_letters.letters(connection, state=None, topic=f"{CAR}.int")] != []
