"""Export and import: the same store again, or the same things in another one; repeated, killed or cut off."""

import io
import json

import pytest
import sqlalchemy as sa
from store_bodies import CAR, STATION, location, observed_property, rows, sensor, thing, whole

from twinstack.core.errors import Conflict, InvalidInput, UnknownSystem
from twinstack.core.instances import load_instances
from twinstack.sensorthings.model import BY_NAME
from twinstack.sensorthings.store import NewObservation, WriteContext, open_store, tables
from twinstack.sensorthings.store.archiving import ArchiveRow, DeadLetter, RawRecord
from twinstack.sensorthings.store.values import result_value
from twinstack.sensorthings.transfer.export import export
from twinstack.sensorthings.transfer.importing import load

T0 = 1_767_225_600_000_000
RESULTS = [1, 1.0, 2.5, "5", "text", True, None, 2**53 + 1, {"a": [1, {}]}, [1, "x"], -0.5]
ENTITIES = ("thing", "sensor", "observed_property", "location", "feature", "historical_location", "datastream")
PLUS = ("party", "license", "campaign", "observation_group", "relation")
LINKS = (
    "thing_location",
    "historical_location_location",
    "datastream_property",
    "entity_name",
    "datastream_feature",
    "campaign_datastream",
    "campaign_observation_group",
    "group_relation",
    "group_observation",
)


def instances():
    stream = {
        "name": "Speed",
        "description": "-",
        "observationType": "OM_Measurement",
        "unitOfMeasurement": {"name": "km/h", "symbol": "km/h", "definition": "-"},
        "Thing": "car",
        "Sensor": "gps",
        "ObservedProperty": {"name": "speed", "description": "-", "definition": "-"},
    }
    return {
        "Things": {"car": {"name": "Car", "description": "-", "Locations": [location()]}},
        "Sensors": {"gps": {"name": "GPS", "description": "-", "encodingType": "text/html", "metadata": "-"}},
        "Datastreams": {"speed": stream, "other": {**stream, "name": "Other"}},
    }


def staplus(store, lab):
    """A MultiDatastream, and everything of STAplus with its links to Observations."""

    def make(entity, **body):
        return {"@iot.id": store.create(BY_NAME[entity], body, lab).result().id}

    party = make("Party", role="individual", displayName="Sue")
    licence = make("License", name="CC BY", definition="https://example.org/by")
    wind = {
        "name": "wind",
        "description": "-",
        "multiObservationDataTypes": ["OM_Measurement", "OM_CategoryObservation"],
        "unitOfMeasurements": [{}, {}],
        "Sensor": sensor("vane"),
        "ObservedProperties": [observed_property("speed"), observed_property("direction")],
        "Party": party,
        "License": licence,
    }
    make("Thing", **thing("mast", Locations=[location()], MultiDatastreams=[wind], Party=party))
    stream = {"@iot.id": rows(store, tables.datastream, name="wind")[0]["id"]}
    seen = [make("Observation", result=[i / 2, "N"], MultiDatastream=stream) for i in range(3)]
    common = {"description": "-", "creationTime": "2026-03-01T00:00:00Z", "termsOfUse": "-", "Party": party}
    campaign = make("Campaign", name="spring", License=licence, MultiDatastreams=[stream], **common)
    group = make("ObservationGroup", name="g", Observations=seen[:2], Campaigns=[campaign], **common)
    make("Relation", role="sameAs", Subject=seen[0], Object=seen[2], ObservationGroups=[group])


