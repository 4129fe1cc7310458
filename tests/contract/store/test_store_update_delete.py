"""PATCH, PUT, DELETE: merging, links, ETags, cascades, aggregates."""

from typing import ClassVar

import pytest
import sqlalchemy as sa
import store_bodies as b
from store_bodies import rows

from twinstack.core.errors import InvalidInput, NotFound, Stale
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
from twinstack.sensorthings.store import NewObservation, tables


@pytest.fixture
def filled(store, lab):
    """A Thing with a Location and a Datastream that has Observations 1..5 at t = 10..50."""
    store.create(THING, b.whole(), lab).result()
    store.insert_observations([NewObservation(1, i * 10, float(i), result_time=i * 10) for i in range(1, 6)]).result()
    return store


def stat(store, datastream_id=1):
    found = rows(store, tables.datastream_stat, datastream_id=datastream_id)
    return found[0] if found else None


def test_patch_merges_top_level_keys(filled, lab):
    filled.update(THING, 1, {"properties": {"a": {"x": 1}, "b": 2}}, lab).result()
    done = filled.update(THING, 1, {"properties": {"a": {"y": 2}}, "@iot.id": 99}, lab).result()
    row = rows(filled, tables.thing)[0]
    assert (row["properties"], row["description"], row["version"]) == ({"a": {"y": 2}}, "a thing", 3)
    assert done.changed == ("properties",)


def test_patch_that_changes_nothing_keeps_the_version(filled, lab):
    assert filled.update(THING, 1, {"name": "thing"}, lab).result().changed == ()
    assert rows(filled, tables.thing)[0]["version"] == 1


def test_put_clears_what_is_omitted_and_needs_what_is_mandatory(filled, lab):
    filled.update(THING, 1, {"properties": {"a": 1}}, lab).result()
    filled.update(THING, 1, b.thing("new"), lab, replace=True).result()
    row = rows(filled, tables.thing)[0]
    assert (row["name"], row["properties"]) == ("new", None)
    with pytest.raises(InvalidInput, match="description"):
        filled.update(THING, 1, {"name": "x"}, lab, replace=True).result()


@pytest.mark.parametrize("key", ["name", "description"])
def test_patch_of_a_mandatory_property_to_null_is_refused(filled, lab, key):
    with pytest.raises(InvalidInput, match=key):
        filled.update(THING, 1, {key: None}, lab).result()


def test_patch_refuses_new_inline_entities(filled, lab):
    with pytest.raises(InvalidInput, match="new entity"):
        filled.update(THING, 1, {"Locations": [b.location()]}, lab).result()


def test_patching_locations_replaces_them_and_writes_history(filled, lab):
    filled.create(LOCATION, b.location("second"), lab).result()
    filled.update(THING, 1, {"Locations": [{"@iot.id": 2}]}, lab).result()
    assert rows(filled, tables.thing_location) == [{"thing_id": 1, "location_id": 2}]
    assert len(rows(filled, tables.historical_location)) == 2


def test_a_single_link_replaces(filled, lab):
    filled.create(SENSOR, b.sensor("other"), lab).result()
    filled.create(OBSERVED_PROPERTY, b.observed_property("other"), lab).result()
    body = {"Sensor": {"@iot.id": 2}, "ObservedProperty": {"@iot.id": 2}}
    assert set(filled.update(DATASTREAM, 1, body, lab).result().changed) == {"Sensor", "ObservedProperty"}
    assert rows(filled, tables.datastream)[0]["sensor_id"] == 2
    assert rows(filled, tables.datastream_property)[0]["observed_property_id"] == 2


def test_if_match(filled, lab):
    filled.update(THING, 1, {"description": "b"}, lab, if_match='W/"1"').result()
    with pytest.raises(Stale):
        filled.update(THING, 1, {"description": "c"}, lab, if_match='W/"1"').result()
    with pytest.raises(Stale):
        filled.delete(THING, 1, lab, if_match='"1"').result()
    filled.delete(THING, 1, lab, if_match='"7", W/"2"').result()


