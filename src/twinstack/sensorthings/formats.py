"""How a set is written: JSON, and `$resultFormat=dataArray|CSV|GeoJSON`.

A format gets the JSON texts of entities part by part and gives the text of the answer. Data arrays: OGC 18-088, 14.2
(15-078r6, 12.2). CSV (RFC 4180) and GeoJSON (RFC 7946) are extensions that users of other servers know.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from twinstack.core.errors import InvalidInput
from twinstack.sensorthings.model import BY_NAME, OBSERVATION, EntityType
from twinstack.sensorthings.options import Expand, Options
from twinstack.sensorthings.reading import Chunk
from twinstack.sensorthings.store.types import dumps
from twinstack.sensorthings.versions import ApiVersion

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Format:
    """JSON, and what the other formats change of it. `options` are those to read with.

    `whole`: the format has no place for a nextLink, so it is not paged. `held_chars`: text it keeps until `end`.
    """

    content_type = b"application/json"
    whole = False
    held_chars = 0

    def __init__(self, entity: EntityType, options: Options, version: ApiVersion, base: str) -> None:
        self.entity = entity
        self.options = options
        self.version = version
        self.base = base
        self._separator = ""

    def begin(self, first: Chunk) -> str:
        return f'{{{self._count(first)}"value":['

    def rows(self, texts: Sequence[str]) -> str:
        return self._next(",".join(texts))

    def end(self, next_link: str | None) -> str:
        return f"]{self._link(next_link)}}}"

    def _next(self, text: str) -> str:
        """Behind what stands there already."""
        if not text:
            return ""
        separator, self._separator = self._separator, ","
        return separator + text

    def _count(self, first: Chunk) -> str:
        return "" if first.count is None else f'"{self.version.count}":{first.count},'

    def _link(self, next_link: str | None) -> str:
        return "" if next_link is None else f',"{self.version.next_link}":{dumps(next_link)}'


# --- data arrays ----------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Group:
    """The rows of one Datastream; `filled`: the components that are not null in some row."""

    name: str
    address: str
    rows: list[list[str]] = field(default_factory=list)
    filled: set[int] = field(default_factory=set)


class DataArray(Format):
    """One object per Datastream; kept until the end, because each stands once and tells its number of rows."""

    def __init__(self, entity: EntityType, options: Options, version: ApiVersion, base: str) -> None:
        if entity is not OBSERVATION:
            raise InvalidInput("Data arrays hold Observations.", fix="Ask for /Observations?$resultFormat=dataArray.")
        if options.expand:
            raise InvalidInput("A data array holds no expanded entities.", fix="Leave $expand out.")
        self._components = _chosen(entity, options, version)
        self._streams = {link.name: BY_NAME[link.target] for link in entity.links if link.target.endswith("Datastream")}
        owner = Options(select=(version.id,))
        expand = tuple(Expand(link, owner) for link in entity.links if link.name in self._streams)
        super().__init__(entity, replace(options, select=self._components, expand=expand), version, base)
        # What most Observations do not have gets a column only where one has it, or where the client asked for it.
        always = {"phenomenonTime", "result", "resultTime", version.id}
        self._always = {n for n, name in enumerate(self._components) if options.select is not None or name in always}
        self._groups: dict[tuple[str, bytes], _Group] = {}
        self._head = ""

    def begin(self, first: Chunk) -> str:
        self._head = super().begin(first)
        return ""

    def rows(self, texts: Sequence[str]) -> str:
        for text in texts:
            members = _members(text)
            row = [bytes(members[name]).decode() for name in self._components]
            group = self._group(members)
            group.rows.append(row)
            group.filled.update([n for n, value in enumerate(row) if value != "null"])
            self.held_chars += sum(map(len, row))
        return ""

    def _group(self, members: dict[str, msgspec.Raw]) -> _Group:
        name, owner = next((n, bytes(members[n])) for n in self._streams if bytes(members[n]) != b"null")
        group = self._groups.get((name, owner))
        if group is None:
            stream_id = json.loads(owner)[self.version.id]
            address = f"{self.base}/{self._streams[name].set_name}({stream_id})"
            group = self._groups[name, owner] = _Group(name, address)
        return group

    def end(self, next_link: str | None) -> str:
        groups = ",".join(map(self._text, self._groups.values()))
        return f"{self._head}{groups}{super().end(next_link)}"

    def _text(self, group: _Group) -> str:
        columns = [n for n in range(len(self._components)) if n in self._always or n in group.filled]
        names = ["id" if self._components[n] == self.version.id else self._components[n] for n in columns]
        rows = ",".join([f"[{','.join([row[n] for n in columns])}]" for row in group.rows])
        return (
            f'{{"{group.name}{self.version.navigation_link}":{dumps(group.address)},"components":{dumps(names)},'
            f'"dataArray{self.version.count}":{len(group.rows)},"dataArray":[{rows}]}}'
        )


def _chosen(entity: EntityType, options: Options, version: ApiVersion) -> tuple[str, ...]:
    """The id, if it is asked for, then the properties of an answer. Errors: InvalidInput when none is left."""
    properties = [p.name for p in entity.properties_of(version.version)]
    if options.select is None:
        return (version.id, *properties)
    chosen = [name for name in options.select if name in properties]
    if version.id in options.select:
        chosen.insert(0, version.id)
    if not chosen:
        raise InvalidInput("$select leaves nothing to write.", fix="Select id or properties.")
    return tuple(chosen)


# --- CSV ------------------------------------------------------------------------------------------------------------
_MEMBERS = {"unitOfMeasurement": ("name", "symbol", "definition")}
"""JSON properties whose members the standard fixes: each gets a column. Other JSON is one cell of JSON text."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_Place = tuple[str | int, ...]


