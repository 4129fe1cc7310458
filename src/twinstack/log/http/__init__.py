"""The embedded log over HTTP: `LogService` on the server's side, `HttpLog` on the other. The form is in `wire.py`.

LogService needs the platform's packages, HttpLog only those of the client: each is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinstack.log.http.log import HttpLog
    from twinstack.log.http.service import LogService

__all__ = ["HttpLog", "LogService"]


def __getattr__(name: str) -> Any:
    if name == "HttpLog":
        from twinstack.log.http.log import HttpLog

        return HttpLog
    if name == "LogService":
        from twinstack.log.http.service import LogService

        return LogService
    raise AttributeError(name)
