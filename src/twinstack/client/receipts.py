"""Receipts: what became of the records of one call of `produce` or `produce_many`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Protocol

from twinstack.core.errors import TimedOut, Undelivered
from twinstack.log.seam import Delivery

_POLL_S = 0.002


class Sender(Protocol):
    """The side of the client that a receipt asks."""

    def fate(self, number: int) -> bool | Undelivered:
        """Of the client's record with this number: acknowledged, not known yet, or among lost ones."""
        ...

    def poll(self) -> None: ...
    def flush(self, timeout_s: float) -> None: ...


class Receipt:
    """Settled once every record of the call is acknowledged or has failed.

    `wait` blocks until then; `await receipt` does the same in asyncio. A receipt that nobody asks costs nothing and
    loses nothing: `flush` and `disconnect` raise for every record that was not delivered. The log reports each record
    of `produce`; of `produce_many` only failures, so its receipt is settled by a flush (`wait` makes one), and an
    error counts all records that were lost since the flush before.
    """

    __slots__ = ("_ids", "_mark", "_sender", "count", "delivery", "error")

    def __init__(self, ids: list[str] | list[bytes], sender: Sender, mark: int | None = None) -> None:
        """`mark`: the number of the last record, for a receipt that a flush settles."""
        self._ids = ids
        self.count = len(ids)
        self.delivery: Delivery | None = None
        self.error: Exception | None = None
        self._sender = sender
        self._mark = mark

    @property
    def ids(self) -> list[str]:
        """The `ts-id` of each record, in order."""
        return [each.decode() if isinstance(each, bytes) else each for each in self._ids]

    def settle(self, outcome: Delivery | Exception) -> None:
        """The delivery callback of the one record of `produce`."""
        if isinstance(outcome, Exception):
            self.error = outcome
        else:
            self.delivery = outcome

    @property
    def done(self) -> bool:
        """True once the outcome is known. Never blocks."""
        if self.error is not None or self.count == 0:
            return True
        if self._mark is not None:
            fate = self._sender.fate(self._mark)
            self.error = fate if isinstance(fate, Exception) else None
            return fate is not False
        if self.delivery is None:
            self._sender.poll()
        return self.delivery is not None or self.error is not None

    def wait(self, timeout: float = 30.0) -> Receipt:
        """Blocks up to `timeout` seconds until all is acknowledged. Errors: Undelivered with the count of records
        that are lost (of a batch: or still under way), TimedOut while the record of `produce` is under way."""
        if self._mark is not None:
            if not self.done:
                self._sender.flush(timeout)
        else:
            self._wait_for_report(timeout)
        if isinstance(self.error, Undelivered):
            raise self.error
        if self.error is not None:
            raise Undelivered(self.count, str(self.error), fix="Produce again.") from self.error
        return self

    def _wait_for_report(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not self.done:
            if time.monotonic() >= deadline_s:
                raise TimedOut(
                    f"The record is not acknowledged after {timeout_s:g} s.",
                    fix="It is still being sent: wait again, or call flush().",
                )
            time.sleep(_POLL_S)

    def __await__(self) -> Generator[None, None, Receipt]:
        return asyncio.to_thread(self.wait).__await__()

    def __repr__(self) -> str:
        outcome = "failed" if self.error else "acknowledged" if self.done else "under way"
        return f"<Receipt of {self.count} record{'' if self.count == 1 else 's'}: {outcome}>"