class Csv(Format):
    """One row per entity; expanded entities are columns `Thing/name`. A file without end of pages: all rows."""

    content_type = b"text/csv; charset=utf-8; header=present"
    whole = True

    def __init__(self, entity: EntityType, options: Options, version: ApiVersion, base: str) -> None:
        self._columns = list(_columns(entity, options, version, "", ()))
        super().__init__(entity, _flat(entity, options, version), version, base)

    def begin(self, first: Chunk) -> str:
        return _lines([[header for header, _ in self._columns]])

    def rows(self, texts: Sequence[str]) -> str:
        places = [place for _, place in self._columns]
        entities = map(json.loads, texts)
        return _lines([[_cell(_at(entity, place)) for place in places] for entity in entities])

    def end(self, next_link: str | None) -> str:
        return ""


def _columns(
    entity: EntityType, options: Options, version: ApiVersion, prefix: str, place: _Place
) -> list[tuple[str, _Place]]:
    columns: list[tuple[str, _Place]] = []
    for name in _chosen(entity, options, version):
        header = "id" if name == version.id else name
        members = _MEMBERS.get(name)
        if members is None:
            columns.append((f"{prefix}{header}", (*place, name)))
        else:
            columns += [(f"{prefix}{header}/{member}", (*place, name, member)) for member in members]
    for one in options.expand:
        link = one.link
        if link.many and one.options.top != 1:
            raise InvalidInput(
                f"CSV has one row per {entity.name}, and each may have many {link.name}.",
                fix=f"Expand {link.name}($top=1), or ask for the set {BY_NAME[link.target].set_name}.",
            )
        below: _Place = (*place, link.name, 0) if link.many else (*place, link.name)
        columns += _columns(BY_NAME[link.target], one.options, version, f"{prefix}{link.name}/", below)
    return columns


def _flat(entity: EntityType, options: Options, version: ApiVersion) -> Options:
    """Options that read what the columns need: no links, and null where a property is missing."""
    expand = tuple(Expand(one.link, _flat(BY_NAME[one.link.target], one.options, version)) for one in options.expand)
    return replace(options, select=_chosen(entity, options, version), expand=expand)


def _at(value: Any, place: _Place) -> Any:
    for key in place:
        if isinstance(key, int):
            value = value[key] if isinstance(value, list) and len(value) > key else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _cell(value: Any) -> str:
    """A cell's text. A text that a spreadsheet would run as a formula gets an apostrophe in front; numbers do not."""
    if value is None:
        return ""
    if type(value) is float or type(value) is int:
        return repr(value)
    if not isinstance(value, str):
        return dumps(value)
    return f"'{value}" if value.startswith(_FORMULA) and not _NUMBER.fullmatch(value) else value


def _lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


# --- GeoJSON --------------------------------------------------------------------------------------------------------
_GEOMETRIES = {
    "Location": "location",
    "FeatureOfInterest": "feature",
    "Datastream": "observedArea",
    "MultiDatastream": "observedArea",
}
_GEOMETRY_TYPES = frozenset(
    {"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"}
)


class GeoJson(Format):
    """A FeatureCollection: the entity's own geometry, or that of the first expanded entity that has one."""

    content_type = b"application/geo+json"

    def __init__(self, entity: EntityType, options: Options, version: ApiVersion, base: str) -> None:
        own = _GEOMETRIES.get(entity.name)
        place: _Place | None = (own,) if own else next(filter(None, map(_expanded_geometry, options.expand)), None)
        if place is None:
            raise InvalidInput(
                f"{entity.set_name} have no geometry.",
                fix="Ask for Locations, FeaturesOfInterest or Datastreams, or expand a link to one of them.",
            )
        self._place = place
        chosen = _chosen(entity, options, version)
        select = (*chosen, version.self_link, *([own] if own and own not in chosen else []))
        super().__init__(entity, replace(options, select=select), version, base)

    def begin(self, first: Chunk) -> str:
        return f'{{"type":"FeatureCollection",{self._count(first)}"features":['

    def rows(self, texts: Sequence[str]) -> str:
        return self._next(",".join([self._feature(json.loads(text)) for text in texts]))

    def _feature(self, entity: dict[str, Any]) -> str:
        geometry = _geometry(_at(entity, self._place))
        if len(self._place) == 1:
            entity.pop(str(self._place[0]))
        feature = {"type": "Feature", "geometry": geometry, "properties": entity}
        if self.version.id in entity:
            feature["id"] = entity[self.version.id]
        return dumps(feature)


def _expanded_geometry(one: Expand) -> _Place | None:
    name = _GEOMETRIES.get(one.link.target)
    if name is None or (one.options.select is not None and name not in one.options.select):
        return None
    return (one.link.name, 0, name) if one.link.many else (one.link.name, name)


def _geometry(value: Any) -> dict[str, Any] | None:
    """The geometry of a GeoJSON value; None for what is not GeoJSON (other encodings may hold anything)."""
    if isinstance(value, dict) and value.get("type") == "Feature":
        value = value.get("geometry")
    return value if isinstance(value, dict) and value.get("type") in _GEOMETRY_TYPES else None


_FORMATS: dict[str, type[Format]] = {"dataarray": DataArray, "csv": Csv, "geojson": GeoJson}


def format_of(entity: EntityType, options: Options, version: ApiVersion, base: str) -> Format:
    """The format that a request asks for. Errors: InvalidInput when the set cannot be written in it."""
    return _FORMATS.get(options.result_format, Format)(entity, options, version, base)
