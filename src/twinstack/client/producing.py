"""The producing side of a client: quantities to Datastreams, batches to the log, receipts."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twinstack.client.encoding import Encoder, Same, Timestamp
from twinstack.client.metadata import Entity
from twinstack.client.receipts import Receipt
from twinstack.core.errors import Conflict, Undelivered, UnknownQuantity
from twinstack.core.ids import observation_id_ascii, uuid7_batch_ascii
from twinstack.core.names import SystemName
from twinstack.log.seam import OutRecord, Producer

LOGGING = "logging"
"""The quantity whose results go to `.log`."""
_LOST_KEPT = 100


class ProducingSide:
    """One lock around one producer: callers of any thread take turns."""

    def __init__(
        self,
        system: SystemName,
        producer: Producer,
        attributes: frozenset[str],
        clock_us: Callable[[], int],
    ) -> None:
        self._data_topic = system.topic("int")
        self._producer = producer
        self._attributes = attributes
        self._clock_us = clock_us
        self._lock = threading.RLock()
        self._encoders: dict[str, tuple[Encoder, bytes]] = {}
        self._closed = False
        self.produced = 0
        self._acknowledged = 0
        self._lost: list[tuple[range, Undelivered]] = []

    def adopt(self, datastreams: Mapping[str, Entity]) -> None:
        """Makes the local quantity names known to `produce`."""
        fresh = {q: Encoder(q, entity, self._attributes) for q, entity in datastreams.items()}
        with self._lock:
            self._check_open()
            self._encoders.update({q: (encoder, encoder.log_key.encode()) for q, encoder in fresh.items()})

    @property
    def quantities(self) -> list[str]:
        return list(self._encoders)

    def produce(
        self, quantity: str, result: Any, timestamp: Timestamp | None, attributes: Mapping[str, Any]
    ) -> Receipt:
        with self._lock:
            try:
                encoder, key = self._encoders[quantity]
            except KeyError:
                raise self._unknown(quantity) from None
            now_us = self._clock_us()
            if attributes:
                same = {name: Same(value) for name, value in attributes.items()}
                times = None if timestamp is None else (timestamp,)
                value = encoder.encode((result,), times, now_us, same)[0]
            else:
                value = encoder.encode_one(result, timestamp, now_us)
            id_ = observation_id_ascii()
            receipt = Receipt([id_], self)
            self._producer.send(OutRecord(self._data_topic, value, key, [("ts-id", id_)]), receipt.settle)
            self.produced += 1
            return receipt

    def produce_many(
        self,
        quantity: str,
        results: Sequence[Any],
        timestamps: Sequence[Timestamp] | None,
        attributes: Mapping[str, Same | Sequence[Any]],
    ) -> Receipt:
        with self._lock:
            try:
                encoder, key = self._encoders[quantity]
            except KeyError:
                raise self._unknown(quantity) from None
            values = encoder.encode(results, timestamps, self._clock_us(), attributes)
            ids = uuid7_batch_ascii(len(values))
            if values:
                headers = [[("ts-id", id_)] for id_ in ids]
                self._producer.send_many(self._data_topic, values, key=key, headers=headers)
                self.produced += len(values)
            return Receipt(ids, self, mark=self.produced)

    def _unknown(self, quantity: str) -> UnknownQuantity:
        """Errors: Conflict when the client is disconnected."""
        self._check_open()
        known = self.quantities
        near = difflib.get_close_matches(quantity, known, n=1)
        if near:
            fix = f"Did you mean '{near[0]}'?"
        elif known:
            fix = f"Known: {', '.join(sorted(known)[:20])}."
        else:
            fix = "Call register(instance_file) or register_existing(mappings_file) first."
        return UnknownQuantity(f"The quantity '{quantity}' is not registered.", fix=fix, quantity=quantity)

    def send_line(self, record: OutRecord) -> Receipt:
        """A line of the user on `.log`, delivered like a record."""
        with self._lock:
            self._check_open()
            receipt = Receipt([value.decode() for name, value in record.headers if name == "ts-id"], self)
            self._producer.send(record, receipt.settle)
            self.produced += 1
            self._producer.poll()
            return receipt

    def poll(self) -> None:
        """Runs the delivery callbacks that wait."""
        with self._lock:
            if not self._closed:
                self._producer.poll()

    def flush(self, timeout_s: float) -> None:
        """Errors: Undelivered with the count of the records lost since the last flush and those still under way."""
        with self._lock:
            self._check_open()
            since, produced = range(self._acknowledged, self.produced), self.produced
            try:
                self._producer.flush(timeout_s)
            except Undelivered as error:
                # which ones of a batch is not known: their receipts say so, whoever flushed
                self._lost = [*self._lost[-_LOST_KEPT:], (since, error)]
                raise
            self._acknowledged = produced

    def fate(self, number: int) -> bool | Undelivered:
        """Of the record with this number, counted from 1: acknowledged, not known yet, or among lost ones."""
        with self._lock:
            for numbers, error in self._lost:
                if number - 1 in numbers:
                    return error
            return self._acknowledged >= number

    def close(self, timeout_s: float) -> None:
        """Flushes and releases the producer, also when records are lost. Errors: Undelivered."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._encoders.clear()  # no quantity is known any more: `produce` need not ask whether it is closed
            self._producer.close(timeout_s)
            self._acknowledged = self.produced

    def _check_open(self) -> None:
        if self._closed:
            raise Conflict("The client is disconnected.", fix="Make a new DigitalTwinClient.")
