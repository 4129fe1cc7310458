"""Export and import of MultiDatastreams and STAplus: what refers to Observations finds them under their new ids."""

import io

import pytest
import sqlalchemy as sa
import store_bodies as b
from store_bodies import CAR, rows

from twinstack.sensorthings.model import BY_NAME
from twinstack.sensorthings.store import WriteContext, open_store, tables
from twinstack.sensorthings.transfer.export import export
from twinstack.sensorthings.transfer.importing import load

LINK_TO = {"@iot.id": 1}
UNIT = {"symbol": "m"}


@pytest.fixture
def filled(store):
    store.create_system(CAR).result()
    ctx = WriteContext(system=CAR)

    def create(name, body):
        return store.create(BY_NAME[name], body, ctx).result().id

    create("Party", {"role": "individual", "displayName": "Sue"})
    create("License", {"name": "CC", "definition": "-"})
    stream = {
        "name": f"{CAR}.mast.wind",
        "description": "",
        "unitOfMeasurements": [UNIT, UNIT],
        "multiObservationDataTypes": [f"{b.OM}OM_Measurement"] * 2,
        "Sensor": b.sensor(),
        "ObservedProperties": [b.observed_property("speed"), b.observed_property("gust")],
        "Observations": [{"result": [1, 2]}, {"result": [3, 4]}],
        "License": LINK_TO,
    }
    create("Thing", b.thing(f"{CAR}.mast", Party=LINK_TO, Locations=[b.location()], MultiDatastreams=[stream]))
    create("Campaign", {"name": "c", "description": "", "creationTime": "2026-01-01T00:00:00Z", "termsOfUse": ""})
    group = {"name": "g", "description": "", "creationTime": "2026-01-01T00:00:00Z", "Campaigns": [LINK_TO]}
    relation = {"role": "follows", "Subject": {"@iot.id": 2}, "Object": LINK_TO}
    create("ObservationGroup", {**group, "Observations": [{"@iot.id": 2}], "Relations": [relation]})
    store.update(BY_NAME["Campaign"], 1, {"MultiDatastreams": [LINK_TO]}, ctx).result()
    return store


@pytest.fixture
def second(tmp_path, clock):
    store = open_store(f"sqlite:{tmp_path / 'second.sqlite'}", clock=clock)
    store.migrate()
    yield store
    store.close()


def results(store):
    return {row["id"]: row["extra"]["result"] for row in rows(store, tables.observation) if row["kind"] == "m"}


@pytest.mark.parametrize("system", [None, CAR])
@pytest.mark.parametrize("empty", [True, False])
def test_it_comes_back_whole_and_once(filled, second, lab, empty, system):
    if not empty:  # so that no id is what it was
        second.create(BY_NAME["Thing"], b.whole("other", Observations=[{"result": 1}] * 3), lab).result()
        second.create(BY_NAME["Party"], {"role": "institutional"}, lab).result()
    out = io.BytesIO()
    counts = export(filled, out, system=system)
    assert (counts["relation"], counts["group_observation"], counts["group_relation"]) == (1, 1, 1)
    for _ in range(2):
        load(second, io.BytesIO(out.getvalue()))
    known = results(second)
    [relation] = rows(second, tables.relation)
    assert (known[relation["subject_id"]], known[relation["object_id"]]) == ([3, 4], [1, 2])
    [member] = rows(second, tables.group_observation)
    assert known[member["observation_id"]] == [3, 4]
    with second.reader() as connection:
        owner = sa.select(tables.party.c.display_name).join(tables.thing, tables.thing.c.party_id == tables.party.c.id)
        assert connection.execute(owner).scalars().all() == ["Sue"]
    [stream] = rows(second, tables.datastream, kind=1)
    observed = rows(second, tables.datastream_property, datastream_id=stream["id"])
    names = {row["id"]: row["name"] for row in rows(second, tables.observed_property)}
    assert [names[row["observed_property_id"]] for row in observed] == ["speed", "gust"]
    assert len(rows(second, tables.campaign_datastream)) == len(rows(second, tables.campaign_observation_group)) == 1
    assert [row["kind"] for row in rows(second, tables.entity_name, name=f"{CAR}.mast.wind")] == ["multi_datastream"]