@pytest.fixture
def filled(store, lab):
    """A store with a bit of everything."""
    for name in (CAR, STATION):
        store.create_system(name).result()
    registered = store.register_instances(load_instances(instances(), CAR), "car_1").result()
    speed, other = (registered.datastreams[k].id for k in ("speed", "other"))
    store.ensure_copies(CAR, STATION).result()
    store.insert_observations([NewObservation(speed, T0 + i, i / 2) for i in range(40)]).result()
    store.insert_observations([NewObservation(other, T0 + i, 7.0, result_time=T0 + 9) for i in range(5)]).result()
    free = store.create(BY_NAME["Thing"], whole("free ü"), lab).result().id
    stream = rows(store, tables.datastream, thing_id=free)[0]["id"]
    store.insert_observations(
        [NewObservation(stream, T0 + i, result, t_end=T0 + i + 5) for i, result in enumerate(RESULTS)]
    ).result()
    extra = {"parameters": {"p": 1}, "validTime": [T0, None]}
    store.insert_observations([NewObservation(stream, T0 + 99, 3.0, extra=extra)]).result()
    there = rows(store, tables.location)[-1]["id"]
    store.update(BY_NAME["Thing"], free, {"Locations": [{"@iot.id": there}]}, lab).result()
    staplus(store, lab)
    letter = DeadLetter(RawRecord(3, 1, b"k", b"\x00\xff", [("h", b"v")]), "poison", "no JSON")
    copied = rows(store, tables.datastream, copy_of=speed)[0]["id"]
    raw = RawRecord(4, 1, b"k", b"{}")
    row = ArchiveRow(NewObservation(copied, T0, 1.5), lambda: raw)
    store.archive_batch(f"{STATION}.ext", 0, "u", None, 5, [row], [letter]).result()
    store.create_app(STATION, "filter", "SELECT * FROM *", [CAR], "lab").result()
    return store


@pytest.fixture
def second(request, tmp_path, clock, store_url):
    """An empty store on the same database, or on the one that a test names."""
    kind = getattr(request, "param", "sqlite" if store_url.startswith("sqlite") else "postgresql")
    if kind == "sqlite":
        url, drop = f"sqlite:{tmp_path / 'second.sqlite'}", None
    else:
        server = request.getfixturevalue("postgres_server")
        drop = server.create()
        url = server.url(drop)
    store = open_store(url, clock=clock)
    store.migrate()
    yield store
    store.close()
    if drop is not None:
        server.drop(drop)


def written(store, **options):
    out = io.BytesIO()
    counts = export(store, out, **options)
    return out.getvalue(), counts


def history(store):
    found = []
    for row in rows(store, tables.observation):
        result = result_value(row["result"], row["kind"], row["extra"])
        extra = {k: v for k, v in (row["extra"] or {}).items() if k != "result"} or None
        found.append({**row, "result": (type(result).__name__, result), "kind": None, "extra": extra})
    return found


def content(store, names=(*ENTITIES, *PLUS, *LINKS, "datastream_stat")):
    return {name: rows(store, tables.BY_NAME[name]) for name in names}


def test_an_empty_store_becomes_the_same_with_the_same_ids(filled, second):
    data, counts = written(filled)
    imported = load(second, io.BytesIO(data))
    assert imported.complete
    assert content(second) == content(filled)
    assert history(second) == history(filled)
    assert imported.stored["observation"] == counts["observation"] == 61
    assert imported.present == {}
    # new ids come behind the old ones
    new = second.create(BY_NAME["Thing"], {"name": "n", "description": "-"}, WriteContext(lab=True)).result().id
    assert new > max(row["id"] for row in rows(filled, tables.thing))
    stream = rows(second, tables.datastream)[0]["id"]
    (number,) = second.insert_observations([NewObservation(stream, T0, 1.0)]).result()
    assert number > max(row["id"] for row in rows(filled, tables.observation))


OTHER = [
    pytest.param("sqlite", "postgresql", marks=pytest.mark.postgres),
    pytest.param("postgresql", "sqlite", marks=pytest.mark.postgres),
]


@pytest.mark.parametrize(("store_url", "second"), OTHER, indirect=True)
def test_a_store_moves_from_one_database_to_the_other(filled, second):
    load(second, io.BytesIO(written(filled, move=True)[0]), move=True)
    assert content(second) == content(filled)
    assert history(second) == history(filled)
    stream = rows(second, tables.datastream)[0]["id"]
    number = second.insert_observations([NewObservation(stream, T0, 1.0)]).result()[0]
    assert number > max(row["id"] for row in rows(filled, tables.observation))


def test_repeating_an_import_stores_nothing(filled, second):
    data, _ = written(filled)
    load(second, io.BytesIO(data))
    before = content(second), history(second)
    again = load(second, io.BytesIO(data))
    assert (again.stored, again.complete) == ({}, True)
    other_export, _ = written(filled)
    third = load(second, io.BytesIO(other_export))
    assert third.stored == {}
    assert third.present["observation"] == 61
    assert (content(second), history(second)) == before


