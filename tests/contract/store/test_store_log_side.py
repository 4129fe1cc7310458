"""The log side: packed outbox rows, archive positions, dead letters, received copies, registration."""

import json
from functools import partial

import pytest
import store_bodies as b
from store_bodies import CAR, STATION, rows

from twinstack.core import limits
from twinstack.core.errors import Fenced, InvalidResult, NotFound, Unavailable
from twinstack.core.instances import load_instances
from twinstack.core.names import DEFAULT_SYSTEM
from twinstack.sensorthings.model import DATASTREAM, OBSERVATION, SENSOR, THING
from twinstack.sensorthings.store import NewObservation, WriteContext, outbox, tables
from twinstack.sensorthings.store.archiving import ArchiveRow, DeadLetter, Position, RawRecord

INSTANCES = {
    "Things": {"car": {"name": "Car1", "description": "a car", "Locations": [b.location()]}},
    "Sensors": {"thermo": b.sensor("thermo")},
    "Datastreams": {
        "temperature": {
            "name": "Air Temperature",
            "description": "air",
            "observationType": "OM_Measurement",
            "unitOfMeasurement": {"name": "degree Celsius", "symbol": "degC", "definition": "ucum:Cel"},
            "Thing": "car",
            "Sensor": "thermo",
            "ObservedProperty": b.observed_property("Air Temperature"),
        }
    },
}
KEY = f"{CAR}.Car1.Air Temperature"


@pytest.fixture
def car(store):
    """A system with one registered Datastream."""
    for name in (CAR, STATION):
        store.create_system(name).result()
    return store.register_instances(load_instances(INSTANCES, CAR), "car-client").result()


def read_all(store, system):
    return store.outbox_read(outbox.shard_of(system), 0, 1000)


