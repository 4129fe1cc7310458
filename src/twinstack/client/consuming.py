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
_RECORDS_MAX = 1_000
"""Of one `consume`: what fits into the caches of a processor costs a quarter less than five times as much."""

logger = logging.getLogger(__name__)
_fast_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


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
            batches = self._reader.poll(timeout_s, _RECORDS_MAX)
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
        """The hot path: one decode, one look-up and one dict per record."""
        subscription, resolve = self._subscription, self._catalogue.resolve
        assert subscription is not None
        topic, partition, own = batch.topic, batch.partition, batch.topic.endswith(".int")
        everything, names = subscription.takes_all_of(topic), subscription.names
        skipped, cached = self._skipped_keys, self._catalogue.by_key
        keys = batch.keys if skipped and not everything else None
        for place, value in enumerate(batch.values):
            if value is None or (keys is not None and keys[place] in skipped):
                continue
            observation = fast_decode(value) or self._decode(value, batch, place)
            if observation is None:
                continue
            reference = observation.get("Datastream")
            if type(reference) is not dict:
                reference = {}
            name = reference.get("name")
            if type(name) is not str or (entity := cached.get(name)) is None:
                entity = resolve(reference, own)
            if everything or name in names or entity["name"] in names:
                observation["Datastream"] = entity
                observation["topic"] = topic
                observation["partition"] = partition
                record = Record(observation)
                record._source = batch
                record._place = place
                records.append(record)
            else:
                keys = batch.keys
                if type(name) is str and keys[place] == (key := name.encode()):
                    # keyed by the log key: the next record of this Datastream is skipped undecoded
                    skipped.add(key)

    def _decode(self, value: bytes, batch: Batch, place: int) -> dict[str, Any] | None:
        try:
            return decode_observation(value)
        except InvalidRecord as error:
            self.rejected += 1
            where = f"{batch.topic}[{batch.partition}] offset {batch.offsets[place]}"
            logger.warning("%s is no observation: %s", where, error)
            return None

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


def fast_decode(value: bytes) -> dict[str, Any] | None:
    """The observation if it is beyond doubt, else None: duplicate keys, which the fast decoder cannot see, and all
    that it refuses are left to `decode_observation`.

    What the decoder dropped would be missing when the object is encoded again; without backslashes its quotation marks
    tell.
    """
    try:
        observation = _fast_decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if type(observation) is dict and b"\\" not in value and _encode(observation).count(b'"') == value.count(b'"'):
        return observation
    return None


def decode_observation(value: bytes) -> dict[str, Any]:
    """One record's value, also with the schema registry's prefix. Errors: InvalidRecord, as `decode` has them."""
    return decode(value[_SCHEMA_PREFIX_BYTES:] if value[:1] == b"\0" else value)