def test_a_later_export_brings_what_is_new(filled, second, lab):
    load(second, io.BytesIO(written(filled)[0]))
    filled.create(BY_NAME["Thing"], {"name": "late", "description": "-"}, lab).result()
    stream = rows(filled, tables.datastream)[0]["id"]
    filled.insert_observations([NewObservation(stream, T0 + 1000, 9.5)]).result()
    imported = load(second, io.BytesIO(written(filled)[0]))
    assert imported.stored == {"thing": 1, "observation": 1}
    assert content(second) == content(filled)
    assert history(second) == history(filled)


def test_a_filled_store_maps_ids(filled, second, lab):
    second.create(BY_NAME["Thing"], whole("mine"), lab).result()
    mine = rows(second, tables.datastream)[0]["id"]
    second.insert_observations([NewObservation(mine, T0, 1.0)] * 3).result()
    imported = load(second, io.BytesIO(written(filled)[0]))
    assert imported.stored["observation"] == 61
    by_key = {(r["log_key"], r["copy_of"] is None): r["id"] for r in rows(filled, tables.datastream)}
    own = {(r["log_key"], r["copy_of"] is None): r["id"] for r in rows(second, tables.datastream)}
    assert own.keys() >= by_key.keys()
    kept = sa.select(tables.transfer_id.c.source_id, tables.transfer_id.c.own_id).where(
        tables.transfer_id.c.kind == "datastream"
    )
    with second.reader() as connection:
        mapping = {int(theirs): ours for theirs, ours in connection.execute(kept)}
    assert mapping == {theirs: own[key] for key, theirs in by_key.items()}
    theirs, ours = history(filled), [row for row in history(second) if row["datastream_id"] != mine]
    assert [(mapping[r["datastream_id"]], r["t"], r["t_end"], r["result"], r["result_time"]) for r in theirs] == [
        (r["datastream_id"], r["t"], r["t_end"], r["result"], r["result_time"]) for r in ours
    ]
    stats = {
        r["datastream_id"]: (r["n"], r["t_min"], r["t_max"], r["bbox_w"]) for r in rows(second, tables.datastream_stat)
    }
    for row in rows(filled, tables.datastream_stat):
        assert stats[mapping[row["datastream_id"]]] == (row["n"], row["t_min"], row["t_max"], row["bbox_w"])
    assert load(second, io.BytesIO(written(filled)[0])).stored == {}


def test_one_system_without_what_others_gave_it(filled, second):
    data, counts = written(filled, system=CAR)
    assert counts["observation"] == 45
    load(second, io.BytesIO(data))
    assert [r["name"] for r in rows(second, tables.system)] == [CAR]
    assert [r["state"] for r in rows(second, tables.system)] == ["creating"]
    assert [r["log_key"] for r in rows(second, tables.datastream)] == [f"{CAR}.Car.Speed", f"{CAR}.Car.Other"]
    assert rows(second, tables.app) == []
    data, counts = written(filled, system=STATION)
    assert (counts.get("datastream"), counts["observation"]) == (None, 0)
    with pytest.raises(UnknownSystem):
        written(filled, system="no.such.system.here")


def test_entities_with_a_systems_name_are_the_same_ones(filled, second):
    second.create_system(CAR).result()
    second.register_instances(load_instances(instances(), CAR), "car_1").result()
    imported = load(second, io.BytesIO(written(filled, system=CAR)[0]))
    assert [r["log_key"] for r in rows(second, tables.datastream)] == [f"{CAR}.Car.Speed", f"{CAR}.Car.Other"]
    assert imported.stored["observation"] == 45
    assert imported.present["thing"] == 1


def test_new_datastreams_are_announced_and_history_is_not_sent_again(filled, second):
    load(second, io.BytesIO(written(filled)[0]))
    payloads = [payload for shard in range(8) for _, payload in second.outbox_read(shard, 0, 100)]
    assert sorted(i for p in payloads for _, i in p.meta) == [r["id"] for r in rows(filled, tables.datastream)]
    assert [p.values for p in payloads if p.values] == []