@pytest.mark.parametrize("entity", [THING, LOCATION, DATASTREAM, OBSERVATION, FEATURE], ids=lambda e: e.name)
@pytest.mark.parametrize("entity_id", [999, 2**63 - 1, 2**70])
def test_updates_of_what_is_not_there(filled, lab, entity, entity_id):
    with pytest.raises(NotFound):
        filled.update(entity, entity_id, {}, lab).result()
    with pytest.raises(NotFound):
        filled.delete(entity, entity_id, lab).result()


def test_the_log_key_survives_a_rename(filled, lab):
    key = rows(filled, tables.datastream)[0]["log_key"]
    filled.update(DATASTREAM, 1, {"name": "renamed"}, lab).result()
    assert rows(filled, tables.datastream)[0]["log_key"] == key


def test_patching_a_location_gives_the_next_observation_a_new_feature(filled, lab):
    moved = {"type": "Point", "coordinates": [14.0, 48.0]}
    filled.update(LOCATION, 1, {"location": moved}, lab).result()
    filled.insert_observations([NewObservation(1, 60, 6.0)]).result()
    assert [f["gen_location_id"] for f in rows(filled, tables.feature)] == [None, 1]
    assert [o["feature_id"] for o in rows(filled, tables.observation)] == [1] * 5 + [2]
    s = stat(filled)
    assert (s["bbox_w"], s["bbox_s"], s["bbox_e"], s["bbox_n"]) == (13.04, 47.8, 14.0, 48.0)


def test_put_of_an_observation(filled, lab):
    with pytest.raises(InvalidInput, match="result"):
        filled.update(OBSERVATION, 1, {"phenomenonTime": "2026-01-01T00:00:00Z"}, lab, replace=True).result()
    filled.update(OBSERVATION, 1, {"result": None}, lab, replace=True).result()
    row = rows(filled, tables.observation, id=1)[0]
    assert (row["kind"], row["t"], row["result_time"]) == ("n", 10, None)


def test_an_empty_collection_of_links_adds_nothing(filled, lab):
    filled.update(HISTORICAL_LOCATION, 1, {"Locations": []}, lab).result()
    assert len(rows(filled, tables.historical_location_location)) == 1
    filled.update(THING, 1, {"Locations": []}, lab).result()
    assert rows(filled, tables.thing_location) == []


def test_a_moved_feature_moves_the_box(filled, lab):
    moved = {"type": "Point", "coordinates": [1.0, 2.0]}
    filled.update(FEATURE, 1, {"feature": moved}, lab).result()
    s = stat(filled)
    assert (s["bbox_w"], s["bbox_s"], s["bbox_e"], s["bbox_n"]) == (1.0, 2.0, 1.0, 2.0)


class TestAggregates:
    def test_after_inserts(self, filled):
        s = stat(filled)
        assert (s["n"], s["t_min"], s["t_max"], s["r_min"], s["r_max"]) == (5, 10, 50, 10, 50)
        assert (s["latest_id"], s["latest_t"]) == (5, 50)

    def test_the_latest_of_equal_times_is_the_lowest_id(self, filled):
        filled.insert_observations([NewObservation(1, 50, 9.0)]).result()
        assert stat(filled)["latest_id"] == 5

    def test_deleting_the_edges(self, filled, lab):
        filled.delete(OBSERVATION, 5, lab).result()
        filled.delete(OBSERVATION, 1, lab).result()
        s = stat(filled)
        assert (s["n"], s["t_min"], s["t_max"], s["r_min"], s["r_max"], s["latest_id"]) == (3, 20, 40, 20, 40, 4)

    def test_deleting_all(self, filled, lab):
        for i in range(1, 6):
            filled.delete(OBSERVATION, i, lab).result()
        s = stat(filled)
        assert {k: v for k, v in s.items() if k != "datastream_id"} == {
            k: 0 if k == "n" else None for k in s if k != "datastream_id"
        }
        assert rows(filled, tables.datastream_feature) == []

    def test_patching_the_time_moves_the_edges(self, filled, lab):
        body = {"phenomenonTime": "1970-01-01T00:00:00.000100Z/1970-01-01T00:00:00.000200Z"}
        filled.update(OBSERVATION, 1, body, lab).result()
        s = stat(filled)
        assert (s["n"], s["t_min"], s["t_max"], s["latest_id"]) == (5, 20, 200, 1)

    def test_moving_to_another_datastream(self, filled, lab):
        filled.create(THING, b.whole("other"), lab).result()
        filled.update(OBSERVATION, 5, {"Datastream": {"@iot.id": 2}}, lab).result()
        assert (stat(filled, 1)["n"], stat(filled, 1)["latest_id"]) == (4, 4)
        assert (stat(filled, 2)["n"], stat(filled, 2)["latest_id"]) == (1, 5)
        assert rows(filled, tables.datastream_feature) == [
            {"datastream_id": 1, "feature_id": 1},
            {"datastream_id": 2, "feature_id": 1},
        ]


