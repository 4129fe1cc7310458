"""The embedded log for an event loop: writes are awaited, reads run in two threads, long polls are futures that the
writer wakes after its COMMIT. The loop never waits for the disk."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import apsw

from twinstack.core.errors import RecordTooLarge
from twinstack.core.limits import KIB, LOG_COMMIT_BYTES_MAX
from twinstack.log.embedded.calls import Action, Done, Offsets, Owner, Retry, Row, Write
from twinstack.log.embedded.log import EmbeddedLog
from twinstack.log.packed.format import head, verify
from twinstack.log.packed.transport import Fetched, Membership, Part, Want

T = TypeVar("T")

THREADS = 2
VERIFY_ON_LOOP_BYTES_MAX = 64 * KIB


class AsyncLog:
    """One per event loop; everything but the writer's callbacks runs on that loop."""

    def __init__(self, log: EmbeddedLog) -> None:
        self.log = log
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(THREADS, "twinstack-log-read")
        self._polls: dict[int, set[asyncio.Future[None]]] = {}
        self._members: set[asyncio.Future[None]] = set()
        self._stopping = False
        self._news: deque[tuple[asyncio.Future[Any] | None, Any]] = deque()
        self._news_lock = threading.Lock()
        self._news_posted = False
        self._unlisten = log.listen(lambda partitions: self._post(None, partitions))

    # From the writer thread to the loop: one wake-up for all that gathered

    def _post(self, future: asyncio.Future[Any] | None, news: Any) -> None:
        with self._news_lock:
            self._news.append((future, news))
            if self._news_posted:
                return
            self._news_posted = True
        try:
            self._loop.call_soon_threadsafe(self._take_news)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._unlisten()

    def _take_news(self) -> None:
        with self._news_lock:
            news = list(self._news)
            self._news.clear()
            self._news_posted = False
        for future, outcome in news:
            if future is not None:
                _settle(future, outcome)
            elif outcome is None:
                self._wake(self._members)
            else:
                for uid in outcome:
                    self._wake(self._polls.get(uid, ()))

    @staticmethod
    def _wake(futures: Sequence[asyncio.Future[None]] | set[asyncio.Future[None]] | tuple[()]) -> None:
        for future in futures:
            if not future.done():
                future.set_result(None)

    # Writing

    async def append(
        self, rows: Sequence[Row], identity: Retry | Owner | None = None, offsets: Offsets | None = None
    ) -> list[int]:
        """Errors: those of the writer, QueueFull at once instead of waiting."""
        answer: list[int] = await self._submit(lambda done: Write(rows, done, identity, offsets))
        return answer

    async def act(self, run: Callable[[apsw.Connection], Any]) -> Any:
        return await self._submit(lambda done: Action(run, done))

    async def _submit(self, make: Callable[[Done], Write | Action]) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        self.log.writer.submit(make(lambda outcome: self._post(future, outcome)), block=False)
        return await future

    async def checked_rows(self, parts: Sequence[Part]) -> list[Row]:
        """Parts from outside, each verified in every column."""
        raw_bytes = sum(head(part.blob).raw_bytes for part in parts)
        if raw_bytes > LOG_COMMIT_BYTES_MAX:
            raise RecordTooLarge(
                f"These batches hold {raw_bytes} bytes before compression, at most {LOG_COMMIT_BYTES_MAX} are allowed.",
                fix="Send smaller requests.",
            )
        if raw_bytes <= VERIFY_ON_LOOP_BYTES_MAX:
            return self.log.rows(parts, verify)
        return await self.in_thread(lambda: self.log.rows(parts, verify))

    async def in_thread(self, call: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._threads, call)

    # Reading

    async def fetch(
        self, wants: Sequence[Want], wait_ms: int, records_max: int, bytes_max: int, membership: Membership | None
    ) -> Fetched:
        """As Transport.fetch, without a thread while it waits."""
        end = self._loop.time() + wait_ms / 1000
        while True:
            moved = self.log.groups.moved(membership) if membership else None
            if moved is not None:
                return Fetched([], [], moved)
            if self.log.reader.ready(wants):
                fetched = await self.in_thread(lambda: self.log.reader.fetch(wants, records_max, bytes_max))
                if fetched.batches or fetched.lost:
                    return fetched
            left_s = end - self._loop.time()
            if left_s <= 0 or self._stopping:
                return Fetched([], [])
            await self._growth(wants, left_s, membership is not None)

    async def _growth(self, wants: Sequence[Want], timeout_s: float, member: bool) -> None:
        """Until one of the partitions grows or (for a member) groups change. Nothing is awaited between the last look
        and the registration, so no commit is missed."""
        future: asyncio.Future[None] = self._loop.create_future()
        places = [self._polls.setdefault(self.log.catalog.partition(w.topic, w.partition).id, set()) for w in wants]
        if member:
            places.append(self._members)
        for place in places:
            place.add(future)
        timer = self._loop.call_later(timeout_s, self._wake, (future,))
        try:
            if not self.log.reader.ready(wants):
                await future
        finally:
            timer.cancel()
            for place in places:
                place.discard(future)

    def stop(self) -> None:
        """Long polls answer at once, now and from now on: a server that stops waits for nobody."""
        self._stopping = True
        self._wake(self._members)
        for waiting in self._polls.values():
            self._wake(waiting)

    def close(self) -> None:
        self.stop()
        self._unlisten()
        self._threads.shutdown(wait=False)


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # its request was cancelled
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
