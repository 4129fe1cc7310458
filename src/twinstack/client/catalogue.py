"""Completes received records: the full entity of each Datastream, from a cache that follows `<system>.meta`.

`.meta` holds the system's own Datastreams and those shared with it, by log key. What it does not hold (another
producer of metadata, no `.meta` topic) is asked from the metadata service once; what nobody knows is asked again
after a while, and until then the record carries the reference of the wire.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from twinstack.client.metadata import Entity, Metadata
from twinstack.client.transport import Reader, Transport
from twinstack.core.errors import NotFound, PermissionDenied, TwinstackError
from twinstack.core.names import SystemName, system_of
from twinstack.log.seam import EARLIEST, TopicPartition

REFRESH_S = 5.0
UNKNOWN_RETRY_S = 30.0
_FIRST_WAIT_S, _WAIT_S = 5.0, 1.0
_POLL_S = 0.1

logger = logging.getLogger(__name__)


def completed(entity: Mapping[str, Any], log_key: str) -> Entity:
    """All keys that programs read, empty where a grant hides them or nobody knows the Datastream."""
    system = system_of(log_key)
    thing = f"{system}.{log_key[len(system) + 1 :].partition('.')[0]}" if system else ""
    blanks: Entity = {
        "name": log_key,
        "unitOfMeasurement": {"name": "", "symbol": "", "definition": ""},
        "Thing": {"name": thing},
        "Sensor": {"name": ""},
        "ObservedProperty": {"name": ""},
    }
    return {**blanks, **{key: value for key, value in entity.items() if value is not None or key not in blanks}}


class Catalogue:
    def __init__(
        self, system: SystemName, metadata: Metadata, transport: Transport, monotonic_s: Callable[[], float]
    ) -> None:
        self._system = system
        self._metadata = metadata
        self._transport = transport
        self._monotonic_s = monotonic_s
        self.by_key: dict[str, Entity] = {}
        """Log key -> entity: what is cached. The hot path looks here first."""
        self._by_id: dict[int, Entity] = {}
        self._unknown_until_s: dict[str | int, float] = {}
        self._meta: Reader | None = None
        self._meta_seen = False
        self._refreshed_s = 0.0

    def add(self, entity: Entity, log_key: str | None = None) -> Entity:
        """Caches the entity and gives it back completed."""
        key = log_key or str(entity.get("log_key") or entity["name"])
        entity = completed(entity, key)
        self.by_key[key] = entity
        if isinstance(entity.get("@iot.id"), int):
            self._by_id[entity["@iot.id"]] = entity
        if isinstance(entity.get("copy_of"), int):
            self._by_id.setdefault(entity["copy_of"], entity)
        return entity

    def open(self) -> None:
        """Begins to follow `.meta`, if there is one."""
        if self._meta is not None:
            return
        try:
            self._meta = self._transport.assigned({TopicPartition(self._system.topic("meta"), 0): EARLIEST})
        except (NotFound, PermissionDenied) as error:
            # an original platform has no `.meta`: the metadata service answers instead
            logger.debug("%s.meta: %s", self._system, error)

    def refresh(self) -> bool:
        """Takes what is new on `.meta`, at most every 5 s; never waits for more than is there. True if it changed."""
        now_s = self._monotonic_s()
        if now_s - self._refreshed_s < REFRESH_S:
            return False
        self._refreshed_s = now_s
        return self._read_meta(0.0)

    def resolve(self, reference: Mapping[str, Any], own: bool) -> Entity:
        """The entity behind a record's `Datastream`. `own`: the record came on the system's own `.int`, where an id
        is an id of this system. Never raises for a record: an unknown one gives its reference back."""
        name, identity = reference.get("name"), reference.get("@iot.id")
        wanted: str | int | None = name if isinstance(name, str) else identity if isinstance(identity, int) else None
        if wanted is None or isinstance(wanted, bool):
            return completed(reference, str(reference.get("name") or ""))
        if (entity := self._cached(wanted)) is not None:
            return entity
        if self._unknown_until_s.get(wanted, 0.0) > self._monotonic_s():
            return completed(reference, str(reference.get("name") or ""))
        if (entity := self._wait_for(wanted)) is None:
            entity = self._ask(wanted, identity if own or not isinstance(wanted, str) else None)
        if entity is None:
            self._unknown_until_s[wanted] = self._monotonic_s() + UNKNOWN_RETRY_S
            return completed(reference, str(reference.get("name") or ""))
        return entity

    def _cached(self, wanted: str | int) -> Entity | None:
        return self.by_key.get(wanted) if isinstance(wanted, str) else self._by_id.get(wanted)

    def _ask(self, wanted: str | int, identity: Any) -> Entity | None:
        try:
            entity = self._metadata.find([wanted]).get(wanted) if isinstance(wanted, str) else None
            if entity is None and isinstance(identity, int):
                entity = self._metadata.get(identity)
        except TwinstackError as error:
            logger.warning("metadata of %s: %s", wanted, error)
            return None
        if entity is None:
            return None
        return self.add(entity, wanted if isinstance(wanted, str) else None)

    def _wait_for(self, wanted: str | int) -> Entity | None:
        """Reads `.meta` on until the entity comes; longer while nothing was read of it at all."""
        until_s = self._monotonic_s() + (_WAIT_S if self._meta_seen else _FIRST_WAIT_S)
        while self._meta is not None and self._monotonic_s() < until_s:
            self._read_meta(_POLL_S)
            if (entity := self._cached(wanted)) is not None:
                return entity
        return None

    def _read_meta(self, timeout_s: float) -> bool:
        """What is on `.meta` now, waiting up to `timeout_s` for the first batch. True if there was any."""
        changed = False
        try:
            while self._meta is not None and (batches := self._meta.poll(timeout_s)):
                for batch in batches:
                    self._take(batch.keys, batch.values)
                changed, timeout_s = True, 0.0
        except (NotFound, PermissionDenied) as error:
            logger.debug("%s.meta: %s", self._system, error)
            self.close()
        except TwinstackError as error:
            logger.warning("%s.meta: %s", self._system, error)
        self._meta_seen = self._meta_seen or changed
        return changed

    def _take(self, keys: list[bytes | None], values: list[bytes | None]) -> None:
        for key, value in zip(keys, values, strict=True):
            log_key = key.decode("utf-8", "replace") if key else ""
            if value is None:
                self.by_key.pop(log_key, None)
                continue
            try:
                entity = msgspec.json.decode(value)
            except msgspec.DecodeError:
                continue
            if isinstance(entity, dict) and "name" in entity:
                self.add(entity, log_key or None)

    def close(self) -> None:
        if self._meta is not None:
            self._meta.close()
            self._meta = None