def test_a_move_takes_identity_outbox_and_archive_along(filled, second):
    data, _ = written(filled, move=True)
    load(second, io.BytesIO(data), move=True)
    for name in ("archive_offset", "archive_dead", "app", "app_revision", "app_source", "system", "store_info"):
        assert rows(second, tables.BY_NAME[name]) == rows(filled, tables.BY_NAME[name]), name
    mine = {(s, seq): p for s in range(8) for seq, p in second.outbox_read(s, 0, 100)}
    theirs = {(s, seq): p for s in range(8) for seq, p in filled.outbox_read(s, 0, 100)}
    assert theirs.items() <= mine.items()
    assert content(second) == content(filled)
    assert load(second, io.BytesIO(data), move=True).complete


def test_a_move_needs_an_empty_store_and_an_export_made_for_it(filled, second, lab):
    with pytest.raises(InvalidInput, match="no identity"):
        load(second, io.BytesIO(written(filled)[0]), move=True)
    second.create(BY_NAME["Thing"], {"name": "n", "description": "-"}, lab).result()
    with pytest.raises(Conflict, match="not empty"):
        load(second, io.BytesIO(written(filled, move=True)[0]), move=True)


def test_without_move_no_key_leaves_the_store(filled):
    data, counts = written(filled)
    assert filled.info("header_key").encode() not in data
    assert "store_info" not in counts
    with pytest.raises(Conflict, match="this very store"):
        load(filled, io.BytesIO(data))


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)  # the file is read the same way everywhere
@pytest.mark.parametrize("keep", [0.3, 0.7, 0.999])
def test_a_file_that_is_cut_off_goes_on_when_it_is_whole(filled, second, keep):
    data, _ = written(filled)
    with pytest.raises(InvalidInput, match="cut off"):
        load(second, io.BytesIO(data[: int(len(data) * keep)]))
    imported = load(second, io.BytesIO(data))
    assert imported.before > 0
    assert content(second) == content(filled)
    assert history(second) == history(filled)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)  # the file is read the same way everywhere
def test_a_pipe_goes_on_too(filled, second):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    data, _ = written(filled)
    with pytest.raises(InvalidInput):
        load(second, Pipe(data[: len(data) // 2]))
    load(second, Pipe(data))
    assert history(second) == history(filled)


BAD = {
    "no JSON": (b"{nonsense\n", "no JSON object"),
    "unknown section": (b'{"secrets":{"id":1}}\n', "no section"),
    "unknown column": (b'{"thing":{"id":1,"evil":1}}\n', "no column"),
    "missing column": (b'{"thing":{"id":1}}\n', "has no"),
    "wrong type": (b'{"company":{"id":"1"}}\n', "cannot be"),
    "unknown reference": (
        b'{"system":{"id":1,"company_id":7,"name":"a.b.c.d","name_key":"a.b.c.d","state":"ready","partitions":1,'
        b'"visibility":"private","archive_received":true,"version":1,"created_at":1,"updated_at":1}}\n',
        "refers to company 7",
    ),
    "NUL": (b'{"thing":{"id":1,"name":"a\\u0000","description":"","system_id":1,"version":1}}\n', "NUL"),
    "foreign observation": (b'{"observation":{"id":1,"datastream_id":9,"t":1,"result":1}}\n', "datastream 9"),
    "observation of text": (b'{"observation":{"id":"1","datastream_id":9,"t":1,"result":1}}\n', "no integer"),
    "not a number": (b'{"observation":{"id":1,"datastream_id":9,"t":1,"result":NaN}}\n', "finite|number|NaN"),
}


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)  # the file is read the same way everywhere
@pytest.mark.parametrize("name", BAD)
def test_a_damaged_line_is_named_and_stores_nothing(second, name):
    line, message = BAD[name]
    header = {
        "twinstack_export": 1,
        "export": "e",
        "source": "s",
        "revision": "0001",
        "system": None,
        "move": False,
        "observations": 1,
    }
    data = json.dumps(header).encode() + b"\n" + line + b'{"end":{}}\n'
    with pytest.raises(InvalidInput, match=message) as error:
        load(second, io.BytesIO(data))
    assert "2" in error.value.message
    assert rows(second, tables.company) == rows(second, tables.thing) == rows(second, tables.observation) == []


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)  # the file is read the same way everywhere
def test_what_is_no_export_is_refused(second):
    for data in (b"", b"{}\n", b'{"value":[]}\n', b"\x00\xff\n"):
        with pytest.raises(InvalidInput):
            load(second, io.BytesIO(data))
