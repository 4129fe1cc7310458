"""What `check` knows of the sources: their Datastreams, as one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from twinstack.query.streamsql.kinds import ANY, INT, NUMBER, STRING, Kinds, of

RESULT_KINDS: Mapping[str, Kinds] = {
    "OM_Measurement": NUMBER,
    "OM_CountObservation": of(INT),
    "OM_TruthObservation": of("bool"),
    "OM_CategoryObservation": of(STRING),
}
"""The last part of an observationType to the kinds its results have; any other type: anything."""

_KINDS_BY_NAME: Mapping[str, Kinds] = {
    "int": of(INT),
    "float": NUMBER,  # JSON does not tell 4.0 from 4: a float Datastream's record may hold an integer
    "number": NUMBER,
    "string": of(STRING),
    "bool": of("bool"),
    "object": of("object"),
    "any": ANY,
}


@dataclass(frozen=True, slots=True)
class CatalogueDatastream:
    """One Datastream: `name` is `<Thing>.<Datastream>`, `full_name` has the system in front.

    `result_kind`: int, float, number, string, bool, object or any. `attributes`: name to kind, of the attributes that
    it registered or that its records had.
    """

    name: str
    full_name: str = ""
    system: str = ""
    thing: str = ""
    datastream: str = ""
    observed_property: str = ""
    unit: str = ""
    result_kind: str = "any"
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def result_kinds(self) -> Kinds:
        return kinds_by_name(self.result_kind)

    def metadata(self) -> dict[str, str]:
        """The columns whose value is the same for every record of the Datastream."""
        return {column: getattr(self, column) for column in METADATA}


METADATA = ("name", "full_name", "system", "thing", "datastream", "observed_property", "unit")
"""Columns that belong to the Datastream, not to the record."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The Datastreams of the sources. Without any, `result` has no known kind and no Datastream is missed."""

    datastreams: tuple[CatalogueDatastream, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.datastreams


def kinds_by_name(name: str) -> Kinds:
    """The kinds behind a catalogue's word; an unknown word means anything."""
    return _KINDS_BY_NAME.get(name, ANY)
