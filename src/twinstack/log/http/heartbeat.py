"""Keeps the memberships of one HttpLog alive while their consumers work on what they have."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from twinstack.core.errors import TwinstackError
from twinstack.log.http import wire
from twinstack.log.http.connection import Connections
from twinstack.log.packed.transport import Assignment, Membership

POLL_INTERVAL_S_MAX = 300.0
"""A consumer that has not polled for so long hangs: its partitions go to others (Kafka's max.poll.interval.ms)."""


@dataclass(slots=True)
class _Alive:
    membership: Membership
    polled_s: float
    moved: Assignment | None = None


class Heartbeats:
    """One daemon thread, started with the first membership."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._alive: dict[str, _Alive] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, membership: Membership) -> None:
        with self._lock:
            self._alive[membership.member] = _Alive(membership, time.monotonic())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="twinstack-heartbeat", daemon=True)
                self._thread.start()

    def polled(self, membership: Membership) -> Assignment | None:
        """The consumer is there; returns its new share if a heartbeat learned that the group moved on."""
        with self._lock:
            alive = self._alive.get(membership.member)
            if alive is None:
                return None
            alive.membership, alive.polled_s = membership, time.monotonic()
            moved, alive.moved = alive.moved, None
        return moved if moved is not None and moved.generation != membership.generation else None

    def end(self, member: str) -> None:
        with self._lock:
            self._alive.pop(member, None)

    def _run(self) -> None:
        while not self._stop.wait(wire.HEARTBEAT_MS / 1000):
            with self._lock:
                due = [a for a in self._alive.values() if time.monotonic() - a.polled_s < POLL_INTERVAL_S_MAX]
            for alive in due:
                try:
                    moved = self._connections.request(
                        wire.Heartbeat(alive.membership), Assignment | None, wire.HEARTBEAT_MS / 1000
                    )
                except TwinstackError:
                    continue  # the consumer's own calls say what is wrong
                if moved is not None:
                    with self._lock:
                        alive.moved = moved

    def close(self) -> None:
        self._stop.set()
