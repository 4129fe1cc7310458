"""Calls to the server's REST API; its answers become data or the errors of the one tree."""

from __future__ import annotations

from typing import Any

from twinstack.core.errors import TimedOut, TwinstackError, Unreachable
from twinstack.core.lean import httpx
from twinstack.core.limits import HTTP_TIMEOUT_MS


def call(method: str, url: str, path: str, body: Any = None) -> Any:
    """The parsed answer. Errors: Unreachable, TimedOut, else what the server's problem document says."""
    try:
        response = httpx.request(
            method, url + path, json=body, timeout=httpx.Timeout(HTTP_TIMEOUT_MS / 1000, connect=5.0), trust_env=False
        )
    except httpx.TimeoutException:
        raise TimedOut(f"{url} did not answer in time.", fix="Try again, or ask `twinstack doctor`.") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(
            f"No server answers at {url}.",
            fix="Start one with `twinstack up --open`, or name it with --server.",
            cause=type(error).__name__,
        ) from None
    if response.is_success:
        return response.json() if response.content else None
    raise _problem(response)


def _problem(response: httpx.Response) -> TwinstackError:
    try:
        problem = response.json()
        code, detail = problem["code"], problem["detail"]
    except (ValueError, KeyError, TypeError):
        return Unreachable(
            f"{response.url} answered {response.status_code}, not as a twinstack server does.",
            fix="Check the address given by --server.",
        )
    known = {"type", "title", "status", "detail", "code", "fix", "trace"}
    fields = {k: v for k, v in problem.items() if k not in known}
    error = TwinstackError.__new__(_by_code().get(code, TwinstackError))
    # Subclasses with positional fields of their own are rebuilt from what was sent, whatever their constructor takes.
    TwinstackError.__init__(error, detail, fix=problem.get("fix", ""), **fields)
    return error


def _by_code() -> dict[str, type[TwinstackError]]:
    classes: list[type[TwinstackError]] = [TwinstackError]
    for cls in classes:
        classes.extend(cls.__subclasses__())
    return {cls.code: cls for cls in classes}
