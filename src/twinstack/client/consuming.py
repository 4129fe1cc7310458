"""The consuming side of a client: its subscription, records completed from the catalogue, offsets.

At least once: the offsets of what a call of `consume` returned are committed when the next one begins, so a program
that dies between the two gets those records again (equal `Record.id`).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

import msgspec

from twinstack.client.catalogue import Catalogue
from twinstack.client.record import Record
from twinstack.client.subscriptions import Subscription
from twinstack.client.transport import Reader, Transport
from twinstack.core.errors import Conflict, Fenced, InvalidRecord
from twinstack.core.observations import decode
from twinstack.log.seam import Batch, Start, TopicPartition

_SCHEMA_PREFIX_BYTES = 5

logger = logging.getLogger(__name__)
_fast_decode = msgspec.json.Decoder().decode


class ConsumingSide:
    """Callers of any thread take turns."""

    def __init__(self, transport: Transport, catalogue: Catalogue, group: str) -> None:
        self._transport = transport
        self._catalogue = catalogue
        self._group = group
        self._lock = threading.RLock()
        self._reader: Reader | None = None
        self._subscription: Subscription | None = None
        self._done: dict[TopicPartition, int] = {}
        self._held: deque[Record] = deque()
        self._skipped_keys: set[bytes] = set()
        self.consumed = 0
        self.rejected = 0

    def subscribe(self, subscription: Subscription, start: Start) -> None:
        with self._lock:
            self._release()
            self._reader = self._transport.subscribed(subscription.topics, self._group, start)
            self._subscription = subscription
            self._catalogue.open()
            self._skipped_keys.clear()

    def consume(self, timeout_s: float) -> list[Record]:
        """Records that are there, waiting up to `timeout_s` for the first. Errors: Conflict before `subscribe`,
        and those of the transport."""
        with self._lock:
            if self._held:
                # an iteration that was left early: these were never given out
                held = list(self._held)
                self._held.clear()
                return held
            if self._reader is None:
                raise Conflict("Nothing is subscribed.", fix="Call subscribe(subscription_file) first.")
            self.commit()
            batches = self._reader.poll(timeout_s)
            if self._catalogue.refresh():
                self._skipped_keys.clear()
            records: list[Record] = []
            for batch in batches:
                self._take(batch, records)
                self._done[TopicPartition(batch.topic, batch.partition)] = batch.next_offset
            self.consumed += len(records)
            return records

    def commit(self) -> None:
        """Commits what the last `consume` returned. A group that has moved on meanwhile gets those records again."""
        with self._lock:
            if self._reader is None or not self._done or self._held:
                return
            done, self._done = self._done, {}
            try:
                self._reader.commit(done)
            except Fenced as error:
                logger.warning("not committed, the records come again: %s", error)

    def hold(self, records: list[Record]) -> None:
        """Keeps records for `next_held`; what is left there is returned by the next `consume`."""
        self._held.extend(records)

    def next_held(self) -> Record | None:
        return self._held.popleft() if self._held else None

    def _take(self, batch: Batch, records: list[Record]) -> None:
        subscription, catalogue = self._subscription, self._catalogue
        assert subscription is not None
        everything = subscription.takes_all_of(batch.topic)
        own = batch.topic.endswith(".int")
        skipped = self._skipped_keys
        keys: list[bytes | None] = [] if everything else batch.keys
        for place, value in enumerate(batch.values):
            if value is None or (not everything and keys[place] in skipped):
                continue
            try:
                observation = decode_observation(value)
            except InvalidRecord as error:
                self.rejected += 1
                logger.warning("%s[%d] record %d of its batch: %s", batch.topic, batch.partition, place, error)
                continue
            reference = observation.get("Datastream")
            if not isinstance(reference, dict):
                reference = {}
            name = reference.get("name")
            entity = catalogue.by_key(name) if isinstance(name, str) else None
            if entity is None:
                entity = catalogue.resolve(reference, own)
            if everything or entity.get("name") in subscription.names or name in subscription.names:
                records.append(Record.of(observation, entity, batch, place))
            elif (key := keys[place]) is not None and isinstance(name, str) and key == name.encode():
                # keyed by the log key: the next record of this Datastream is skipped undecoded
                skipped.add(key)

    def close(self) -> None:
        with self._lock:
            self._release()
            self._catalogue.close()

    def _release(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader, self._subscription = None, None
        self._done = {}
        self._held.clear()


def decode_observation(value: bytes) -> dict[str, Any]:
    """One record's value, also with the schema registry's prefix. Errors: InvalidRecord, as `decode` has them.

    The fast way takes what is beyond doubt; duplicate keys, which it cannot see, and all it refuses go the strict way.
    """
    if value[:1] == b"\0":
        value = value[_SCHEMA_PREFIX_BYTES:]
    try:
        observation = _fast_decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return decode(value)
    if not isinstance(observation, dict) or value.count(b'"result"') != 1 or value.count(b'"Datastream"') > 1:
        return decode(value)
    checked: dict[str, Any] = observation
    return checked
