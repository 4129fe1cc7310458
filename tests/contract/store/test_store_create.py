"""Deep insert, ownership, reserved names."""

import pytest
import store_bodies as b
from store_bodies import CAR, STATION, rows

from twinstack.core.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from twinstack.core.names import DEFAULT_SYSTEM
from twinstack.sensorthings.model import (
    DATASTREAM,
    FEATURE,
    HISTORICAL_LOCATION,
    LOCATION,
    OBSERVATION,
    OBSERVED_PROPERTY,
    SENSOR,
    THING,
)
from twinstack.sensorthings.store import WriteContext, tables


def test_deep_insert_makes_the_whole_tree(store, lab):
    made = store.create(THING, b.whole(), lab).result()
    assert made == (1, "created")
    (stream,) = rows(store, tables.datastream)
    assert (stream["thing_id"], stream["log_key"]) == (1, f"{DEFAULT_SYSTEM}.thing.stream")
    assert rows(store, tables.thing_location) == [{"thing_id": 1, "location_id": 1}]
    assert len(rows(store, tables.historical_location)) == 1
    assert rows(store, tables.historical_location_location) == [{"historical_location_id": 1, "location_id": 1}]
    assert rows(store, tables.datastream_property)[0]["observed_property_id"] == 1
    assert rows(store, tables.datastream_stat)[0]["n"] == 0


def test_nested_observations_are_stored_with_their_feature(store, lab):
    body = b.whole(Observations=[{"result": 1.5, "phenomenonTime": "2026-01-01T00:00:00Z"}, {"result": 2}])
    store.create(THING, body, lab).result()
    observations = rows(store, tables.observation)
    assert [(o["result"], o["kind"], o["feature_id"]) for o in observations] == [(1.5, None, 1), (2, "i", 1)]
    assert rows(store, tables.datastream_stat)[0]["n"] == 2


def test_a_failing_part_leaves_nothing(store, lab):
    body = b.whole(Observations=[{"result": float(1), "FeatureOfInterest": {"@iot.id": 77}}])
    with pytest.raises(NotFound, match="FeatureOfInterest 77"):
        store.create(THING, body, lab).result()
    for table in (tables.thing, tables.location, tables.sensor, tables.datastream, tables.observation, tables.outbox):
        assert rows(store, table) == []


def test_location_with_new_thing_with_datastream_with_observation(store, lab):
    stream = b.datastream(Sensor=b.sensor(), ObservedProperty=b.observed_property(), Observations=[{"result": 3.5}])
    body = {**b.location(), "Things": [b.thing(Datastreams=[stream])]}
    store.create(LOCATION, body, lab).result()
    assert rows(store, tables.thing_location) == [{"thing_id": 1, "location_id": 1}]
    assert rows(store, tables.feature)[0]["feature"] == b.POINT
    assert rows(store, tables.observation)[0]["feature_id"] == 1


def test_a_later_historical_location_moves_the_thing_an_earlier_does_not(store, lab):
    store.create(THING, b.thing(Locations=[b.location("first")]), lab).result()
    for name, time, at in (("past", "1999-01-01T00:00:00Z", 1), ("future", "2099-01-01T00:00:00Z", 3)):
        body = {"time": time, "Thing": {"@iot.id": 1}, "Locations": [b.location(name)]}
        store.create(HISTORICAL_LOCATION, body, lab).result()
        assert [r["location_id"] for r in rows(store, tables.thing_location)] == [at]


def test_posting_a_location_to_a_thing_moves_it(store, lab):
    store.create(THING, b.thing(Locations=[b.location("first")]), lab).result()
    store.create(LOCATION, b.location("second"), lab, parent=(THING, 1)).result()
    assert rows(store, tables.thing_location) == [{"thing_id": 1, "location_id": 2}]
    assert len(rows(store, tables.historical_location, thing_id=1)) == 2


