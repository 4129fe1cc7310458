"""The one error tree of the project.

Every error a user can meet is a `TwinstackError`: it says what happened (`message`), what to do (`fix`), and carries
fields for programs. The command line turns it into `exit_code`, the HTTP doors into `http_status`. Errors of vendors
(librdkafka, SQLite, httpx) never leak: the module that calls the vendor maps them here, and a test proves it.

    TwinstackError
      InvalidInput                  the caller's data is wrong; repeating it does not help
        InvalidName, InvalidTimestamp, InvalidResult, InvalidInstances, UnknownQuantity
        InvalidRecord               a value on the log that is not one observation (poison)
        RecordTooLarge
        QueryError                  text of a query, with line and column
        NotServed                   asked for a part of a standard that is known and not served here
        Unsupported                 a body in a form that is not understood
        SettingsError
      NotFound, UnknownSystem, UnknownTopic
      PermissionDenied
      Conflict
        Stale                       it changed since the caller read it
      Unavailable                   the other side cannot answer now; safe to repeat
        Unreachable, TimedOut, StorageFull, QueueFull
      LogError                      what a log says to its callers
        RetriableLogError           repeat the same call with the same arguments
        TransactionAborted          abort, throw the task's state away, start the task again
        Fenced                      a newer owner took the transactional id: stop
        PositionLost                the position is no longer on the log
        FatalLogError
      CorruptState                  a stream app's saved state cannot be read
      Undelivered                   records that were not acknowledged, with their count
      CheckFailed                   a check found problems (doctor)
"""

from __future__ import annotations

from typing import Any, ClassVar


class TwinstackError(Exception):
    """Base of all errors: `message` says what happened, `fix` what to do about it."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, fix: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.message} {self.fix}" if self.fix else self.message

    def as_dict(self) -> dict[str, Any]:
        """The shape printed by `--json` and sent by the HTTP doors: error, code, fix and the fields."""
        return {"error": self.message, "code": self.code, "fix": self.fix, **self.fields}


class InvalidInput(TwinstackError):
    code = "invalid_input"
    exit_code = 2
    http_status = 422


class InvalidName(InvalidInput):
    code = "invalid_name"


class InvalidTimestamp(InvalidInput):
    code = "invalid_timestamp"


class InvalidResult(InvalidInput):
    code = "invalid_result"


class InvalidInstances(InvalidInput):
    code = "invalid_instances"


class UnknownQuantity(InvalidInput):
    code = "unknown_quantity"


class InvalidRecord(InvalidInput):
    """A value that is not exactly one well-formed observation; `reason` is a stable word for counters."""

    code = "invalid_record"

    def __init__(self, message: str, *, reason: str, fix: str = "", **fields: Any) -> None:
        super().__init__(message, fix=fix, reason=reason, **fields)
        self.reason = reason


class RecordTooLarge(InvalidInput):
    code = "record_too_large"
    http_status = 413


class QueryError(InvalidInput):
    """A query text with an error. `line` and `column` count from 1; `caret` shows the place under the line."""

    code = "query_error"

    def __init__(self, message: str, *, line: int, column: int, fix: str = "", caret: str = "", **fields: Any) -> None:
        super().__init__(message, fix=fix, line=line, column=column, caret=caret, **fields)
        self.line = line
        self.column = column
        self.caret = caret


class NotServed(InvalidInput):
    code = "not_served"
    http_status = 501


class Unsupported(InvalidInput):
    code = "unsupported"
    http_status = 415


class SettingsError(InvalidInput):
    code = "settings_error"


class NotFound(TwinstackError):
    code = "not_found"
    exit_code = 3
    http_status = 404


class UnknownSystem(NotFound):
    code = "unknown_system"


class UnknownTopic(NotFound):
    code = "unknown_topic"


class PermissionDenied(TwinstackError):
    code = "permission_denied"
    exit_code = 4
    http_status = 403


class Conflict(TwinstackError):
    code = "conflict"
    exit_code = 5
    http_status = 409


class Stale(Conflict):
    """The thing changed since the caller read it (its ETag is another one)."""

    code = "stale"
    http_status = 412


class Unavailable(TwinstackError):
    code = "unavailable"
    exit_code = 6
    http_status = 503


class Unreachable(Unavailable):
    code = "unreachable"


class TimedOut(Unavailable):
    code = "timed_out"


class StorageFull(Unavailable):
    code = "storage_full"
    http_status = 507


class QueueFull(Unavailable):
    code = "queue_full"


class LogError(TwinstackError):
    code = "log_error"


class RetriableLogError(LogError):
    code = "log_retriable"
    exit_code = 6
    http_status = 503


class TransactionAborted(LogError):
    code = "transaction_aborted"
    http_status = 409


class Fenced(LogError):
    code = "fenced"
    exit_code = 5
    http_status = 409


class PositionLost(LogError):
    code = "position_lost"
    http_status = 410


class FatalLogError(LogError):
    code = "log_fatal"


class CorruptState(TwinstackError):
    """`key` is the state record that cannot be read."""

    code = "corrupt_state"


class Undelivered(TwinstackError):
    """`count` records were not acknowledged; `first` is the first cause."""

    code = "undelivered"
    exit_code = 6

    def __init__(self, count: int, first: str = "", fix: str = "") -> None:
        noun = "record was" if count == 1 else "records were"
        cause = f": {first}" if first else "."
        super().__init__(f"{count} {noun} not delivered{cause}", fix=fix, count=count)
        self.count = count


class CheckFailed(TwinstackError):
    code = "check_failed"
    exit_code = 7
