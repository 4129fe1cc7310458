"""Random bodies of every entity type, made from the model: whatever happens, an error is ours, a refused write leaves
nothing, and what is stored hangs together."""

from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
import store_bodies as b
from store_bodies import POINT, rows

from twinstack.core.errors import TwinstackError
from twinstack.sensorthings.model import BY_NAME, ENTITY_TYPES, THING, EntityType, Link, Property, PropertyType
from twinstack.sensorthings.staplus import PARTY
from twinstack.sensorthings.store import tables

STEPS = 80
_TYPES = [f"{b.OM}OM_Measurement", f"{b.OM}OM_Observation"]
_UNIT = {"symbol": "m"}
_GOOD: dict[str, list[Any]] = {
    "encodingType": ["application/geo+json", "text/plain"],
    "location": [POINT],
    "feature": [POINT],
    "unitOfMeasurement": [_UNIT],
    "unitOfMeasurements": [[_UNIT, _UNIT]] * 5 + [[_UNIT]],
    "multiObservationDataTypes": [_TYPES] * 5 + [_TYPES[:1]],
    "observationType": [*_TYPES, None],
    "role": ["individual", "institutional"],
    "result": [1, 2.5, "text", [1, 2], [3, None], [4], None],
    "properties": [None, {"a": 1}],
    "validTime": ["2026-01-01T00:00:00Z/2026-01-03T00:00:00Z"],
}
_INSTANTS = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2030-01-01T00:00:00Z"]
_INTERVALS = [*_INSTANTS, "2026-01-01T00:00:00Z/2026-01-03T00:00:00Z"]
_BAD = [None, 5, "", "\0", [], {}, [{}], {"@iot.id": 1}, 2**70, True]
_BY_TYPE = {PropertyType.INSTANT: _INSTANTS, PropertyType.INTERVAL: _INTERVALS}


_OFTEN = [
    *ENTITY_TYPES,
    *(BY_NAME[name] for name in ("Observation", "Observation", "Observation", "Relation", "MultiDatastream")),
]


