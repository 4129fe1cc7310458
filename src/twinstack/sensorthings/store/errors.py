"""Errors of the database become errors of the project: no vendor's error leaves the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from twinstack.core.errors import Conflict, InvalidInput, StorageFull, TimedOut, TwinstackError, Unavailable


def mapped(error: sa.exc.SQLAlchemyError | OverflowError) -> TwinstackError:
    text = str(getattr(error, "orig", None) or error)
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
