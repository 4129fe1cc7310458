"""DigitalTwinClient: register instances, produce and consume observations in a handful of lines."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from twinstack.client import wiring as wires
from twinstack.client.announce import logger as announcer
from twinstack.client.catalogue import Catalogue
from twinstack.client.consuming import ConsumingSide
from twinstack.client.encoding import Same, Timestamp
from twinstack.client.existing import find_existing
from twinstack.client.logs import LineMaker, LogLine, LogReader
from twinstack.client.metadata import Registration
from twinstack.client.presence import Presence, State
from twinstack.client.producing import LOGGING, ProducingSide
from twinstack.client.receipts import Receipt
from twinstack.client.record import Record
from twinstack.client.subscriptions import load_mapping, load_subscription
from twinstack.core.errors import InvalidInput, Undelivered
from twinstack.core.instances import load_instances
from twinstack.core.names import DEFAULT_SYSTEM, SystemName, check_client_name, parse_system
from twinstack.log.seam import LATEST, Start

FileOrMapping = str | Path | Mapping[str, Any]
_CLOSE_TIMEOUT_S = 10.0
_RECORDS_POLL_S = 1.0
_LINE_KEYS = frozenset({"time", "source", "event", "message", "level"})


class DigitalTwinClient:
    """One client of one system.

        with DigitalTwinClient("car_1", "at.srfg.iot-iot4cps-wp5.CarFleet", "localhost:1908",
                               kafka_rest_server="localhost:1908") as client:
            client.register("instances.json")
            client.produce("demo_temperature", 23.4)
            client.subscribe("subscriptions.json")
            for record in client.records(timeout=5):
                print(record.name, record.result, record.unit)

    Methods may be called from several threads. Every error is a `twinstack.core.errors.TwinstackError` with `.fix`.
    """

    def __init__(
        self,
        client_name: str,
        system: str,
        gost_servers: str,
        kafka_bootstrap_servers: str | None = None,
        kafka_rest_server: str | None = None,
        additional_attributes: str = "",
        *,
        token: str | None = None,
        group: str | None = None,
        on_state: Callable[[State], None] | None = None,
    ) -> None:
        """Connects to both servers, 5 s at most.

        `gost_servers` is the metadata service (`host:port`, `user:token@host:port`, a comma list of equal ones).
        Records go over Kafka (`kafka_bootstrap_servers`) or HTTP (`kafka_rest_server`). `additional_attributes` is a
        comma list of keyword arguments that `produce` puts into the record. `group` names the consumer group
        (default: system and client name). `on_state` is called with online, offline, closed.
        Errors: InvalidName, SettingsError, Unreachable, PermissionDenied.
        """
        name, parsed = check_client_name(client_name), parse_system(system)
        attributes = parse_attributes(additional_attributes)
        announcer.info("init: Initialising Digital Twin Client with name '%s' on '%s'", name, parsed)
        wired = wires.connect(name, parsed, gost_servers, kafka_bootstrap_servers, kafka_rest_server, token)
        self._open(name, parsed, wired, attributes, group, on_state)

    @classmethod
    def local(
        cls,
        folder: str | Path | None = None,
        *,
        client_name: str = "local",
        system: str = DEFAULT_SYSTEM,
        additional_attributes: str = "",
        group: str | None = None,
        on_state: Callable[[State], None] | None = None,
    ) -> Self:
        """A client without any server, for tests and first steps: the embedded log in this process.

        `folder` keeps log and entities (clients of one folder in one process see each other); None is a temporary
        folder that goes with the client.
        """
        self = cls.__new__(cls)
        name, parsed = check_client_name(client_name), parse_system(system)
        attributes = parse_attributes(additional_attributes)
        temporary = Path(tempfile.mkdtemp(prefix="twinstack-")) if folder is None else None
        announcer.info("init: Initialising Digital Twin Client with name '%s' on '%s'", name, parsed)
        try:
            wired = wires.connect_local(name, parsed, temporary or Path(folder or ""))
            self._open(name, parsed, wired, attributes, group, on_state)
        except BaseException:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._temporary = temporary
        return self

    def _open(
        self,
        client_name: str,
        system: SystemName,
        wired: wires.Wiring,
        attributes: frozenset[str],
        group: str | None,
        on_state: Callable[[State], None] | None,
    ) -> None:
        self.client_name = client_name
        self.system = str(system)
        self._system = system
        self._wired = wired
        self._temporary: Path | None = None
        self._closed = False
        try:
            producer = wired.transport.producer()
        except BaseException:
            wired.close()
            raise
        self._producing = ProducingSide(system, producer, attributes, _clock_us)
        self._catalogue = Catalogue(system, wired.metadata, wired.transport, time.monotonic)
        self._consuming = ConsumingSide(wired.transport, self._catalogue, group or f"{system}.{client_name}")
        self._lines = LineMaker(client_name, system, _clock_us)
        self._presence = Presence(
            wired.transport, self._lines, counts=self._counts, monotonic_s=time.monotonic, on_state=on_state
        )
        self._presence.start()

    # Registration

    def register(self, instance_file: FileOrMapping) -> Registration:
        """Registers Things, Sensors and Datastreams by an instance file (or its content); running it again changes
        nothing. The result says created, changed or unchanged for each.
        Errors: InvalidInput (no JSON file), InvalidInstances, UnknownSystem, PermissionDenied, Unreachable."""
        document = load_mapping(instance_file, "instance file", "Give the path of a JSON file.")
        load_instances(document, self.system)
        registration = self._wired.metadata.register(self.client_name, document)
        self._adopt(registration)
        announcer.info("register: %s: %s", self.client_name, registration)
        self._presence.announce("registered", str(registration))
        return registration

    def _adopt(self, registration: Registration) -> None:
        self._producing.adopt(registration.datastreams)
        for entity in registration.datastreams.values():
            self._catalogue.add({key: value for key, value in entity.items() if key != "status"})

    register_new = register

    def register_existing(self, mappings_file: FileOrMapping) -> Registration:
        """Looks registered Datastreams up by `{"Datastreams": {"temperature": {"Thing": "Station_1",
        "name": "Air Temperature"}}}`. Errors: InvalidInstances, NotFound that names all that are missing."""
        document = load_mapping(mappings_file, "mappings file", "Give the path of a JSON file.")
        registration = find_existing(self._wired.metadata, self.system, document)
        self._adopt(registration)
        self._presence.announce("registered", f"{len(registration.datastreams)} existing")
        return registration

    # Producing

    def produce(self, quantity: str, result: Any, timestamp: Timestamp | None = None, **attributes: Any) -> Receipt:
        """Sends one observation; returns at once with a receipt (`receipt.wait()` blocks until it is acknowledged).

        `timestamp` is the phenomenonTime: ISO 8601, a datetime, or an epoch in s, ms, us, ns; None is now. The
        quantity `logging` sends a line to `.log`. A full buffer blocks up to 30 s.
        Errors: UnknownQuantity, InvalidResult, InvalidTimestamp, InvalidInput (attribute), RecordTooLarge, QueueFull.
        """
        if quantity == LOGGING and LOGGING not in self._producing.quantities:
            return self._log_line(result, attributes)
        return self._producing.produce(quantity, result, timestamp, attributes)

    def produce_many(
        self,
        quantity: str,
        results: Sequence[Any],
        timestamps: Sequence[Timestamp] | None = None,
        **attributes: Any,
    ) -> Receipt:
        """Sends many observations of one quantity, in order. Each attribute is a list (one value each) or one value
        for all; `timestamps` None is now for all. All are checked before the first is sent.
        Errors: those of `produce`."""
        columns = {name: _column(value) for name, value in attributes.items()}
        times = None if timestamps is None else _plain(timestamps)
        return self._producing.produce_many(quantity, _plain(results), times, columns)

    def flush(self, timeout: float = 30.0) -> None:
        """Returns when everything that was produced is acknowledged. Errors: Undelivered with the count."""
        self._producing.flush(timeout)

    # Consuming

    def subscribe(self, subscription_file: FileOrMapping | Sequence[str], *, start: Start = LATEST) -> None:
        """Subscribes `{"subscribed_datastreams": ["<full name>", "*"]}` (a path, the content, or the list itself).

        `*` is everything that is shared with the system. A group that never committed begins at `start`, latest
        meaning the moment of this call. Errors: InvalidInput, UnknownTopic, PermissionDenied, Unreachable.
        """
        subscription = load_subscription(subscription_file, self._system)
        self._consuming.subscribe(subscription, start)
        self._presence.announce("subscribed", ", ".join(sorted(subscription.names)) or "*")

    def consume(self, timeout: float = 1.0) -> list[Record]:
        """Records that are there, waiting up to `timeout` seconds for the first; each with its Datastream in full.

        The offsets of the records are committed when the next `consume` begins: at least once, equal `record.id`
        means delivered twice. Errors: Conflict before `subscribe`, PermissionDenied, UnknownTopic.
        """
        return self._consuming.consume(timeout)

    def records(self, timeout: float | None = None) -> Iterator[Record]:
        """Iterates over records as they come; ends after `timeout` seconds without one (None: when disconnected).
        Records that an early `break` leaves over come with the next `records` or `consume`."""
        heard_s = time.monotonic()
        while not self._closed:
            wait_s = _RECORDS_POLL_S if timeout is None else min(_RECORDS_POLL_S, timeout)
            records = self.consume(wait_s)
            self._consuming.hold(records)
            while (record := self._consuming.next_held()) is not None:
                yield record
            if records:
                heard_s = time.monotonic()
            elif timeout is not None and time.monotonic() - heard_s >= timeout:
                return

    def commit(self) -> None:
        """Commits what `consume` returned last, before the next `consume` would."""
        self._consuming.commit()

    # Logs and states

    def logs(self, timeout: float | None = None, *, start: Start = LATEST) -> Iterator[LogLine]:
        """Follows the states and log lines of the system's clients and apps from this call on (`start="earliest"`:
        all that is kept); ends after `timeout` seconds without a line. Errors: UnknownTopic, PermissionDenied."""
        reader = LogReader(self._wired.transport, self._system, start)

        def follow() -> Iterator[LogLine]:
            try:
                yield from reader.follow(timeout)
            finally:
                reader.close()

        return follow()

    @property
    def state(self) -> State:
        """connecting, online, offline or closed."""
        return self._presence.state

    # The end

    def disconnect(self) -> None:
        """Delivers what is under way (10 s at most), says goodbye on `.log` and releases everything. May be called
        again. Errors: Undelivered with the count of the records that were lost; everything is released then too."""
        if self._closed:
            return
        self._closed = True
        announcer.info("disconnect: Digital Twin Client '%s' on '%s'", self.client_name, self.system)
        with ExitStack() as last_to_first:
            if self._temporary is not None:
                last_to_first.callback(shutil.rmtree, self._temporary, ignore_errors=True)
            last_to_first.callback(self._wired.close)
            last_to_first.callback(self._consuming.close)
            last_to_first.callback(self._presence.close)
            self._producing.close(_CLOSE_TIMEOUT_S)

    close = disconnect

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.disconnect()
        except Undelivered as lost:
            if error is None:
                raise
            # the first error is the cause: it must not be hidden by its consequence
            announcer.error("disconnect: %s", lost)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.client_name}' on '{self.system}', {self.state}>"

    def _log_line(self, message: Any, fields: Mapping[str, Any]) -> Receipt:
        if taken := sorted(_LINE_KEYS.intersection(fields) - {"level", "event"}):
            raise InvalidInput(f"A log line has its own '{taken[0]}'.", fix="Use another name.")
        rest = dict(fields)
        level, event = str(rest.pop("level", "INFO")).upper(), str(rest.pop("event", "message"))
        return self._producing.send_line(self._lines.record(level, event, message, rest))

    def _counts(self) -> dict[str, int]:
        return {"produced": self._producing.produced, "consumed": self._consuming.consumed}


def parse_attributes(text: str) -> frozenset[str]:
    """Names of a comma list: `"longitude,latitude,attitude"`. Errors: InvalidInput."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not name.isidentifier():
            raise InvalidInput(f"additional_attributes: '{name}' is no name of a keyword argument.", fix="Example: a,b")
    return frozenset(names)


def _plain(values: Any) -> Sequence[Any]:
    """Arrays of numpy, pandas and polars as lists of Python's own numbers."""
    for method in ("tolist", "to_list"):
        if hasattr(values, method):
            values = getattr(values, method)()
            break
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
            raise InvalidInput("produce_many takes a list of results.", fix="For one result call produce().")
        return list(values)
    return values


def _column(value: Any) -> Same | Sequence[Any]:
    is_list = isinstance(value, list | tuple) or (hasattr(value, "tolist") and hasattr(value, "__len__"))
    return _plain(value) if is_list else Same(value)


def _clock_us() -> int:
    return time.time_ns() // 1_000
