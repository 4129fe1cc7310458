"""A received observation: the record of the wire as a dict, with its Datastream completed and typed accessors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from twinstack.core.timestamps import parse_interval_us
from twinstack.log.seam import Headers

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Source(Protocol):
    """The columns of a batch that a record looks into when asked."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    def headers_at(self, indices: Sequence[int]) -> list[Headers]: ...
    @property
    def offsets(self) -> list[int]: ...
    @property
    def timestamps_ms(self) -> list[int]: ...


class Record(dict[str, Any]):
    """`{"phenomenonTime", "resultTime", "result", "Datastream": <full entity>, ...attributes, "topic", "partition"}`.

    A dict in every respect (`record["Datastream"]["name"]`, `record["result"]`), and typed: `record.result`,
    `record.time`, `record.unit`. All records of a Datastream share one entity: read it, do not change it.
    """

    __slots__ = ("_place", "_source")

    # set by whoever makes the record: an __init__ of our own would double the cost of making one
    _source: Source
    _place: int

    @property
    def result(self) -> Any:
        return self.get("result")

    @property
    def datastream(self) -> Mapping[str, Any]:
        """The full entity: `name`, `unitOfMeasurement`, `Thing`, `Sensor`, `ObservedProperty`."""
        entity: Mapping[str, Any] = self["Datastream"]
        return entity

    @property
    def name(self) -> str:
        """The full name of the Datastream."""
        return str(self.datastream.get("name", ""))

    @property
    def unit(self) -> str:
        """The symbol of the unit, "" when there is none."""
        unit = self.datastream.get("unitOfMeasurement")
        return str(unit.get("symbol") or "") if isinstance(unit, Mapping) else ""

    @property
    def thing(self) -> str:
        """The full name of the Thing, "" when unknown."""
        thing = self.datastream.get("Thing")
        return str(thing.get("name") or "") if isinstance(thing, Mapping) else ""

    @property
    def time_us(self) -> int:
        """phenomenonTime in microseconds since 1970 UTC (the start of an interval). Errors: InvalidTimestamp."""
        return parse_interval_us(str(self.get("phenomenonTime")))[0]

    @property
    def time(self) -> datetime:
        """phenomenonTime, in UTC. Errors: InvalidTimestamp."""
        return _EPOCH + timedelta(microseconds=self.time_us)

    @property
    def topic(self) -> str:
        return self._source.topic

    @property
    def partition(self) -> int:
        return self._source.partition

    @property
    def offset(self) -> int:
        return self._source.offsets[self._place]

    @property
    def produced_ms(self) -> int:
        """When the record came onto the log, in ms since 1970 UTC."""
        return self._source.timestamps_ms[self._place]

    @property
    def headers(self) -> Headers:
        return self._source.headers_at((self._place,))[0]

    @property
    def id(self) -> str | None:
        """The observation's `ts-id`: equal ids are one observation, delivered twice."""
        for name, value in self.headers:
            if name == "ts-id":
                return value.decode("ascii", "replace")
        return None