@pytest.mark.parametrize(
    ("entity", "body", "word"),
    [
        (THING, {"name": "x"}, "description"),
        (THING, {"name": 5, "description": "d"}, "name"),
        (THING, {"name": "x", "description": "d", "colour": 1}, "colour"),
        (THING, {"name": "nul\0", "description": "d"}, "NUL"),
        (THING, {"name": "x", "description": "d", "properties": {"a": ["\0"]}}, "NUL"),
        (THING, {"name": "x" * 256, "description": "d"}, "256"),
        (THING, [], "object"),
        (LOCATION, b.location(geometry={"type": "Point", "coordinates": ["a", 1]}), "GeoJSON"),
        (LOCATION, b.location(geometry={"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}), "GeoJSON"),
        (DATASTREAM, b.datastream(), "Thing"),
        (OBSERVATION, {"result": 1}, "Datastream"),
        (OBSERVATION, {"Datastream": {"@iot.id": 1}}, "result"),
        (OBSERVATION, {"result": 1, "phenomenonTime": "yesterday", "Datastream": {"@iot.id": 1}}, "phenomenonTime"),
        (OBSERVATION, {"result": 1, "Datastream": {"@iot.id": "x"}}, "id"),
        (HISTORICAL_LOCATION, {"time": "2026-01-01T00:00:00Z"}, "Thing"),
    ],
)
def test_what_is_refused_says_why(store, lab, entity, body, word):
    with pytest.raises(InvalidInput, match=word):
        store.create(entity, body, lab).result()


def test_unknown_keys_are_ignored_on_1_0(store):
    ctx = WriteContext(lab=True, version="1.0")
    assert store.create(THING, b.thing(colour="red"), ctx).result().id == 1


def test_1_0_finds_links_in_any_spelling(store):
    ctx = WriteContext(lab=True, version="1.0")
    store.create(THING, b.thing(), ctx).result()
    body = b.datastream(thing={"@iot.id": 1}, Sensors=b.sensor(), observedproperty=b.observed_property())
    assert store.create(DATASTREAM, body, ctx).result().id == 1


def test_a_link_with_an_id_ignores_its_other_keys(store, lab):
    store.create(THING, b.thing("kept"), lab).result()
    linked = {"@iot.id": 1, "name": "other", "unknown": 1}
    body = b.datastream(Thing=linked, Sensor=b.sensor(), ObservedProperty=b.observed_property())
    store.create(DATASTREAM, body, lab).result()
    assert [t["name"] for t in rows(store, tables.thing)] == ["kept"]


def test_ids_are_never_used_twice(store, lab):
    assert store.create(SENSOR, b.sensor(), lab).result().id == 1
    store.delete(SENSOR, 1, lab).result()
    assert store.create(SENSOR, b.sensor(), lab).result().id == 2


class TestOwnership:
    @pytest.fixture(autouse=True)
    def two_systems(self, store):
        for name in (CAR, STATION):
            store.create_system(name).result()

    def system_of(self, store, table, entity_id):
        ((system_id,),) = [(r["system_id"],) for r in rows(store, table, id=entity_id)]
        return rows(store, tables.system, id=system_id)[0]["name"]

    def test_the_name_decides_then_the_default_system(self, store, lab):
        a = store.create(THING, b.thing(f"{CAR}.Car1"), lab).result().id
        c = store.create(THING, b.thing("free"), lab).result().id
        assert self.system_of(store, tables.thing, a) == CAR
        assert self.system_of(store, tables.thing, c) == DEFAULT_SYSTEM

    def test_without_lab_it_asks_which_system(self, store):
        with pytest.raises(InvalidInput, match="which system"):
            store.create(THING, b.thing("free"), WriteContext()).result()

    def test_the_context_decides_first(self, store):
        made = store.create(THING, b.thing("free"), WriteContext(system=CAR)).result()
        assert self.system_of(store, tables.thing, made.id) == CAR

    def test_a_name_reserved_by_another_system_is_refused(self, store):
        with pytest.raises(PermissionDenied, match="reserved"):
            store.create(THING, b.thing(f"{STATION}.S"), WriteContext(system=CAR)).result()
        with pytest.raises(PermissionDenied, match="reserved"):
            store.create(THING, b.thing(f"{STATION}.S"), WriteContext(writable=frozenset({CAR}))).result()

    def test_an_unnamed_child_belongs_where_its_parent_does(self, store, lab):
        store.create(THING, b.thing(f"{CAR}.Car1"), lab).result()
        body = b.datastream(Sensor=b.sensor(), ObservedProperty=b.observed_property())
        made = store.create(DATASTREAM, body, lab, parent=(THING, 1)).result()
        assert self.system_of(store, tables.datastream, made.id) == CAR
        assert self.system_of(store, tables.sensor, 1) == CAR

    def test_links_never_cross_systems(self, store, lab):
        store.create(THING, b.thing(f"{CAR}.Car1"), lab).result()
        sensor = store.create(SENSOR, b.sensor(f"{STATION}.s"), lab).result()
        body = b.datastream(Thing={"@iot.id": 1}, Sensor={"@iot.id": sensor.id}, ObservedProperty=b.observed_property())
        with pytest.raises(NotFound, match=f"no Sensor {sensor.id}"):
            store.create(DATASTREAM, body, lab).result()

    def test_a_foreign_system_cannot_write_an_entity(self, store, lab):
        made = store.create(THING, b.thing(f"{CAR}.Car1"), lab).result()
        foreign = WriteContext(system=STATION)
        with pytest.raises(NotFound):
            store.update(THING, made.id, {"description": "mine"}, foreign).result()
        with pytest.raises(NotFound):
            store.delete(THING, made.id, foreign).result()

    def test_a_repeated_reserved_name_is_a_merge_on_1_0_and_refused_on_1_1(self, store, lab):
        old = WriteContext(lab=True, version="1.0")
        first = store.create(THING, b.thing(f"{CAR}.Car1", Locations=[b.location()]), old).result()
        again = store.create(THING, b.thing(f"{CAR}.Car1", Locations=[b.location()]), old).result()
        assert (again.id, again.status) == (first.id, "unchanged")
        changed = store.create(THING, b.thing(f"{CAR}.Car1", properties={"a": 1}), old).result()
        assert (changed.id, changed.status) == (first.id, "changed")
        assert rows(store, tables.thing)[0]["version"] == 2
        assert len(rows(store, tables.location)) == 1
        with pytest.raises(Conflict) as error:
            store.create(THING, b.thing(f"{CAR}.Car1"), lab).result()
        assert error.value.fields["id"] == first.id

    def test_free_names_repeat(self, store, lab):
        assert store.create(THING, b.thing("same"), lab).result().id == 1
        assert store.create(THING, b.thing("same"), lab).result().id == 2

    def test_a_taken_log_key_gets_the_id(self, store, lab):
        store.create(THING, b.whole("t"), lab).result()
        store.create(THING, b.whole("t"), lab).result()
        keys = [r["log_key"] for r in rows(store, tables.datastream)]
        assert keys == [f"{DEFAULT_SYSTEM}.t.stream", f"{DEFAULT_SYSTEM}.t.stream~2"]

    def test_systems_that_kafka_mixes_up_are_refused(self, store):
        with pytest.raises(Conflict, match="too like"):
            store.create_system(CAR.lower()).result()


def test_one_generated_feature_for_parallel_first_observations(store, lab):
    store.create(THING, b.whole(), lab).result()
    writes = [store.create(OBSERVATION, {"result": i, "Datastream": {"@iot.id": 1}}, lab) for i in range(12)]
    assert sorted(w.result().id for w in writes) == list(range(1, 13))
    assert len(rows(store, tables.feature)) == 1
    assert rows(store, tables.feature)[0]["gen_location_id"] == 1


def test_the_generated_feature_prefers_geojson_then_the_lowest_id(store, lab):
    plain = {**b.location("plain"), "encodingType": "text/plain", "location": "over there"}
    stream = b.datastream(Sensor=b.sensor(), ObservedProperty=b.observed_property())
    store.create(THING, b.thing(Locations=[plain, b.location("geo")], Datastreams=[stream]), lab).result()
    store.create(OBSERVATION, {"result": 1, "Datastream": {"@iot.id": 1}}, lab).result()
    assert rows(store, tables.feature)[0]["name"] == "geo"


def test_without_location_an_observation_needs_a_feature(store, lab):
    stream = b.datastream(Sensor=b.sensor(), ObservedProperty=b.observed_property())
    store.create(THING, b.thing(Datastreams=[stream]), lab).result()
    body = {"result": 1, "Datastream": {"@iot.id": 1}}
    with pytest.raises(InvalidInput, match="FeatureOfInterest"):
        store.create(OBSERVATION, body, lab).result()
    inline = {"name": "f", "description": "d", "encodingType": "application/geo+json", "feature": b.POINT}
    store.create(OBSERVATION, {**body, "FeatureOfInterest": inline}, lab).result()
    store.create(OBSERVATION, {**body, "FeatureOfInterest": {"@iot.id": 1}}, lab).result()
    assert [o["feature_id"] for o in rows(store, tables.observation)] == [1, 1]
    assert len(rows(store, tables.feature)) == 1


def test_feature_and_property_bodies(store, lab):
    made = store.create(OBSERVED_PROPERTY, b.observed_property(), lab).result()
    body = {"name": "f", "description": "d", "encodingType": "text/plain", "feature": {"any": "json"}}
    assert (made.id, store.create(FEATURE, body, lab).result().id) == (1, 1)
    assert rows(store, tables.feature)[0]["bbox_w"] is None


def test_deep_inserts_from_every_side(store, lab):
    tree = b.thing(Locations=[b.location()])
    stream = b.datastream(Thing=tree, ObservedProperty=b.observed_property())
    store.create(SENSOR, {**b.sensor(), "Datastreams": [stream]}, lab).result()
    body = {**b.observed_property(), "Datastreams": [b.datastream(Thing={"@iot.id": 1}, Sensor={"@iot.id": 1})]}
    store.create(OBSERVED_PROPERTY, body, lab).result()
    feature = {"name": "f", "description": "d", "encodingType": "application/geo+json", "feature": b.POINT}
    nested = [{"result": 1.0, "Datastream": {"@iot.id": i}} for i in (1, 2)]
    store.create(FEATURE, {**feature, "Observations": nested}, lab).result()
    history = {"time": "2020-01-01T00:00:00Z", "Thing": {"@iot.id": 1}}
    store.create(LOCATION, {**b.location("old"), "HistoricalLocations": [history]}, lab).result()
    assert [(d["thing_id"], d["sensor_id"]) for d in rows(store, tables.datastream)] == [(1, 1), (1, 1)]
    assert [d["observed_property_id"] for d in rows(store, tables.datastream_property)] == [1, 2]
    assert [o["feature_id"] for o in rows(store, tables.observation)] == [1, 1]
    assert rows(store, tables.thing_location) == [{"thing_id": 1, "location_id": 1}]


def test_a_merged_location_gives_the_next_observation_a_new_feature(store):
    store.create_system(CAR).result()
    ctx = WriteContext(lab=True, version="1.0")
    place = {**b.location(f"{CAR}.here")}
    stream = b.datastream(f"{CAR}.Car1.q", Sensor=b.sensor(), ObservedProperty=b.observed_property())
    store.create(THING, b.thing(f"{CAR}.Car1", Locations=[place], Datastreams=[stream]), ctx).result()
    store.create(OBSERVATION, {"result": 1.0, "Datastream": {"@iot.id": 1}}, ctx).result()
    moved = {**place, "location": {"type": "Point", "coordinates": [1.0, 2.0]}}
    assert store.create(LOCATION, moved, ctx).result().status == "changed"
    store.create(OBSERVATION, {"result": 1.0, "Datastream": {"@iot.id": 1}}, ctx).result()
    assert [o["feature_id"] for o in rows(store, tables.observation)] == [1, 2]