class TestOutbox:
    def test_one_row_per_commit_with_all_records_in_order(self, store, lab):
        store.create(THING, b.whole(), lab).result()
        ids = store.insert_observations([NewObservation(1, i, i / 2) for i in range(100)]).result()
        (_, meta), (seq, payload) = read_all(store, DEFAULT_SYSTEM)
        assert meta.meta == [(DEFAULT_SYSTEM, 1)] and meta.values == []
        assert seq == 2
        assert payload.observation_ids == ids
        assert [json.loads(v)["result"] for v in payload.values] == [i / 2 for i in range(100)]
        assert payload.topic_names == [f"{DEFAULT_SYSTEM}.int"]
        assert set(payload.keys) == {f"{DEFAULT_SYSTEM}.thing.stream"}
        headers = outbox.headers_of(b"k", "uuid", payload)
        assert len({dict(h)["ts-id"] for h in headers}) == 100

    def test_a_large_commit_is_rows_that_the_publisher_can_send(self, store, lab):
        """However much one request stores: a row is sent in one transaction of the log, which has its bound."""
        store.create(THING, b.whole(), lab).result()
        n = 2 * limits.GROUP_COMMIT_ROWS_MAX + 1
        ids = store.insert_observations([NewObservation(1, i, i / 2) for i in range(n)]).result()
        rows = read_all(store, DEFAULT_SYSTEM)[1:]
        assert [seq for seq, _ in rows] == [2, 3, 4]
        assert [i for _, payload in rows for i in payload.observation_ids] == ids
        assert max(len(payload.values) for _, payload in rows) <= limits.GROUP_COMMIT_ROWS_MAX
        text = "x" * (limits.OUTBOX_TRANSACTION_BYTES_MAX // 20)
        store.insert_observations([NewObservation(1, i, text) for i in range(40)]).result()
        for _, payload in read_all(store, DEFAULT_SYSTEM)[4:]:
            assert sum(map(len, payload.values)) <= limits.OUTBOX_TRANSACTION_BYTES_MAX

    def test_a_record_is_what_the_binding_says(self, store, lab):
        store.create(THING, b.whole(), lab).result()
        body = {
            "phenomenonTime": "2026-01-01T01:00:00.5+01:00/2026-01-01T02:00:00+01:00",
            "resultTime": "2026-01-01T00:00:01Z",
            "result": {"a": [1, 2.5, None]},
            "parameters": {"p": 1},
            "resultQuality": "good",
            "validTime": "2026-01-01T00:00:00Z/2026-01-02T00:00:00Z",
            "Datastream": {"@iot.id": 1},
        }
        store.create(OBSERVATION, body, lab).result()
        (_, payload) = read_all(store, DEFAULT_SYSTEM)[-1]
        assert json.loads(payload.values[0]) == {
            "phenomenonTime": "2026-01-01T00:00:00.5Z/2026-01-01T01:00:00Z",
            "resultTime": "2026-01-01T00:00:01Z",
            "result": {"a": [1, 2.5, None]},
            "Datastream": {"@iot.id": 1, "name": f"{DEFAULT_SYSTEM}.thing.stream"},
            "parameters": {"p": 1},
            "resultQuality": "good",
            "validTime": "2026-01-01T00:00:00Z/2026-01-02T00:00:00Z",
        }

    def test_a_refused_request_sends_nothing(self, store, lab):
        store.create(THING, b.whole(), lab).result()
        with pytest.raises(NotFound):
            store.insert_observations([NewObservation(1, 1, 1.0), NewObservation(9, 1, 1.0)]).result()
        assert len(read_all(store, DEFAULT_SYSTEM)) == 1
        assert rows(store, tables.observation) == []

    def test_a_partial_request_stores_the_good_rows(self, store, lab):
        store.create(THING, b.whole(), lab).result()
        out = store.insert_observations([NewObservation(9, 1, 1.0), NewObservation(1, 1, 1.0)], partial=True).result()
        assert isinstance(out[0], NotFound)
        assert [r["id"] for r in rows(store, tables.observation)] == [out[1]]

    def test_deleting_sends_a_tombstone(self, store, lab):
        store.create(THING, b.whole(), lab).result()
        store.delete(DATASTREAM, 1, lab).result()
        assert read_all(store, DEFAULT_SYSTEM)[-1][1].gone == [(DEFAULT_SYSTEM, f"{DEFAULT_SYSTEM}.thing.stream")]

    def test_a_full_outbox_refuses_writes_and_lets_the_archive_go_on(self, store, lab, car, monkeypatch):
        monkeypatch.setattr(limits, "OUTBOX_BYTES_MAX", 10)
        with pytest.raises(Unavailable, match="wait for the log"):
            store.create(THING, b.thing(), lab).result()
        ds = car.datastreams["temperature"].id
        raw = RawRecord(0, 0, b"k", b"v")
        row = ArchiveRow(NewObservation(ds, 1, 1.0), lambda: raw)
        assert store.archive_batch(f"{CAR}.int", 0, "u", None, 1, [row], []).result() == (1, 0)
        shard = outbox.shard_of(CAR)
        store.outbox_delete(shard, store.outbox_read(shard, 0, 9)[-1][0]).result()
        assert store.create(THING, b.thing(), lab).result().id == 2

    def test_sequence_is_gapless_after_failures(self, store, lab):
        store.create(THING, b.whole(), lab).result()
        for i in range(5):
            store.insert_observations([NewObservation(1, i, 1.0)]).result()
            with pytest.raises(NotFound):
                store.insert_observations([NewObservation(9, i, 1.0)]).result()
        assert [seq for seq, _ in read_all(store, DEFAULT_SYSTEM)] == [1, 2, 3, 4, 5, 6]

    def test_headers_verify_only_as_they_were_signed(self):
        key, uuid = b"k" * 32, "11111111-1111-1111-1111-111111111111"
        header = outbox.sign(key, uuid, 7, b"key", b"value")
        assert outbox.verify(key, uuid, header, b"key", b"value")
        assert not outbox.verify(key, uuid, header, b"key", b"other")
        assert not outbox.verify(key, uuid, header, b"other", b"value")
        assert not outbox.verify(b"x" * 32, uuid, header, b"key", b"value")
        assert not outbox.verify(key, "22222222-2222-2222-2222-222222222222", header, b"key", b"value")
        for junk in (b"", b"a b c", b"\xff", header + b"x", header.replace(b" 7 ", b" 8 ")):
            assert not outbox.verify(key, uuid, junk, b"key", b"value")


class TestArchive:
    def archive(self, store, expected, following, *rows_, dead=(), uuid="u", **more):
        return store.archive_batch(f"{CAR}.int", 0, uuid, expected, following, rows_, dead, **more).result()

    def test_rows_and_offset_in_one_transaction(self, store, car):
        ds = car.datastreams["temperature"].id
        row = ArchiveRow(NewObservation(ds, 10, 1.5), lambda: RawRecord(0, 5, b"k", b"v"))
        assert self.archive(store, None, 1, row) == (1, 0)
        assert store.archive_positions([f"{CAR}.int"]) == {(f"{CAR}.int", 0): Position("u", 1)}
        assert store.latest([ds])[ds]["result"] == 1.5
        assert read_all(store, CAR)[-1][1].values == []  # what came from the log does not go back

    def test_a_second_owner_is_fenced_and_stores_nothing(self, store, car):
        ds = car.datastreams["temperature"].id
        row = ArchiveRow(NewObservation(ds, 10, 1.5), lambda: RawRecord(0, 5, b"k", b"v"))
        self.archive(store, None, 1, row)
        for expected in (None, 0, 2):
            with pytest.raises(Fenced):
                self.archive(store, expected, 3, row)
        assert len(rows(store, tables.observation)) == 1

    def test_a_topic_made_again_starts_over(self, store, car):
        self.archive(store, None, 7)
        self.archive(store, 7, 1, uuid="other")
        assert store.archive_positions([f"{CAR}.int"])[f"{CAR}.int", 0] == Position("other", 1)

    def test_what_cannot_be_stored_is_a_dead_letter_with_its_bytes(self, store, car):
        ds = car.datastreams["temperature"].id
        big = b"x" * (limits.DEAD_LETTER_RAW_BYTES_MAX + 1)
        self.archive(
            store,
            None,
            4,
            ArchiveRow(NewObservation(ds, 1, "text"), lambda: RawRecord(1, 5, b"k", b"text", (("ts-id", b"\xff"),))),
            ArchiveRow(NewObservation(ds, 1, 1.0), lambda: RawRecord(2, 5, b"k", b"good")),
            ArchiveRow(NewObservation(99, 1, 1.0), lambda: RawRecord(3, 5, b"k", b"unknown")),
            dead=[DeadLetter(RawRecord(0, 5, None, big), "json", "not JSON")],
        )
        dead = rows(store, tables.archive_dead)
        assert [(d["offset"], d["reason"]) for d in dead] == [
            (0, "json"),
            (1, InvalidResult.code),
            (3, "foreign_datastream"),
        ]
        assert len(dead[0]["value"]) == limits.DEAD_LETTER_RAW_BYTES_MAX
        assert dead[0]["value_bytes"] == len(big) and "SHA-256" in dead[0]["message"]
        assert dead[1]["value"] == b"text"
        assert len(rows(store, tables.observation)) == 1

    def test_keeping_only_the_latest(self, store, car):
        ds = car.datastreams["temperature"].id
        for first, times in ((None, (10, 30, 20)), (1, (5,)), (2, (40, 35))):
            raw = RawRecord(0, 5, b"k", b"v")
            batch = [ArchiveRow(NewObservation(ds, t, float(t)), partial(RawRecord, *raw)) for t in times]
            self.archive(store, first, (first or 0) + 1, *batch, keep_all=False)
        assert [o["result"] for o in rows(store, tables.observation)] == [40.0]
        assert rows(store, tables.datastream_stat)[0]["n"] == 1

    def test_a_thing_without_location_is_no_error_here(self, store, lab):
        stream = b.datastream(Sensor=b.sensor(), ObservedProperty=b.observed_property())
        store.create(THING, b.thing(Datastreams=[stream]), lab).result()
        row = ArchiveRow(NewObservation(1, 10, 1.5), lambda: RawRecord(0, 5, b"k", b"v"))
        assert store.archive_batch(f"{DEFAULT_SYSTEM}.int", 0, "u", None, 1, [row], []).result() == (1, 0)
        assert rows(store, tables.observation)[0]["feature_id"] is None


class TestRegistration:
    def test_everything_by_local_name_with_full_entities(self, store, car):
        made = car.datastreams["temperature"]
        assert made.status == "created"
        assert made.entity["log_key"] == made.entity["name"] == KEY
        assert made.entity["Thing"]["name"] == f"{CAR}.Car1"
        assert made.entity["Sensor"]["name"] == f"{CAR}.thermo"
        assert made.entity["ObservedProperty"]["name"] == f"{CAR}.Air Temperature"
        assert car.things["car"].entity["@iot.id"] == car.things["car"].id

    def test_twice_changes_nothing(self, store, car):
        before = read_all(store, CAR)
        again = store.register_instances(load_instances(INSTANCES, CAR), "car-client").result()
        parts = (again.things, again.sensors, again.observed_properties, again.datastreams)
        assert {r.status for part in parts for r in part.values()} == {"unchanged"}
        assert again.datastreams["temperature"].id == car.datastreams["temperature"].id
        assert read_all(store, CAR) == before

    def test_a_change_is_seen(self, store, car):
        changed = json.loads(json.dumps(INSTANCES))
        changed["Datastreams"]["temperature"]["description"] = "another"
        changed["Things"]["car"]["Locations"][0]["location"]["coordinates"] = [1.0, 2.0]
        again = store.register_instances(load_instances(changed, CAR), "car-client").result()
        assert again.datastreams["temperature"].status == "changed"
        assert again.things["car"].status == "changed"
        assert again.datastreams["temperature"].entity["Thing"]["Locations"][0]["location"]["coordinates"] == [1.0, 2.0]

    def test_a_dry_run_stores_nothing(self, store):
        store.create_system(CAR).result()
        result = store.register_instances(load_instances(INSTANCES, CAR), "c", dry_run=True).result()
        assert result.datastreams["temperature"].status == "created"
        assert rows(store, tables.datastream) == [] and rows(store, tables.thing) == []
        assert read_all(store, CAR) == []

    def test_resolving_by_all_spellings(self, store, car):
        ds = car.datastreams["temperature"].id
        found = store.resolve_datastreams(CAR, [KEY, "Car1.Air Temperature", "nothing"])
        assert [found[n] and found[n]["@iot.id"] for n in (KEY, "Car1.Air Temperature", "nothing")] == [ds, ds, None]

    def test_results_of_registered_datastreams_are_checked(self, store, car):
        with pytest.raises(InvalidResult):
            store.insert_observations([NewObservation(car.datastreams["temperature"].id, 1, "text")]).result()


class TestCopies:
    def test_copies_are_made_once_and_keep_the_key(self, store, car):
        (copy_id,) = store.ensure_copies(CAR, STATION).result()
        assert store.ensure_copies(CAR, STATION).result() == []
        (copy,) = store.catalogue(STATION)
        assert (copy["@iot.id"], copy["log_key"], copy["copy_of"]) == (
            copy_id,
            KEY,
            car.datastreams["temperature"].id,
        )
        assert copy["Thing"]["Locations"][0]["location"] == b.POINT
        assert read_all(store, STATION)[-1][1].meta == [(STATION, copy_id)]

    def test_copies_follow_their_source(self, store, car, lab):
        store.ensure_copies(CAR, STATION).result()
        store.update(SENSOR, car.sensors["thermo"].id, {"description": "better"}, lab).result()
        store.update(DATASTREAM, car.datastreams["temperature"].id, {"description": "warmth"}, lab).result()
        (copy,) = store.catalogue(STATION)
        assert (copy["description"], copy["Sensor"]["description"]) == ("warmth", "better")

    def test_copies_cannot_be_written_through_the_api(self, store, car, lab):
        (copy_id,) = store.ensure_copies(CAR, STATION).result()
        with pytest.raises(NotFound):
            store.insert_observations([NewObservation(copy_id, 1, 1.0)]).result()
        from twinstack.core.errors import PermissionDenied

        with pytest.raises(PermissionDenied):
            store.update(DATASTREAM, copy_id, {"description": "x"}, lab).result()

    def test_the_archive_files_under_the_copy(self, store, car):
        (copy_id,) = store.ensure_copies(CAR, STATION).result()
        row = ArchiveRow(NewObservation(copy_id, 10, 1.5), lambda: RawRecord(0, 5, b"k", b"v"))
        assert store.archive_batch(f"{STATION}.ext", 0, "u", None, 1, [row], []).result() == (1, 0)
        o = rows(store, tables.observation)[0]
        feature = rows(store, tables.feature, id=o["feature_id"])[0]
        assert feature["system_id"] == store.system(STATION).id

    def test_one_copy_on_demand(self, store, car):
        assert store.ensure_copy(STATION, ["nobody.has.such.a.key"]).result() is None
        source = car.datastreams["temperature"].id
        copy_id = store.ensure_copy(STATION, [KEY]).result()
        assert store.ensure_copies(CAR, STATION).result() == []
        assert store.ensure_copy(STATION, [], source).result() == copy_id

    def test_a_deleted_source_freezes_the_copy(self, store, car, lab):
        store.ensure_copies(CAR, STATION).result()
        store.delete(DATASTREAM, car.datastreams["temperature"].id, lab).result()
        assert store.catalogue(STATION)[0]["ended"] is True


def test_apps(store, car):
    app = store.create_app(STATION, "weather2car", "SELECT * FROM *;", [CAR], "sue").result()
    assert (app.wanted, app.state, app.deployed) == ("stopped", "idle", 1)
    assert store.add_revision(app.uid, "SELECT name FROM *;", [CAR, STATION], "sue").result() == 2
    assert [(r.n, r.sources) for r in store.revisions(app.uid)] == [(2, (CAR, STATION)), (1, (CAR,))]
    running = store.set_app_state(app.uid, wanted="running", state="running", reason="user").result()
    assert (running.wanted, running.state, running.reason, running.deployed) == ("running", "running", "user", 2)
    assert store.find_app(STATION, "WEATHER2car") == running
    store.delete_app(app.uid).result()
    with pytest.raises(NotFound):
        store.app(app.uid)


async def test_writes_can_be_awaited(store, car):
    ds = car.datastreams["temperature"].id
    assert await store.insert_observations([NewObservation(ds, 1, 1.0)]) == [1]
    with pytest.raises(NotFound):
        await store.insert_observations([NewObservation(99, 1, 1.0)])


def test_a_system_may_write_only_its_own_datastreams(store, car):
    ds = car.datastreams["temperature"].id
    with pytest.raises(NotFound):
        store.insert_observations([NewObservation(ds, 1, 1.0)], WriteContext(system=STATION)).result()
    assert store.insert_observations([NewObservation(ds, 1, 1.0)], WriteContext(system=CAR)).result()
