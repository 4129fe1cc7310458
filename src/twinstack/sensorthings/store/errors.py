"""Errors of the database become errors of the project: no vendor's error leaves the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from twinstack.core.errors import Conflict, InvalidInput, StorageFull, TimedOut, TwinstackError, Unavailable

_FULL = frozenset({"53100", "53200"})  # disk full, out of memory
_BUSY = frozenset({"55P03", "40P01", "40001"})  # lock not available, deadlock detected, serialization failure
_CANCELLED = "57014"


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's code of what happened; None on SQLite and when the connection itself broke."""
    code = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return code if isinstance(code, str) else None


def is_deadlock(error: BaseException) -> bool:
    """Nothing was done, and the same again may succeed."""
    return sqlstate(error) in ("40P01", "40001")


def message(error: BaseException) -> str:
    """The driver's own words, one line: PostgreSQL's details would repeat the values of the row."""
    original = getattr(error, "orig", None) or error
    diagnostics = getattr(original, "diag", None)
    text = str(getattr(diagnostics, "message_primary", None) or original)
    return text.strip().splitlines()[0] if text.strip() else type(original).__name__


def of_sqlstate(code: str, text: str) -> TwinstackError | None:
    """The project's error for a code of PostgreSQL that has one of its own."""
    if code in _FULL:
        return StorageFull("The store's disk is full.", fix="Free some space; nothing of this write was stored.")
    if code in _BUSY:
        return TimedOut("The store is busy with another writer.", fix="Repeat it in a moment.")
    if code == _CANCELLED:
        return TimedOut("The query took too long.", fix="Narrow the filter, or ask for less.")
    if code.startswith("22"):
        return InvalidInput(f"The store cannot hold a value: {text}.", fix="Check sizes and characters of the values.")
    return None


def mapped(error: sa.exc.SQLAlchemyError | OverflowError) -> TwinstackError:
    text = message(error)
    if (code := sqlstate(error)) is not None and (known := of_sqlstate(code, text)) is not None:
        return known
    if isinstance(error, OverflowError):
        return InvalidInput("A number is beyond 64 bits.", fix="Send a smaller number, or a text.")
    if isinstance(error, sa.exc.IntegrityError):
        return Conflict(
            f"The store refuses it: {text}.", fix="Somebody changed the same thing; read it again and repeat."
        )
    if isinstance(error, sa.exc.DataError):
        return InvalidInput(f"The store cannot hold a value: {text}.", fix="Check sizes and characters of the values.")
    if "full" in text:
        return StorageFull("The store's disk is full.", fix="Free some space; nothing of this write was stored.")
    if "locked" in text or "busy" in text:
        return TimedOut("The store is busy with another writer.", fix="Repeat it in a moment.")
    if "interrupted" in text:
        return TimedOut("The query took too long.", fix="Narrow the filter, or ask for less.")
    return Unavailable(f"The store does not answer: {text}.", fix="Repeat it; see the server's log if it persists.")


@contextmanager
def vendor_errors() -> Iterator[None]:
    try:
        yield
    except (sa.exc.SQLAlchemyError, OverflowError) as error:
        raise mapped(error) from error
