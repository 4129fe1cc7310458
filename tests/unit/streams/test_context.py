"""Which Datastream a record belongs to: by log key, id or record key, among those of the topic's system."""

from __future__ import annotations

import json
from typing import Any

import pytest
from stream_fakes import OTHER, SOURCE, entity, system_catalogue

from twinstack.streams import context as context_module
from twinstack.streams.catalogue import Datastream, SystemCatalogue
from twinstack.streams.context import SourceContext
from twinstack.streams.decode import Decoder

OWN = f"{SOURCE}.Station_1.Air Temperature"
RECEIVED = f"{OTHER}.Road.Quality"


def named(name: Any = None, number: Any = None) -> bytes:
    told = {key: value for key, value in (("@iot.id", number), ("name", name)) if value is not None}
    return json.dumps({"result": 1, "Datastream": told} if told else {"result": 1}).encode()


def keys_of(context: SourceContext, *records: tuple[bytes, bytes | None]) -> list[str | None]:
    values, keys = zip(*records, strict=True)
    codes = context.resolve(Decoder().decode(list(values)), lambda: keys)
    return [context.datastreams[c].log_key if c >= 0 else None for c in codes.tolist()]


@pytest.fixture
def catalogue() -> SystemCatalogue:
    return system_catalogue(entity(OWN, 7), entity(RECEIVED, 31, properties={"copy_of": 9}))


def test_on_int_only_the_systems_own_datastreams_count(catalogue: SystemCatalogue) -> None:
    context = SourceContext(f"{SOURCE}.int", catalogue, needed=False)
    found = keys_of(
        context,
        (named(OWN), None),
        (named(RECEIVED), None),
        (named(None, 7), b"{the Thing's JSON}"),
        (named(None, 8), OWN.encode()),
        (named(), OWN.encode()),
        (named(), b"unknown"),
        (named(), None),
        (named(f"{OTHER}.Road.Unknown", 7), OWN.encode()),
        (b"not JSON", OWN.encode()),
    )
    assert found == [OWN, None, OWN, None, OWN, None, None, None, None]


def test_on_ext_received_copies_are_found_by_log_key_and_by_the_sources_id(catalogue: SystemCatalogue) -> None:
    context = SourceContext(f"{SOURCE}.ext", catalogue, needed=False)
    found = keys_of(context, (named(RECEIVED, 9), None), (named(None, 9), None), (named(None, 31), None))
    assert found == [RECEIVED] * 3


@pytest.mark.parametrize("strange", [5, 1.5, True, [1], {"a": 1}])
def test_a_name_or_id_of_another_type_is_none(catalogue: SystemCatalogue, strange: Any) -> None:
    context = SourceContext(f"{SOURCE}.int", catalogue, needed=False)
    assert keys_of(context, (named(strange, 7), None)) == [OWN]
    assert keys_of(context, (json.dumps({"Datastream": {"@iot.id": strange}}).encode(), None)) == [None]
    assert keys_of(context, (json.dumps({"Datastream": strange}).encode(), OWN.encode())) == [OWN]


def test_a_renamed_datastream_keeps_its_log_key() -> None:
    renamed = Datastream.of_entity(OWN, entity(f"{SOURCE}.Station_1.Temperature", 7), SOURCE)
    catalogue = SystemCatalogue(SOURCE)
    catalogue.put(renamed)
    context = SourceContext(f"{SOURCE}.int", catalogue, needed=False)
    assert keys_of(context, (named(OWN), None), (named(renamed.full_name), None)) == [OWN, OWN]
    assert context.column("name").tolist() == ["Station_1.Temperature", None]


def test_without_a_catalogue_log_keys_speak_for_themselves() -> None:
    bare = SystemCatalogue(SOURCE, exists=False)
    context = SourceContext(f"{SOURCE}.int", bare, needed=False)
    thing_json = b'{"name": "Thing"}'
    records = ((named(OWN), None), (named(RECEIVED), None), (named(None, 4), thing_json), (named(None, 4), None))
    assert keys_of(context, *records) == [OWN, None, thing_json.decode(), None]
    assert not context.can_grow
    assert context.column("thing")[0] == "Station_1"
    assert context.column("datastream")[0] == "Air Temperature"
    judging = SourceContext(f"{SOURCE}.int", bare, needed=True)
    assert keys_of(judging, *records) == [OWN, None, None, None]


def test_log_keys_without_a_catalogue_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_module.limits, "APP_LOG_KEYS_MAX", 10)
    context = SourceContext(f"{SOURCE}.int", SystemCatalogue(SOURCE, exists=False), needed=False)
    for n in range(100):
        log_key = f"{SOURCE}.Thing.{n}"
        assert keys_of(context, (named(log_key), None)) == [log_key]
        assert len(context.datastreams) <= 10


def test_an_entity_becomes_what_a_query_sees() -> None:
    full = entity(
        OWN,
        7,
        unitOfMeasurement={"name": "degree Celsius", "symbol": "degC"},
        observationType="http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement",
        ObservedProperty={"name": f"{SOURCE}.Air Temperature"},
        properties={"attributes": ["speed", 5]},
    )
    full["Thing"]["Locations"] = [{"location": {"type": "Point", "coordinates": [13, 47.5]}}]
    found = Datastream.of_entity(OWN, full, SOURCE)
    assert (found.name, found.system, found.thing, found.datastream) == (
        "Station_1.Air Temperature",
        SOURCE,
        "Station_1",
        "Air Temperature",
    )
    assert (found.observed_property, found.unit, found.location) == ("Air Temperature", "degC", (13.0, 47.5, None))
    assert (found.ids, found.attributes) == ((7,), ("speed",))


@pytest.mark.parametrize("broken", [None, 5, [], "x", {"name": 5, "Locations": [{"location": {"type": "Point"}}]}])
def test_an_entity_of_another_form_loses_fields_and_no_more(broken: Any) -> None:
    found = Datastream.of_entity(OWN, {"Thing": broken, "unitOfMeasurement": broken, "properties": broken}, SOURCE)
    assert (found.log_key, found.thing, found.location) == (OWN, "", None)
