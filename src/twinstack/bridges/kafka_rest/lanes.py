"""Threads that write to the log for the doors: one producer each, topics spread over them, order kept.

A lane takes whatever requests wait, sends all their records, and waits for the log once: under load requests share
the wait by themselves, and a single one waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import zlib
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from twinstack.core import limits
from twinstack.core.errors import QueueFull, TwinstackError, Unavailable
from twinstack.log.seam import Delivery, Log, OutRecord, Producer

T = TypeVar("T")
LANES = 4
_JOBS_AT_ONCE = 200

logger = logging.getLogger(__name__)


class _Produce:
    """Records of one request, each with the future of its outcome."""

    def __init__(self, records: list[tuple[OutRecord, asyncio.Future[Delivery | Exception]]]) -> None:
        self.records = records
        self._loop = asyncio.get_running_loop()
        self._settled: list[tuple[asyncio.Future[Delivery | Exception], Delivery | Exception]] = []
        self._handed_over = False

    def settle(self, place: int, outcome: Delivery | Exception) -> None:
        self._settled.append((self.records[place][1], outcome))
        if self._handed_over:
            # acknowledged after the request gave up: a retry of it waits for this
            self.hand_over()

    def hand_over(self) -> None:
        """One call into the event loop for all that is settled."""
        self._handed_over = True
        settled, self._settled = self._settled, []
        if settled:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(_resolve, settled)


def _resolve(settled: list[tuple[asyncio.Future[Delivery | Exception], Delivery | Exception]]) -> None:
    for future, outcome in settled:
        if not future.done():
            future.set_result(outcome)


class _Lane:
    def __init__(self, log: Log, number: int) -> None:
        self._log = log
        self._jobs: queue.Queue[_Produce | Callable[[], None] | None] = queue.Queue(limits.REST_LANE_JOBS_MAX)
        self._producer: Producer | None = None
        self._thread = threading.Thread(target=self._run, name=f"kafka-rest-{number}", daemon=True)
        self._started = False

    def put(self, job: _Produce | Callable[[], None]) -> None:
        """Errors: QueueFull."""
        if not self._started:
            self._started = True
            self._thread.start()
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise QueueFull("Too many requests wait for the log.", fix="Send again in a moment.") from None

    def close(self) -> None:
        """Blocks until what waits is written."""
        if self._started:
            self._jobs.put(None)
            self._thread.join(limits.STOP_MS_MAX / 1000)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            ended = False
            while len(jobs) < _JOBS_AT_ONCE and not self._jobs.empty():
                more = self._jobs.get()
                if more is None:
                    ended = True
                    break
                jobs.append(more)
            try:
                self._do(jobs)
            except Exception:
                logger.exception("a lane of the Kafka REST doors failed")
            if ended:
                break
        if self._producer is not None:
            with contextlib.suppress(TwinstackError):
                self._producer.close(limits.STOP_MS_MAX / 2000)

    def _do(self, jobs: list[_Produce | Callable[[], None]]) -> None:
        produced = [job for job in jobs if isinstance(job, _Produce)]
        for job in jobs:
            if isinstance(job, _Produce):
                self._send(job)
            else:
                job()
        if produced and self._producer is not None:
            with contextlib.suppress(TwinstackError):  # each record was told its own outcome
                self._producer.flush(limits.REST_PRODUCE_TIMEOUT_MS / 1000)
        for job in produced:
            job.hand_over()

    def _send(self, job: _Produce) -> None:
        for place, (record, _) in enumerate(job.records):
            try:
                if self._producer is None:
                    self._producer = self._log.producer(client_id="kafka-rest", linger_ms=1)
                self._producer.send(record, partial(job.settle, place))
            except Exception as error:  # the lane goes on; the answer says what happened to this record
                job.settle(place, error)


class Lanes:
    """The bounded pool. Used on the event loop; `close` blocks."""

    def __init__(self, log: Log) -> None:
        self._lanes = [_Lane(log, number) for number in range(LANES)]

    def _of(self, topic: str) -> _Lane:
        return self._lanes[zlib.crc32(topic.encode()) % LANES]

    def produce(self, topic: str, records: list[tuple[OutRecord, asyncio.Future[Delivery | Exception]]]) -> None:
        """Resolves each record's future. Errors: QueueFull: nothing was taken."""
        self._of(topic).put(_Produce(records))

    async def call(self, topic: str, work: Callable[[], T]) -> T:
        """Runs `work` on the topic's lane. Errors: QueueFull, those of `work`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def done(result: T | None, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def run() -> None:
            try:
                result = work()
            except Exception as error:
                loop.call_soon_threadsafe(done, None, error)
            else:
                loop.call_soon_threadsafe(done, result, None)

        self._of(topic).put(run)
        return await future

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()


def under_way() -> Unavailable:
    return Unavailable(
        "The log did not acknowledge the record in time.", fix="Send it again with the same ts-id: it is stored once."
    )
