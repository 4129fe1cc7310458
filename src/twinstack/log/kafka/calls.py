"""Calls that librdkafka may never return from, in a thread that can be left behind.

When a broker hangs until the cluster takes it for dead, a cluster of one node tells its clients for a moment that it
has no brokers. librdkafka 2.16 then throws the coordinator's connection away, and a transactional call whose request
stood there waits for an answer without end, whatever its time-out; so does the end of such a client.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from confluent_kafka import KafkaException
from confluent_kafka import Producer as Handle

_RELEASE_S = 3.0


class NoReturn(Exception):
    """The call did not come back in time; its thread is left to itself."""


class Caller:
    """One thread that runs one call after the other."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
        threading.Thread(target=self._run, name="kafka-calls", daemon=True).start()

    def call(self, call: Callable[[], None], timeout_s: float) -> None:
        """Raises what the call raises. After NoReturn this caller must be ended and replaced."""
        self._calls.put(call)
        try:
            error = self._outcomes.get(timeout=timeout_s)
        except Empty:
            raise NoReturn from None
        if error is not None:
            raise error

    def end(self) -> None:
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            error: BaseException | None = None
            try:
                call()
            except BaseException as raised:
                error = raised
            del call  # it holds the client, which ends with its last reference
            self._outcomes.put(error)
            del error


def release(box: list[Handle]) -> None:
    """Ends the client in `box`, which must hold the only reference to it: gives up what is still queued, reports that,
    and stops its threads. The client's own `close` would first abort an open transaction, and wait for a broker that is
    away for ever; even without it the end may hang, so it is waited for a little only."""
    ending = threading.Thread(target=_end, args=(box,), name="kafka-release", daemon=True)
    ending.start()
    ending.join(_RELEASE_S)


def _end(box: list[Handle]) -> None:
    handle = box.pop()
    if len(handle):
        with suppress(KafkaException):  # a fatal error, told already
            handle.purge()
            handle.flush(1.0)
