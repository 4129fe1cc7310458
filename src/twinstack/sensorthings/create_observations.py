"""`POST /CreateObservations`: many Observations of many Datastreams in one body (OGC 18-088, 14.2.2; 15-078r6, 12.1).

What is wrong with the request as a whole is found before any row is stored; a row that cannot be stored becomes
`"error"` in its place, and the others are stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, RecordTooLarge, TwinstackError
from twinstack.core.timestamps import parse_us
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
_FIRST_US, _LAST_US = parse_us("0001-01-01T00:00:00Z"), parse_us("9999-12-31T23:59:59Z")


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
    if (n := sum(len(array.rows) for array in arrays)) > limits.STORE_REQUEST_ROWS_MAX:
        raise RecordTooLarge(
            f"{n} rows are too many for one request.", fix=f"Send at most {limits.STORE_REQUEST_ROWS_MAX} at once."
        )
    return [_row(array, row) for array in arrays for row in array.rows]


def _row(array: _Array, row: Any) -> Row:
    try:
        return array.cells.read(array.datastream_id, array.multi, row)
    except TwinstackError as error:
        return error


def answer(base: str, parsed: list[Row], outcomes: list[Outcome]) -> str:
    """The JSON array of the answer; `outcomes` are those of the rows that went to the store."""
    prefix = dumps(f"{base}/Observations(")[:-1]
    ids = iter(outcomes)
    results = [row if isinstance(row, TwinstackError) else next(ids) for row in parsed]
    texts = [_ERROR if isinstance(r, TwinstackError) else f'{prefix}{r})"' for r in results]
    return f"[{','.join(texts)}]"


class _Array(NamedTuple):
    """One object of the body."""

    datastream_id: int
    multi: bool
    cells: Cells
    rows: list[Any]


def _array(number: int, item: Any, version: Version) -> _Array:
    """Errors: InvalidInput."""
    where = f"Object {number}"
    if not isinstance(item, dict):
        raise InvalidInput(f"{where} of the array is no object.", fix="Send { ... }.")
    if version != "1.0" and (unknown := [key for key in item.keys() - _KEYS if "@iot." not in key]):
        raise InvalidInput(f"{where} has no '{unknown[0][:80]}'.", fix=f"Known are {', '.join(sorted(_KEYS))}.")
    streams = [name for name in _STREAMS if name in item]
    if len(streams) != 1:
        raise InvalidInput(
            f"{where} names no single {' or '.join(_STREAMS)}.", fix='Send "Datastream": {"@iot.id": 1}.'
        )
    stream = item[streams[0]]
    if not isinstance(stream, dict) or "@iot.id" not in stream:
        raise InvalidInput(f"{where}: the {streams[0]} has no @iot.id.", fix='Send "Datastream": {"@iot.id": 1}.')
    rows = item.get("dataArray")
    if not isinstance(rows, list):
        raise InvalidInput(f"{where} has no array 'dataArray'.", fix="Send an array of rows.")
    components = item.get("components")
    if not isinstance(components, list) or not all(isinstance(name, str) for name in components):
        raise InvalidInput(f"{where} has no array 'components'.", fix='Send ["phenomenonTime", "result"].')
    multi = streams[0] == MULTI_DATASTREAM.name
    return _Array(parse_id(stream["@iot.id"]), multi, _cells(tuple(components)), rows)


@lru_cache(maxsize=256)
def _cells(components: tuple[str, ...]) -> Cells:
    """What reads rows of these components. Errors: InvalidInput."""
    names = [_ALIASES.get(name, name) for name in components]
    for name in names:
        if name not in _COMPONENTS:
            raise InvalidInput(f"There is no component '{name[:80]}'.", fix=f"Known are {', '.join(_COMPONENTS)}.")
    if len(set(names)) < len(names):
        raise InvalidInput("A component stands twice.", fix="Name each once.")
    for name in _MANDATORY:
        if name not in names:
            raise InvalidInput(f"There is no component '{name}'.", fix="phenomenonTime and result are mandatory.")
    place = {name: n for n, name in enumerate(names)}
    return Cells(
        width=len(names),
        time=place["phenomenonTime"],
        result=place["result"],
        result_time=place.get("resultTime"),
        feature=place.get(FEATURE_ID),
        extras=tuple((name, place[name]) for name in _EXTRAS if name in place),
    )


@dataclass(frozen=True, slots=True)
class Cells:
    """At which places of a row its components stand."""

    width: int
    time: int
    result: int
    result_time: int | None
    feature: int | None
    extras: tuple[tuple[str, int], ...]

    def read(self, datastream_id: int, multi: bool, row: Any) -> NewObservation:
        """Errors: InvalidInput."""
        if not isinstance(row, list) or len(row) != self.width:
            raise InvalidInput("A row has one value for each component.", fix="Send an array.")
        t, t_end = _time(row[self.time])
        result = row[self.result]
        if type(result) is not float and type(result) is not int:
            result = property_value(OBSERVATION, _PROPERTIES["result"], result)
        result_time = feature_id = extra = None
        if self.result_time is not None and row[self.result_time] is not None:
            result_time = property_value(OBSERVATION, _PROPERTIES["resultTime"], row[self.result_time])
        if self.feature is not None and row[self.feature] is not None:
            feature_id = parse_id(row[self.feature])
        if self.extras:
            given = [(name, row[at]) for name, at in self.extras if row[at] is not None]
            extra = {name: property_value(OBSERVATION, _PROPERTIES[name], value) for name, value in given}
            if "validTime" in extra:
                extra["validTime"] = list(extra["validTime"])
        return NewObservation(datastream_id, t, result, t_end, result_time, feature_id, extra or None, None, multi)


def _time(value: Any) -> tuple[int, int | None]:
    """A phenomenonTime; the plain way for the instants that nearly all are. Errors: InvalidInput."""
    if type(value) is str and "/" not in value:
        t = parse_us(value)
        if _FIRST_US <= t <= _LAST_US:
            return t, None
    pair = property_value(OBSERVATION, _PROPERTIES["phenomenonTime"], value)
    if pair is None:
        raise InvalidInput("A row has no phenomenonTime.", fix="Send a time.")
    return pair  # type: ignore[no-any-return]
