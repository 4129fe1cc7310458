"""One writer thread per process: group commit.

Callers put work into one queue; the thread takes all that is there (bounded in rows and bytes) and commits it as one
transaction. There is no timer: while one commit runs, the next group gathers. Observations of consecutive requests
are stored in one go; any other work runs in a savepoint of its own, so that its failure undoes only itself.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.core.errors import QueueFull, TwinstackError, Unavailable
from twinstack.core.failpoints import hit
from twinstack.sensorthings.store import locks, observations, outbox
from twinstack.sensorthings.store.errors import is_deadlock, mapped
from twinstack.sensorthings.store.transaction import ObservationIds, Tx
from twinstack.sensorthings.store.values import NewObservation

if TYPE_CHECKING:
    from twinstack.sensorthings.store.fastpath import FastPath

T = TypeVar("T")
_ROW_BYTES = 200  # of a row without extras: times, ids and a number with their object headers


class Write(Future[T], Generic[T]):
    """The outcome of a write, once it is committed: `.result()` in a thread, `await` in asyncio."""

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.wrap_future(self).__await__()


@dataclass(slots=True)
class Job:
    """`work` runs in a savepoint; `emits` = it adds to the outbox and is refused while that is full."""

    work: Callable[[Tx], Any] | None
    rows: Sequence[NewObservation] = ()
    partial: bool = False
    emits: bool = True
    locks: Iterable[int] | None = None
    """Datastreams whose Observations `work` adds to; None: it writes entities, so no other process writes beside it."""
    finish: Callable[[list[observations.Outcome]], Any] | None = None
    """Makes the outcome of `rows` for the caller; without it the list of ids and errors."""
    done: Write[Any] = field(default_factory=Write)
    outcome: Any = None
    failed: BaseException | None = None

    @property
    def bytes(self) -> int:
        """About what the job takes in the transaction."""
        return sum(map(_size, self.rows))


def _size(row: NewObservation) -> int:
    size = _ROW_BYTES
    if isinstance(row.result, str):
        size += len(row.result)
    elif isinstance(row.result, dict | list):
        size += len(repr(row.result))
    return size + len(repr(row.extra)) if row.extra else size


class Writer:
    """The only writer of this process. `clock` gives microseconds since 1970 UTC."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock
        self._queue: queue.Queue[Job | None] = queue.Queue(limits.STORE_QUEUE_JOBS_MAX)
        self._ids = ObservationIds()
        self._held: Job | None = None
        self._connection: sa.Connection | None = None
        self._fast = _fast_path(engine, self._ids)
        self._closed = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> Write[Any]:
        """Queues one job. Errors: QueueFull, Unavailable after close."""
        with self._lock:
            if self._closed:
                raise Unavailable("The store is closed.", fix="Open it again.")
            try:
                self._queue.put_nowait(job)
            except queue.Full:
                raise QueueFull(
                    f"{limits.STORE_QUEUE_JOBS_MAX} writes wait for the store already.", fix="Repeat it in a moment."
                ) from None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
                self._thread.start()
        return job.done

    def close(self) -> None:
        """Commits what was queued, then ends the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join()
        if self._connection is not None:
            self._connection.close()
        if self._fast is not None:
            self._fast.close()

    def _run(self) -> None:
        while (gathered := self._gather()) is not None:
            group = [job for job in gathered if job.done.set_running_or_notify_cancel()]
            if group:
                self._settle(group)
            for job in group:
                _resolve(job)

    def _settle(self, group: list[Job], attempt: int = 1) -> None:
        """Commits the group; every job has its outcome or its error afterwards."""
        try:
            self._commit(group)
        except BaseException as error:
            if is_deadlock(error) and attempt < limits.STORE_ATTEMPTS_MAX:
                for job in group:
                    job.failed = job.outcome = None
                self._settle(group, attempt + 1)
                return
            # What the checks did not foresee is one job's fault: find it, keep the others.
            if len(group) > 1 and isinstance(error, sa.exc.IntegrityError | sa.exc.DataError | OverflowError):
                for job in group:
                    job.failed = job.outcome = None
                    self._settle([job])
                return
            for job in group:
                job.failed = job.failed or _failure(error)

    def _gather(self) -> list[Job] | None:
        job = self._held or self._queue.get()
        self._held = None
        if job is None:
            return None
        group, rows, size = [job], len(job.rows), job.bytes
        while True:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return group
            if job is None:
                self._queue.put(None)
                return group
            rows += max(1, len(job.rows))
            size += job.bytes
            if rows > limits.GROUP_COMMIT_ROWS_MAX or size > limits.GROUP_COMMIT_BYTES_MAX:
                self._held = job
                return group
            group.append(job)

    def _commit(self, group: list[Job]) -> None:
        if self._fast is not None and self._insert_fast(self._fast, group):
            return
        try:
            if self._connection is None:
                self._connection = self._engine.connect().execution_options(immediate=True)
            with self._connection.begin() as transaction:
                locks.take(self._connection, _locks(group))
                tx = Tx(self._connection, self._clock(), self._ids)
                self._refuse_when_full(tx, group)
                for part in _parts([job for job in group if job.failed is None]):
                    if part[0].work is None:
                        _insert(tx, part)
                    else:
                        _do(tx, part[0])
                outbox.write(self._connection, tx.outgoing)
                hit("store.before_commit")
                transaction.commit()
                hit("store.after_commit")
        except BaseException:
            # The rollback may have undone a reserved block; the connection may be broken.
            self._ids.forget()
            if self._connection is not None:
                self._connection.invalidate()
                self._connection.close()
                self._connection = None
            raise

    def _insert_fast(self, fast: FastPath, group: list[Job]) -> bool:
        """A group of nothing but plain Observations in one round trip; False: it has to go the slow way."""
        if any(job.work is not None for job in group):
            return False
        from twinstack.sensorthings.store.fastpath import NotPlain

        try:
            stored = fast.write([job.rows for job in group])
        except NotPlain:
            return False
        for job, ids in zip(group, stored, strict=True):
            outcomes: list[observations.Outcome] = list(ids)
            job.outcome = job.finish(outcomes) if job.finish else outcomes
        return True

    def _refuse_when_full(self, tx: Tx, group: list[Job]) -> None:
        emitting = [job for job in group if job.emits]
        if emitting and outbox.waiting_bytes(tx.connection) > limits.OUTBOX_BYTES_MAX:
            for job in emitting:
                job.failed = Unavailable(
                    f"{limits.OUTBOX_BYTES_MAX // limits.MIB} MiB wait for the log already.",
                    fix="Repeat it when the log answers again.",
                    retry_after_s=5,
                )


def _fast_path(engine: sa.Engine, ids: ObservationIds) -> FastPath | None:
    if engine.dialect.name != "postgresql":
        return None
    from twinstack.sensorthings.store.fastpath import FastPath  # psycopg and numpy are imported where they are used

    return FastPath(engine, ids)


def _locks(group: list[Job]) -> set[int] | None:
    """The Datastreams of all Observations of the group; None when something else is written."""
    wanted: set[int] = set()
    for job in group:
        if job.work is None:
            wanted.update([row.datastream_id for row in job.rows])
        elif job.locks is None:
            return None
        else:
            wanted.update(job.locks)
    return wanted


def _parts(group: list[Job]) -> list[list[Job]]:
    """Consecutive inserts together, everything else alone, in the order of arrival."""
    parts: list[list[Job]] = []
    for job in group:
        if job.work is None and parts and parts[-1][0].work is None:
            parts[-1].append(job)
        else:
            parts.append([job])
    return parts


def _do(tx: Tx, job: Job) -> None:
    try:
        with tx.savepoint():
            job.outcome = job.work(tx) if job.work else None
    except sa.exc.OperationalError:
        raise  # the database itself: nothing of the group can be trusted
    except (sa.exc.SQLAlchemyError, OverflowError) as error:
        job.failed = mapped(error)
    except Exception as error:
        job.failed = error


def _insert(tx: Tx, part: list[Job]) -> None:
    for job, outcomes in zip(
        part, observations.insert_requests(tx, [(job.rows, job.partial) for job in part]), strict=True
    ):
        first = next((o for o in outcomes if isinstance(o, TwinstackError)), None)
        if first is not None and not job.partial:
            job.failed = first
        else:
            job.outcome = job.finish(outcomes) if job.finish else outcomes


def _failure(error: BaseException) -> BaseException:
    return mapped(error) if isinstance(error, sa.exc.SQLAlchemyError | OverflowError) else error


def _resolve(job: Job) -> None:
    if job.done.cancelled():
        return
    if job.failed is not None:
        job.done.set_exception(job.failed)
    else:
        job.done.set_result(job.outcome)
