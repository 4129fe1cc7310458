"""Batches and catalogues in memory, for the parts of a stream app that do no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twinstack.log.seam import Headers
from twinstack.streams.catalogue import Datastream, SystemCatalogue
from twinstack.streams.spec import AppSpec

SOURCE, TARGET = "is.iceland.weather.Stations", "cz.icecars.fleet.Car1"
OTHER = "at.datahouse.analytics.Roads"


def entity(name: str, number: int, **more: Any) -> dict[str, Any]:
    thing = ".".join(name.split(".")[:5])
    return {"@iot.id": number, "name": name, "Thing": {"name": thing}, **more}


def system_catalogue(*entities: dict[str, Any], system: str = SOURCE, exists: bool = True) -> SystemCatalogue:
    catalogue = SystemCatalogue(system, exists=exists)
    for each in entities:
        catalogue.put(Datastream.of_entity(each["name"], each, system))
    return catalogue


class MemoryCatalogue:
    """`coming`: entities that each refresh adds, one after the other."""

    def __init__(
        self, *systems: SystemCatalogue, coming: Sequence[tuple[SystemCatalogue, dict[str, Any]]] = ()
    ) -> None:
        self._systems = {c.system: c for c in systems}
        self._coming = list(coming)
        self.refreshed = 0

    def snapshot(self, systems: Sequence[str]) -> dict[str, SystemCatalogue]:
        return {s: self._systems.setdefault(s, SystemCatalogue(s, exists=False)) for s in systems}

    def refresh(self) -> bool:
        self.refreshed += 1
        if not self._coming:
            return False
        catalogue, each = self._coming.pop(0)
        catalogue.put(Datastream.of_entity(each["name"], each, catalogue.system))
        return True

    def close(self) -> None:
        pass


class MemoryBatch:
    def __init__(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Headers] | None = None,
        topic: str = f"{SOURCE}.int",
    ) -> None:
        n = len(values)
        self.topic, self.partition = topic, 0
        self.values = list(values)
        self.keys = list(keys) if keys is not None else [None] * n
        self.headers: list[Headers] = list(headers) if headers is not None else [()] * n
        self.timestamps_ms = [0] * n
        self.offsets = list(range(100, 100 + n))
        self.next_offset = 100 + n
        self.headers_read = 0

    def __len__(self) -> int:
        return len(self.values)

    def headers_at(self, indices: Sequence[int]) -> list[Headers]:
        self.headers_read += len(indices)
        return [self.headers[i] for i in indices]


def spec(text: str = "SELECT * FROM *;", **changes: Any) -> AppSpec:
    told: dict[str, Any] = {"uid": "abcdefghij", "name": "app", "target": TARGET, "sources": (SOURCE,), "text": text}
    return AppSpec(**{**told, **changes})
