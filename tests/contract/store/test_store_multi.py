"""A MultiDatastream on the log and beside it: records, full entities, the archive, received copies."""

import json
from functools import partial

import pytest
import sqlalchemy as sa
import store_bodies as b
from store_bodies import CAR, STATION, rows

from twinstack.core.errors import InvalidResult, NotFound
from twinstack.core.names import DEFAULT_SYSTEM
from twinstack.sensorthings.model import MULTI_DATASTREAM, OBSERVATION, OBSERVED_PROPERTY, THING
from twinstack.sensorthings.store import NewObservation, WriteContext, outbox, tables
from twinstack.sensorthings.store.archiving import ArchiveRow, RawRecord

MEASUREMENT, CATEGORY = f"{b.OM}OM_Measurement", f"{b.OM}OM_CategoryObservation"


def multi(name="wind", **more):
    return {
        "name": name,
        "description": "speed and direction",
        "multiObservationDataTypes": [MEASUREMENT, CATEGORY],
        "unitOfMeasurements": [{"symbol": "m/s"}, {"symbol": ""}],
        "Sensor": b.sensor("vane"),
        "ObservedProperties": [b.observed_property("speed"), b.observed_property("direction")],
        **more,
    }


def mast(name="mast"):
    return b.thing(name, Locations=[b.location()], MultiDatastreams=[multi(f"{name}.wind")])


@pytest.fixture
def registered(store):
    """A registered system with the MultiDatastream 1."""
    for name in (CAR, STATION):
        store.create_system(name).result()
    ctx = WriteContext(system=CAR)
    store.create(THING, mast(f"{CAR}.mast"), ctx).result()
    return ctx


def read_all(store, system):
    return store.outbox_read(outbox.shard_of(system), 0, 1000)


def test_a_record_is_that_of_a_datastream_with_an_array(store, lab):
    store.create(THING, mast(), lab).result()
    body = {"phenomenonTime": "2026-01-01T00:00:00Z", "result": [3.5, "N"], "MultiDatastream": {"@iot.id": 1}}
    made = store.create(OBSERVATION, body, lab).result()
    (_, meta), (_, payload) = read_all(store, DEFAULT_SYSTEM)
    key = f"{DEFAULT_SYSTEM}.mast.wind"
    assert (meta.meta, payload.keys, payload.observation_ids) == ([(DEFAULT_SYSTEM, 1)], [key], [made.id])
    assert json.loads(payload.values[0]) == {
        "phenomenonTime": "2026-01-01T00:00:00Z",
        "resultTime": None,
        "result": [3.5, "N"],
        "Datastream": {"@iot.id": 1, "name": key},
    }
    store.delete(MULTI_DATASTREAM, 1, lab).result()
    assert read_all(store, DEFAULT_SYSTEM)[-1][1].gone == [(DEFAULT_SYSTEM, key)]
    assert rows(store, tables.observation) == []


def test_the_full_entity_has_its_parts_in_order(store, lab):
    store.create(OBSERVED_PROPERTY, b.observed_property("direction"), lab).result()
    body = multi(Thing=b.thing(), ObservedProperties=[b.observed_property("speed"), {"@iot.id": 1}])
    store.create(MULTI_DATASTREAM, body, lab).result()
    entity = store.datastreams([1])[1]
    assert [p["name"] for p in entity["ObservedProperties"]] == ["speed", "direction"]
    assert (entity["unitOfMeasurements"], entity["multiObservationDataTypes"]) == (
        [{"symbol": "m/s"}, {"symbol": ""}],
        [MEASUREMENT, CATEGORY],
    )
    assert not {"ObservedProperty", "unitOfMeasurement"} & entity.keys()
    assert (entity["Sensor"]["name"], entity["Thing"]["name"]) == ("vane", "thing")


def test_a_changed_property_is_told(store, lab):
    store.create(THING, mast(), lab).result()
    before = len(read_all(store, DEFAULT_SYSTEM))
    store.update(OBSERVED_PROPERTY, 2, {"name": "heading"}, lab).result()
    new = read_all(store, DEFAULT_SYSTEM)[before:]
    assert [payload.meta for _, payload in new] == [[(DEFAULT_SYSTEM, 1)]]


@pytest.mark.parametrize("result", [[1.5], [1.5, "N", 3], ["fast", "N"], [1.5, 2], "N", None])
def test_a_registered_system_checks_each_member(store, registered, result):
    body = {"result": result, "MultiDatastream": {"@iot.id": 1}}
    with pytest.raises(InvalidResult):
        store.create(OBSERVATION, body, registered).result()
    assert rows(store, tables.observation) == []
    store.create(OBSERVATION, body | {"result": [None, "N"]}, registered).result()
    assert [r["kind"] for r in rows(store, tables.observation)] == ["m"]


def test_the_archive_stores_arrays_and_buries_what_has_another_length(store, registered):
    results = [[1.5, "N"], [1.5], 7, [2.5, None]]
    raw = [RawRecord(i, 1_000, b"k", b"{}") for i in range(len(results))]
    given = [ArchiveRow(NewObservation(1, i, result), partial(raw.__getitem__, i)) for i, result in enumerate(results)]
    done = store.archive_batch(f"{CAR}.int", 0, "uuid", None, 4, given, []).result()
    assert tuple(done) == (2, 2)
    assert [r["extra"]["result"] for r in rows(store, tables.observation)] == [[1.5, "N"], [2.5, None]]
    assert [r["reason"] for r in rows(store, tables.archive_dead)] == ["invalid_result"] * 2


def test_a_copy_keeps_the_order_of_its_properties(store, registered):
    store.update(
        MULTI_DATASTREAM,
        1,
        multi(f"{CAR}.mast.wind", Sensor={"@iot.id": 1}, ObservedProperties=[{"@iot.id": 2}, {"@iot.id": 1}]),
        registered,
        replace=True,
    ).result()
    [copy_id] = store.ensure_copies(CAR, STATION).result()
    entity = store.datastreams([copy_id])[copy_id]
    assert [p["name"] for p in entity["ObservedProperties"]] == ["direction", "speed"]
    assert entity["copy_of"] == 1
    with store.reader() as connection:
        kinds = connection.execute(sa.select(tables.datastream.c.kind)).scalars().all()
    assert kinds == [1, 1]


def test_names_of_both_kinds_stand_apart(store, registered):
    """A reserved name is unique among the MultiDatastreams, and posting it again on 1.0 merges."""
    old = WriteContext(system=CAR, version="1.0")
    again = multi(f"{CAR}.mast.wind", Thing={"@iot.id": 1}, Sensor={"@iot.id": 1}, description="new")
    again["ObservedProperties"] = [{"@iot.id": 1}, {"@iot.id": 2}]
    assert store.create(MULTI_DATASTREAM, again, old).result() == (1, "changed")
    assert store.create(MULTI_DATASTREAM, again, old).result() == (1, "unchanged")


def test_rows_of_either_kind_or_of_one(store, lab):
    store.create(THING, mast(), lab).result()
    with pytest.raises(NotFound):
        store.insert_observations([NewObservation(1, 1, [1, 2], multi=False)]).result()
    assert store.insert_observations([NewObservation(1, 1, [1, 2]), NewObservation(1, 1, [1, 2], multi=True)]).result()
