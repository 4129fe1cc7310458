"""Whether the log is reached, and the states of the client on `<system>.log` from which pages compute presence.

A client that loses its log goes on: records wait in the producer's bounded buffer, consumers reconnect by themselves.
What changes is the state, which the program can see (`client.state`, `on_state`). Events have a producer of their own:
losing one is no loss of data, so they never block or fail a call of the program.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Literal

from twinstack.client.logs import LineMaker
from twinstack.client.transport import Transport
from twinstack.core import limits
from twinstack.core.errors import TwinstackError, Unavailable, Undelivered
from twinstack.log.seam import Producer

State = Literal["connecting", "online", "offline", "closed"]
TRANSITIONS: dict[State, frozenset[State]] = {
    "connecting": frozenset({"online", "offline", "closed"}),
    "online": frozenset({"offline", "closed"}),
    "offline": frozenset({"online", "closed"}),
    "closed": frozenset(),
}
_PROBE_S = 5.0
_PROBE_OFFLINE_S = 1.0
_GOODBYE_S = 2.0

logger = logging.getLogger(__name__)


class Presence:
    """A thread of its own that probes the log and sends heartbeats once `announce` was called."""

    def __init__(
        self,
        transport: Transport,
        lines: LineMaker,
        *,
        counts: Callable[[], dict[str, int]],
        monotonic_s: Callable[[], float],
        on_state: Callable[[State], None] | None,
    ) -> None:
        self._transport = transport
        self._lines = lines
        self._counts = counts
        self._monotonic_s = monotonic_s
        self._on_state = on_state
        self._state_lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._producer: Producer | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="twinstack-presence", daemon=True)
        self.state: State = "connecting"

    def start(self) -> None:
        self.move("online")
        self._thread.start()

    def move(self, state: State) -> None:
        """Takes a transition of the table; anything else is ignored (a probe that ends after `close`)."""
        with self._state_lock:
            if state not in TRANSITIONS[self.state]:
                return
            self.state = state
        if self._on_state is not None:
            try:
                self._on_state(state)
            except Exception:
                logger.exception("on_state('%s') failed", state)

    def announce(self, event: str, message: str) -> None:
        """Sends an event, the first time `connected` before it: only now the system is known to exist."""
        with self._send_lock:
            if self._stop.is_set():
                return
            if self._producer is None:
                self._producer = self._transport.producer()
                self._send("connected", f"{self._lines.client_name} connected")
            self._send(event, message)

    def _send(self, event: str, message: str, **fields: Any) -> None:
        assert self._producer is not None
        try:
            self._producer.send(self._lines.record("INFO", event, message, fields))
            self._producer.poll()
        except TwinstackError as error:
            logger.debug("the event '%s' was not sent: %s", event, error)

    def close(self) -> None:
        """Says goodbye (2 s at most) and ends the thread."""
        self._stop.set()
        with self._send_lock:
            if self._producer is not None:
                self._send("disconnected", f"{self._lines.client_name} disconnected", **self._counts())
                try:
                    self._producer.close(_GOODBYE_S if self.state == "online" else 0.0)
                except Undelivered as error:
                    logger.debug("events lost: %s", error)
        self.move("closed")
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(limits.BROKER_PROBE_MS_MAX / 1000 + 1)

    def _run(self) -> None:
        beat_s = self._monotonic_s()
        while not self._stop.wait(_PROBE_S if self.state == "online" else _PROBE_OFFLINE_S):
            self._probe()
            if self._monotonic_s() - beat_s >= limits.HEARTBEAT_MS / 1000:
                beat_s = self._monotonic_s()
                with self._send_lock:
                    if self._producer is not None and not self._stop.is_set():
                        self._send("heartbeat", "", **self._counts())

    def _probe(self) -> None:
        try:
            self._transport.ping(limits.BROKER_PROBE_MS_MAX / 1000)
        except Unavailable as error:
            if self.state == "online":
                logger.warning("offline, records wait in the buffer: %s", error)
            self.move("offline")
        except TwinstackError as error:
            # it answers: a right that was taken away is reported by the call that needs it
            logger.debug("probe: %s", error)
            self.move("online")
        else:
            self.move("online")