class Bodies:
    """Makes bodies of the model's types, mostly good ones."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.have: dict[str, list[int]] = {}
        """Ids that exist, by type."""

    def likely(self, chance: float) -> bool:
        return self.random.random() < chance

    def value(self, p: Property) -> Any:
        good = _GOOD.get(p.name) or _BY_TYPE.get(p.type) or ["text"]
        return self.random.choice(_BAD if self.likely(0.02) else good)

    def body(self, entity: EntityType, depth: int = 0, *, update: bool = False) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for p in entity.properties:
            if not p.computed and self.likely(0.3 if update or not p.mandatory else 0.99):
                made[p.name] = self.value(p)
        if entity.name == "Relation" and not update:
            made["externalResource"] = "text"
        for link in entity.links:
            if self.likely(0.97 if link.mandatory and not update else 0.1):
                made[link.name] = self.targets(link, depth, inline=not update)
        if entity.name == "Observation" and not update:
            name = self.random.choice(["Datastream", "MultiDatastream"])
            if self.likely(0.95):
                made.pop("Datastream", None)
                made.pop("MultiDatastream", None)
            made[name] = {"@iot.id": self.id(name)}
            made["result"] = [1, 2] if "MultiDatastream" in made else made.get("result")
        return made

    def targets(self, link: Link, depth: int, *, inline: bool) -> Any:
        def one() -> dict[str, Any]:
            if inline and depth < 2 and self.likely(0.5):
                return self.body(BY_NAME[link.target], depth + 1)
            return {"@iot.id": self.id(link.target)}

        return [one() for _ in range(self.random.choice([1, 2, 2]))] if link.many else one()

    def id(self, name: str) -> int:
        have = self.have.get(name)
        return self.random.choice(have) if have and self.likely(0.97) else self.random.randint(1, 9)


def everything(store) -> dict[str, list]:
    with store.reader() as connection:
        return {
            name: [tuple(row) for row in connection.execute(sa.select(table))]
            for name, table in tables.BY_NAME.items()
            if name not in ("id_block", "outbox", "outbox_head")  # ids are not given back
        }


def existing(store) -> dict[str, list[int]]:
    found = {}
    with store.reader() as connection:
        for entity in ENTITY_TYPES:
            table = tables.BY_NAME[entity.table]
            query = sa.select(table.c.id).where(*(table.c[name] == value for name, value in entity.where))
            found[entity.name] = list(connection.execute(query).scalars())
    return found


def check_links(store) -> None:
    with store.reader() as connection:
        for table in tables.BY_NAME.values():
            for key in table.foreign_keys:
                have = sa.select(key.column)
                lost = sa.select(sa.func.count()).where(key.parent.is_not(None), key.parent.not_in(have))
                assert connection.execute(lost).scalar_one() == 0, key
    ids = {row["id"] for row in rows(store, tables.observation)}
    assert {row["observation_id"] for row in rows(store, tables.group_observation)} <= ids
    for one in rows(store, tables.relation):
        assert one["subject_id"] in ids
        assert (one["object_id"] is None) != (one["external_resource"] is None)
        assert one["object_id"] is None or one["object_id"] in ids


def check_streams(store) -> None:
    observed: dict[int, list[int]] = {}
    for row in rows(store, tables.datastream_property):
        observed.setdefault(row["datastream_id"], []).append(row["rank"])
    streams = {row["id"]: row for row in rows(store, tables.datastream)}
    assert {row["datastream_id"] for row in rows(store, tables.datastream_stat)} == streams.keys() == observed.keys()
    for stream_id, stream in streams.items():
        ranks = observed[stream_id]
        assert sorted(ranks) == list(range(len(ranks)))
        if stream["kind"] == 1:
            assert len(stream["unit"]) == len(stream["multi_types"]) == len(ranks)
        else:
            assert ranks == [0]
    counts = dict.fromkeys(streams, 0)
    pairs = set()
    for row in rows(store, tables.observation):
        counts[row["datastream_id"]] += 1
        pairs.add((row["datastream_id"], row["feature_id"]))
        stream = streams[row["datastream_id"]]
        assert (row["kind"] == "m") == (stream["kind"] == 1)
    assert {r["datastream_id"]: r["n"] for r in rows(store, tables.datastream_stat)} == counts
    assert {(r["datastream_id"], r["feature_id"]) for r in rows(store, tables.datastream_feature)} == pairs


def seed(store, lab) -> None:
    """Datastreams 1 and 2, MultiDatastreams 3 and 4, and so on: what the ids of bodies may mean."""
    for name in ("a", "b"):
        store.create(THING, b.whole(name, Observations=[{"result": 1}]), lab).result()
        store.create(PARTY, {"role": "individual"}, lab).result()
    for name in ("c", "d"):
        stream = {
            "name": name,
            "description": "",
            "unitOfMeasurements": [_UNIT, _UNIT],
            "multiObservationDataTypes": _TYPES,
            "Sensor": {"@iot.id": 1},
            "ObservedProperties": [{"@iot.id": 1}, {"@iot.id": 2}],
        }
        store.create(THING, b.thing(name, Locations=[b.location()], MultiDatastreams=[stream]), lab).result()


def one_write(store, lab, make: Bodies) -> str:
    """Does it; its name."""
    entity = make.random.choice(_OFTEN)
    what = make.random.choice(["create"] * 8 + ["patch"] * 4 + ["put"] * 2 + ["delete"])
    match what:
        case "create":
            store.create(entity, make.body(entity), lab).result()
        case "delete":
            store.delete(entity, make.id(entity.name), lab).result()
        case _:
            sent = make.body(entity, update=what == "patch")
            store.update(entity, make.id(entity.name), sent, lab, replace=what == "put").result()
    return what


@pytest.mark.parametrize("number", range(2))
def test_whatever_is_written(store, lab, number):
    make = Bodies(number)
    seed(store, lab)
    done = dict.fromkeys(("create", "patch", "put", "delete"), 0)
    for _ in range(STEPS):
        make.have = existing(store)
        before = everything(store)
        try:
            done[one_write(store, lab, make)] += 1
        except TwinstackError as error:
            assert error.http_status < 500, error
            assert everything(store) == before
    check_links(store)
    check_streams(store)
    assert min(done.values()) >= 1 and done["create"] >= 10, done