def test_patching_a_result_keeps_its_new_type(filled, lab):
    for value, kind in ((7, "i"), (7.0, None), (True, "b"), ("text", "s"), (None, "n"), ({"a": [1]}, "j")):
        filled.update(OBSERVATION, 1, {"result": value}, lab).result()
        assert rows(filled, tables.observation, id=1)[0]["kind"] == kind


class TestCascades:
    def counts(self, store):
        with store.reader() as connection:
            return {
                t.name: connection.execute(sa.select(sa.func.count()).select_from(t)).scalar_one()
                for t in (
                    tables.thing,
                    tables.location,
                    tables.historical_location,
                    tables.sensor,
                    tables.observed_property,
                    tables.datastream,
                    tables.datastream_stat,
                    tables.observation,
                    tables.feature,
                )
                if connection.execute(sa.select(sa.func.count()).select_from(t)).scalar_one()
            }

    KEPT: ClassVar = {
        "thing": 1,
        "location": 1,
        "historical_location": 1,
        "sensor": 1,
        "observed_property": 1,
        "feature": 1,
    }
    STREAM: ClassVar = {"datastream": 1, "datastream_stat": 1, "observation": 5}

    @pytest.mark.parametrize(
        ("entity", "gone"),
        [
            (THING, {"thing", "historical_location", "datastream", "datastream_stat", "observation"}),
            (LOCATION, {"location", "historical_location"}),
            (HISTORICAL_LOCATION, {"historical_location"}),
            (SENSOR, {"sensor", "datastream", "datastream_stat", "observation"}),
            (OBSERVED_PROPERTY, {"observed_property", "datastream", "datastream_stat", "observation"}),
            (DATASTREAM, {"datastream", "datastream_stat", "observation"}),
            (FEATURE, {"feature", "observation"}),
        ],
        ids=lambda x: getattr(x, "name", ""),
    )
    def test_what_goes_and_what_survives(self, filled, lab, entity, gone):
        assert self.counts(filled) == self.KEPT | self.STREAM
        filled.delete(entity, 1, lab).result()
        assert self.counts(filled) == {k: v for k, v in (self.KEPT | self.STREAM).items() if k not in gone}

    def test_a_deleted_feature_leaves_right_aggregates(self, filled, lab):
        filled.delete(FEATURE, 1, lab).result()
        assert (stat(filled)["n"], stat(filled)["t_min"], stat(filled)["bbox_w"]) == (0, None, None)

    def test_inserts_behind_a_delete_are_refused(self, filled, lab):
        gone = filled.delete(DATASTREAM, 1, lab)
        late = filled.insert_observations([NewObservation(1, 1, 1.0)])
        gone.result()
        with pytest.raises(NotFound):
            late.result()

    def test_many_rows_disappear_at_once_and_are_swept(self, filled, lab, monkeypatch):
        monkeypatch.setattr("twinstack.core.limits.CASCADE_ROWS_MAX", 3)
        monkeypatch.setattr("twinstack.core.limits.CASCADE_SLICE_ROWS", 2)
        filled.delete(DATASTREAM, 1, lab).result()
        filled.close()  # the queue is worked off before it closes
        # the sweep goes on at the next start
        from twinstack.sensorthings.store import open_store

        again = open_store(filled.url)
        again.migrate()
        for _ in range(20):
            again.write(lambda tx: None).result()
        assert rows(again, tables.observation) == []
        assert rows(again, tables.dead_datastream) == []
        again.close()
