"""The model's tables and the store's tables describe the same thing."""

import pytest

from twinstack.sensorthings import model
from twinstack.sensorthings.model import ByColumn, ByTable, ByTarget, PropertyType
from twinstack.sensorthings.store import tables

ALL = model.ENTITY_TYPES


@pytest.mark.parametrize("entity", ALL, ids=lambda e: e.name)
def test_every_property_has_its_column(entity):
    for p in entity.properties:
        if p.type in (PropertyType.EXTRA, PropertyType.EXTRA_INTERVAL):
            assert "extra" in tables.BY_NAME[entity.table].c
            continue
        columns = tables.BY_NAME[p.table or entity.table].c
        assert p.column in columns
        assert p.end_column is None or p.end_column in columns
        assert (p.end_column is not None) == (p.type is PropertyType.INTERVAL)


@pytest.mark.parametrize("entity", ALL, ids=lambda e: e.name)
def test_every_link_joins_existing_columns_and_has_an_inverse(entity):
    for link in entity.links:
        target = model.BY_NAME[link.target]
        match link.join:
            case ByColumn(column):
                assert column in tables.BY_NAME[entity.table].c
                assert not link.many
            case ByTarget(column):
                assert column in tables.BY_NAME[target.table].c
                assert link.many
            case ByTable(table, own, other):
                assert {own, other} <= set(tables.BY_NAME[table].c.keys())
        if link.back is None:
            assert link.name == (target.set_name if link.many else target.name)
        back = model.inverse(link, entity)
        assert model.inverse(back, target) == link
        assert back.since == link.since


def test_mandatory_properties_are_those_of_the_standard():
    mandatory = {e.name: {p.name for p in e.properties if p.mandatory} for e in ALL}
    assert mandatory == {
        "Thing": {"name", "description"},
        "Location": {"name", "description", "encodingType", "location"},
        "HistoricalLocation": {"time"},
        "Datastream": {"name", "description", "observationType", "unitOfMeasurement"},
        "MultiDatastream": {"name", "description", "multiObservationDataTypes", "unitOfMeasurements"},
        "Sensor": {"name", "description", "encodingType", "metadata"},
        "ObservedProperty": {"name", "definition", "description"},
        "Observation": {"result"},
        "FeatureOfInterest": {"name", "description", "encodingType", "feature"},
        "Party": {"role"},
        "License": {"name", "definition"},
        "Campaign": {"name", "description", "creationTime", "termsOfUse"},
        "ObservationGroup": {"name", "description", "creationTime"},
        "Relation": {"role"},
    }


def test_staplus_is_on_1_1_only():
    names = {"Party", "License", "Campaign", "ObservationGroup", "Relation"}
    assert {e.name for e in ALL} - {e.name for e in model.sets_of("1.0").values()} == names
    for e in ALL:
        assert all(link.target not in names for link in e.links_of("1.0"))
        assert all(link.since == "1.1" for link in e.links if link.target in names or e.name in names)
    assert model.THING.link("Party", "1.0") is None


def test_properties_of_1_0_are_a_part_of_1_1():
    for e in ALL:
        assert set(e.properties_of("1.0")) <= set(e.properties_of("1.1"))
    assert model.SENSOR.property("properties") not in model.SENSOR.properties_of("1.0")
