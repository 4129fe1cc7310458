"""Last values and rates of every Datastream, folded from `.int` and `.ext` by one thread.

The state is the last value per Datastream and way, never the stream of records: its size is bounded by the number of
Datastreams, and a reader that was away needs only what changed since the version it saw.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twinstack.core import limits
from twinstack.core.errors import InvalidRecord, PositionLost, TwinstackError
from twinstack.core.names import split_topic
from twinstack.core.observations import decode
from twinstack.log.seam import Batch, Consumer, Log, TopicPartition

log = logging.getLogger(__name__)

_POLL_S = 0.25
_TOPICS_EVERY_S = 1.0
_REREAD_RECORDS = 200
_POLL_RECORDS_MAX = 50_000
_LOOKED_RECORDS_MAX = 2_000
_BEHIND_RECORDS_MAX = 100_000
_UNKEYED_MAX = 100
WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class Description:
    """What the catalogue knows of a Datastream: its id (of this system's entity or copy) and its unit's symbol."""

    id: int
    unit: str


@dataclass(slots=True)
class Value:
    """The last value of one Datastream on one topic. `at_ms` is when it reached the log (epoch)."""

    key: str
    system: str
    way: str
    name: str
    result: Any
    time: str
    at_ms: int
    version: int
    description: Description | None


class Rate:
    """Records per second over the last minute, or over the time since the first look when that is shorter."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._counts: deque[tuple[int, int]] = deque(maxlen=WINDOW_S + 1)

    def add(self, n: int, now_s: float) -> None:
        second = int(now_s)
        if self._counts and self._counts[-1][0] == second:
            self._counts[-1] = (second, self._counts[-1][1] + n)
        else:
            self._counts.append((second, n))

    def per_s(self, now_s: float) -> float:
        seen = sum(n for second, n in self._counts if second > now_s - WINDOW_S)
        return seen / min(WINDOW_S, max(1.0, now_s - self._since_s))


Describe = Callable[[str], Mapping[str, Description]]
"""The catalogue of a system: log key -> description; called by the live thread when a new name appears."""


class Live:
    """`start` begins the thread, `changes` is called from any thread."""

    def __init__(self, shared: Log, describe: Describe) -> None:
        self._log = shared
        self._describe = describe
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._values: dict[str, Value] = {}
        self._rates: dict[str, Rate] = {}
        self._next: dict[TopicPartition, int] = {}
        self._count_from: dict[TopicPartition, int] = {}
        self._catalogues: dict[str, Mapping[str, Description]] = {}
        self._asked_s: dict[str, float] = {}
        self.version = 0
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def changes(self, since: int = 0) -> tuple[int, list[Value]]:
        """`(version, values changed after since)`, ordered by system, way and name."""
        with self._lock:
            found = [value for value in self._values.values() if value.version > since]
            version = self.version
        found.sort(key=lambda value: (value.system, value.way, value.name))
        return version, found

    def rates(self) -> dict[str, float]:
        """topic -> records per second."""
        now_s = time.monotonic()
        with self._lock:
            return {topic: round(rate.per_s(now_s), 3) for topic, rate in sorted(self._rates.items())}

    # --- the thread -------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except TwinstackError as error:
                log.warning("live values: %s", error)
                self._stop.wait(1.0)

    def _follow(self) -> None:
        consumer = self._log.consumer(client_id="twinstack-live")
        self._next.clear()
        try:
            looked_s = float("-inf")
            while not self._stop.is_set():
                if time.monotonic() - looked_s > _TOPICS_EVERY_S:
                    looked_s = time.monotonic()
                    self._look(consumer)
                if not self._next:
                    self._stop.wait(_POLL_S)
                    continue
                try:
                    self._fold(consumer.poll(_POLL_S, _POLL_RECORDS_MAX))
                except PositionLost:  # retention, or a topic that was made anew
                    self._next.clear()
                    looked_s = float("-inf")
        finally:
            consumer.close()

    def _look(self, consumer: Consumer) -> None:
        """Follows topics that appeared, from a little before their end, so that a value is there at once; and leaves
        out what it is too far behind of: last values are wanted, not all values."""
        admin = self._log.admin()
        infos = [i for n, i in admin.topics().items() if (split := split_topic(n)) and split[1] in ("int", "ext")]
        tps = [TopicPartition(info.name, p) for info in infos for p in range(info.partitions)]
        ends = admin.end_offsets(tps)
        fresh = [tp for tp in tps if tp not in self._next]
        if fresh or len(tps) != len(self._next):
            firsts = admin.beginning_offsets(fresh)
            starts = {tp: max(firsts[tp], ends[tp] - _REREAD_RECORDS) for tp in fresh}
            self._next = {tp: starts[tp] if tp in starts else self._next[tp] for tp in tps}
            self._count_from.update({tp: ends[tp] for tp in fresh})
            consumer.assign(self._next)
        now_s = time.monotonic()
        for tp in tps:
            with self._lock:
                rate = self._rates.setdefault(tp.topic, Rate(now_s))
                near = ends[tp] - _REREAD_RECORDS
                if near - self._next[tp] > _BEHIND_RECORDS_MAX:
                    rate.add(near - max(self._next[tp], self._count_from[tp]), now_s)
                    consumer.seek(tp, near)
                    self._next[tp] = near

    def _fold(self, batches: list[Batch]) -> None:
        now_s = time.monotonic()
        seen: Counter[TopicPartition] = Counter()
        values: list[Value] = []
        for batch in reversed(batches):  # the last records first: what is older than enough of them is only counted
            tp, n = TopicPartition(batch.topic, batch.partition), len(batch)
            split = split_topic(batch.topic)
            if split is not None and n and seen[tp] < _LOOKED_RECORDS_MAX:
                found = (self._value(*split, batch, i) for i in reversed(_last_of_each(batch.keys)))
                values += [value for value in found if value is not None]
            seen[tp] += n
            self._next[tp] = max(self._next.get(tp, 0), batch.next_offset)
            counted = min(n, batch.next_offset - self._count_from.get(tp, 0))
            if counted > 0:
                with self._lock:
                    self._rates.setdefault(tp.topic, Rate(now_s)).add(counted, now_s)
        with self._lock:
            for value in reversed(values):
                self.version += 1
                value.version = self.version
                self._values[value.key] = value

    def _value(self, system: str, way: str, batch: Batch, i: int) -> Value | None:
        raw = batch.values[i]
        if raw is None:
            return None
        try:
            record = decode(raw)
        except InvalidRecord:
            return None  # the archive keeps it as a dead letter; here it is no value
        datastream = record.get("Datastream")
        name = datastream.get("name") if isinstance(datastream, dict) else None
        if not isinstance(name, str):
            key = batch.keys[i]
            name = key.decode("utf-8", "replace") if key is not None else "?"
        description = self._description(system, name)
        return Value(
            key=f"{system}.{way}:{name}",
            system=system,
            way=way,
            name=name,
            result=_shown(record.get("result")),
            time=str(record.get("phenomenonTime", ""))[:80],
            at_ms=batch.timestamps_ms[i],
            version=0,
            description=description,
        )

    def _description(self, system: str, name: str) -> Description | None:
        found = self._catalogues.get(system, {}).get(name)
        now_s = time.monotonic()
        if found is None and now_s - self._asked_s.get(system, float("-inf")) > _TOPICS_EVERY_S:
            self._asked_s[system] = now_s
            self._catalogues[system] = self._describe(system)
            found = self._catalogues[system].get(name)
        return found


def _last_of_each(keys: list[bytes | None]) -> list[int]:
    """Positions of the last record of each key, in order. Keys that are no Datastream's name (none, or the JSON of a
    Thing, as the original's clients send) may stand for several Datastreams: their last records are all looked at."""
    last: dict[bytes, int] = {}
    loose: deque[int] = deque(maxlen=_UNKEYED_MAX)
    for i, key in enumerate(keys):
        if key is None or key[:1] == b"{":
            loose.append(i)
        else:
            last[key] = i
    return sorted([*last.values(), *loose])


def _shown(result: Any) -> Any:
    """A result that fits on a page: long texts and objects are cut to a text."""
    if result is None or isinstance(result, bool | int | float):
        return result
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return text if len(text) <= limits.SHOWN_RESULT_CHARS_MAX else text[: limits.SHOWN_RESULT_CHARS_MAX - 1] + "…"
