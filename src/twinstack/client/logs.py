"""States and log lines of a system's clients and apps, followed on `<system>.log`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from twinstack.client.transport import Transport
from twinstack.core.errors import InvalidInput
from twinstack.core.ids import observation_id
from twinstack.core.names import SystemName
from twinstack.core.observations import check_finite
from twinstack.core.timestamps import format_us
from twinstack.log.seam import OutRecord, Start, TopicPartition

_POLL_S = 0.5


class LogLine(dict[str, Any]):
    """`{"time", "level", "source": {"client" | "app"}, "event", "message", ...}`"""

    @property
    def event(self) -> str:
        return str(self.get("event", ""))

    @property
    def level(self) -> str:
        return str(self.get("level", "INFO"))

    @property
    def message(self) -> Any:
        return self.get("message", "")

    @property
    def source(self) -> str:
        source = self.get("source")
        return str(next(iter(source.values()), "")) if isinstance(source, dict) else ""


@dataclass(frozen=True, slots=True)
class LineMaker:
    """Makes the records that a client writes to its system's `.log`."""

    client_name: str
    system: SystemName
    clock_us: Callable[[], int]

    def record(self, level: str, event: str, message: Any, fields: Mapping[str, Any]) -> OutRecord:
        line = {
            "time": format_us(self.clock_us()),
            "level": level,
            "source": {"client": self.client_name},
            "event": event,
            "message": message,
            **fields,
        }
        headers = (("ts-id", observation_id().encode()),)
        return OutRecord(self.system.topic("log"), encode_line(line), self.client_name.encode(), headers)


def encode_line(line: Mapping[str, Any]) -> bytes:
    """Errors: InvalidInput for what JSON cannot hold."""
    try:
        check_finite(dict(line))
        return msgspec.json.encode(line)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(
            f"The log line cannot be written as JSON: {error}", fix="Send text, or JSON values."
        ) from None


def parse_lines(values: list[bytes | None]) -> list[LogLine]:
    """Lines of the format of the binding; anything else becomes a line that holds the text."""
    lines = []
    for value in values:
        if value is None:
            continue
        try:
            parsed = msgspec.json.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            parsed = value.decode("utf-8", "replace")
        lines.append(LogLine(parsed if isinstance(parsed, dict) else {"level": "INFO", "message": parsed}))
    return lines


class LogReader:
    """Positioned when it is made: a line written after that is not missed."""

    def __init__(self, transport: Transport, system: SystemName, start: Start) -> None:
        self._reader = transport.assigned({TopicPartition(system.topic("log"), 0): start})

    def read(self, timeout_s: float) -> list[LogLine]:
        return [line for batch in self._reader.poll(timeout_s) for line in parse_lines(batch.values)]

    def follow(self, timeout_s: float | None) -> Iterator[LogLine]:
        """Ends after `timeout_s` seconds without a line; None never ends."""
        heard_s = time.monotonic()
        while timeout_s is None or time.monotonic() - heard_s < timeout_s:
            wait_s = _POLL_S if timeout_s is None else min(_POLL_S, timeout_s)
            if lines := self.read(wait_s):
                yield from lines
                heard_s = time.monotonic()

    def close(self) -> None:
        self._reader.close()
