"""`POST /CreateObservations`: many Observations of many Datastreams in one body (OGC 18-088, 14.2.2; 15-078r6, 12.1).

What is wrong with the request as a whole is found before any row is stored; a row that cannot be stored becomes
`"error"` in its place, and the others are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, RecordTooLarge, TwinstackError
from twinstack.sensorthings.model import MULTI_DATASTREAM, OBSERVATION, ByColumn, Version
from twinstack.sensorthings.store.observations import Outcome
from twinstack.sensorthings.store.types import dumps
from twinstack.sensorthings.store.values import NewObservation
from twinstack.sensorthings.validate import parse_id, property_value

FEATURE_ID = "FeatureOfInterest/id"
_ALIASES = {"FeatureOfInterest/@iot.id": FEATURE_ID}
_PROPERTIES = {p.name: p for p in OBSERVATION.properties}
_MANDATORY = ("phenomenonTime", "result")
_COMPONENTS = (*_PROPERTIES, FEATURE_ID)
_STREAMS = tuple(
    link.name for link in OBSERVATION.links if isinstance(link.join, ByColumn) and link.join.column == "datastream_id"
)
_KEYS = frozenset({*_STREAMS, "components", "dataArray"})
_EXTRAS = ("parameters", "resultQuality", "validTime")
Row = NewObservation | TwinstackError
_ERROR = '"error"'
Cells = Callable[[Any], NewObservation]


def parse(body: Any, version: Version) -> list[Row]:
    """The rows of all objects in order; the error of a row that cannot be one stands in its place.

    Errors: InvalidInput when the request as a whole is malformed, RecordTooLarge for too many rows.
    """
    if not isinstance(body, list):
        raise InvalidInput(
            "The body is no array of data arrays.",
            fix='Send [{"Datastream": {"@iot.id": 1}, "components": [...], "dataArray": [[...]]}].',
        )
    arrays = [_array(number, item, version) for number, item in enumerate(body)]
    if (n := sum(len(rows) for _, rows in arrays)) > limits.STORE_REQUEST_ROWS_MAX:
        raise RecordTooLarge(
            f"{n} rows are too many for one request.", fix=f"Send at most {limits.STORE_REQUEST_ROWS_MAX} at once."
        )
    return [_row(cells, row) for cells, rows in arrays for row in rows]


def answer(base: str, parsed: list[Row], outcomes: list[Outcome]) -> str:
    """The JSON array of the answer; `outcomes` are those of the rows that went to the store."""
    prefix = dumps(f"{base}/Observations(")[:-1]
    ids = iter(outcomes)
    results = [row if isinstance(row, TwinstackError) else next(ids) for row in parsed]
    texts = [_ERROR if isinstance(r, TwinstackError) else f'{prefix}{r})"' for r in results]
    return f"[{','.join(texts)}]"


def _array(number: int, item: Any, version: Version) -> tuple[Cells, list[Any]]:
    """One object of the body: how its rows are read, and the rows. Errors: InvalidInput."""
    where = f"Object {number}"
    if not isinstance(item, Mapping):
        raise InvalidInput(f"{where} of the array is no object.", fix="Send { ... }.")
    if version != "1.0" and (unknown := [key for key in item if key not in _KEYS and "@iot." not in key]):
        raise InvalidInput(f"{where} has no '{unknown[0][:80]}'.", fix=f"Known are {', '.join(sorted(_KEYS))}.")
    streams = [name for name in _STREAMS if name in item]
    if len(streams) != 1:
        raise InvalidInput(
            f"{where} names no single {' or '.join(_STREAMS)}.", fix='Send "Datastream": {"@iot.id": 1}.'
        )
    stream = item[streams[0]]
    if not isinstance(stream, Mapping) or "@iot.id" not in stream:
        raise InvalidInput(f"{where}: the {streams[0]} has no @iot.id.", fix='Send "Datastream": {"@iot.id": 1}.')
    rows = item.get("dataArray")
    if not isinstance(rows, list):
        raise InvalidInput(f"{where} has no array 'dataArray'.", fix="Send an array of rows.")
    multi = streams[0] == MULTI_DATASTREAM.name
    return _reader(parse_id(stream["@iot.id"]), multi, _components(where, item.get("components"))), rows


def _components(where: str, given: Any) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise InvalidInput(f"{where} has no array 'components'.", fix='Send ["phenomenonTime", "result"].')
    names: list[str] = [_ALIASES.get(name, name) for name in map(str, given)]
    for name in names:
        if name not in _COMPONENTS:
            raise InvalidInput(
                f"{where}: there is no component '{name[:80]}'.", fix=f"Known are {', '.join(_COMPONENTS)}."
            )
    if len(set(names)) < len(names):
        raise InvalidInput(f"{where} names a component twice.", fix="Name each once.")
    for name in _MANDATORY:
        if name not in names:
            raise InvalidInput(f"{where} has no component '{name}'.", fix="phenomenonTime and result are mandatory.")
    return names


def _reader(datastream_id: int, multi: bool, names: list[str]) -> Cells:
    """Makes a row of its cells."""
    place = {name: n for n, name in enumerate(names)}
    time_at, result_at = place["phenomenonTime"], place["result"]
    result_time_at, feature_at = place.get("resultTime"), place.get(FEATURE_ID)
    extras = [(name, place[name]) for name in _EXTRAS if name in place]
    time_p, result_p, result_time_p = (_PROPERTIES[name] for name in ("phenomenonTime", "result", "resultTime"))

    def read(cells: Any) -> NewObservation:
        if not isinstance(cells, list) or len(cells) != len(names) or cells[time_at] is None:
            raise InvalidInput("A row has one value for each component, a time among them.", fix="Send an array.")
        t, t_end = property_value(OBSERVATION, time_p, cells[time_at])
        result = property_value(OBSERVATION, result_p, cells[result_at])
        result_time = feature_id = extra = None
        if result_time_at is not None and cells[result_time_at] is not None:
            result_time = property_value(OBSERVATION, result_time_p, cells[result_time_at])
        if feature_at is not None and cells[feature_at] is not None:
            feature_id = parse_id(cells[feature_at])
        if extras:
            given = [(name, cells[at]) for name, at in extras if cells[at] is not None]
            extra = {name: property_value(OBSERVATION, _PROPERTIES[name], value) for name, value in given}
            if "validTime" in extra:
                extra["validTime"] = list(extra["validTime"])
        return NewObservation(datastream_id, t, result, t_end, result_time, feature_id, extra or None, multi=multi)

    return read


def _row(cells: Cells, row: Any) -> Row:
    try:
        return cells(row)
    except TwinstackError as error:
        return error
