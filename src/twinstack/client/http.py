"""JSON over HTTP with keep-alive, to the first of several servers that answers; httpx's errors stay in here."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from twinstack.core import limits
from twinstack.core.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PermissionDenied,
    RecordTooLarge,
    SettingsError,
    TimedOut,
    TwinstackError,
    Unavailable,
    Unreachable,
)
from twinstack.core.lean import httpx

CONNECT_TIMEOUT_S = limits.BROKER_PROBE_MS_MAX / 1000


@dataclass(frozen=True, slots=True)
class Address:
    """One server: `url` without credentials and trailing slash, `token` from `user:token@` (never shown)."""

    url: str
    token: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """host:port"""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    @property
    def is_loopback(self) -> bool:
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def parse_addresses(text: str, argument: str, token: str | None = None) -> list[Address]:
    """`[http[s]://][user:token@]host:port`, comma-separated. `token` is used where the address has none.
    Errors: SettingsError."""
    addresses = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        try:
            split = urlsplit(part if "://" in part else f"http://{part}")
            port = split.port
        except ValueError:
            port, split = None, urlsplit("")
        if split.scheme not in ("http", "https") or not split.hostname or " " in part:
            shown = part.rpartition("@")[2]
            raise SettingsError(f"{argument}='{shown}' is no address.", fix="Write host:port, e.g. localhost:1908.")
        host = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
        own = unquote(split.password) if split.password else None
        url = f"{split.scheme}://{host}{f':{port}' if port else ''}{split.path.rstrip('/')}"
        addresses.append(Address(url, own or token))
    if not addresses:
        raise SettingsError(f"{argument} is empty.", fix="Write host:port, e.g. localhost:1908.")
    return addresses


class HttpServer:
    """Requests to one of several equal servers: the first that answers is kept until it stops answering.

    One thread at a time. Errors of `request`: Unreachable that names every address, TimedOut, and for answers of 400
    and more the error that the server names (`raise_for_answer`).
    """

    def __init__(self, addresses: list[Address], *, timeout_s: float = limits.HTTP_TIMEOUT_MS / 1000) -> None:
        self.addresses = addresses
        self._timeout_s = timeout_s
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S / len(addresses), timeout_s)),
            # a proxy of the environment must not catch requests to this very machine
            trust_env=not all(a.is_loopback for a in addresses),
            headers={"User-Agent": "twinstack"},
        )

    @property
    def shown(self) -> str:
        return ", ".join(a.shown for a in self.addresses)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        """The answer with a status below 400."""
        causes: list[str] = []
        for place in range(len(self.addresses)):
            address = self.addresses[place]
            sent = {"Authorization": f"Bearer {address.token}"} if address.token else {}
            try:
                answer = self._client.request(
                    method,
                    address.url + path,
                    content=body,
                    params=query,
                    headers={**sent, **(headers or {})},
                    timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s,
                )
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                causes.append(f"{address.shown} ({_cause(error)})")
                continue
            except httpx.TimeoutException:
                raise TimedOut(
                    f"{address.shown} did not answer in time ({method} {path}).", fix="Try again later."
                ) from None
            except httpx.HTTPError as error:
                raise Unreachable(
                    f"The connection to {address.shown} broke ({_cause(error)}).", fix="Is the server still running?"
                ) from None
            if place:
                self.addresses = [address, *self.addresses[:place], *self.addresses[place + 1 :]]
            raise_for_answer(answer, address.shown)
            return answer
        raise Unreachable(f"No server answers at {', '.join(causes)}.", fix="Run `twinstack up --open`, or correct it.")

    def close(self) -> None:
        self._client.close()


def _cause(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.removeprefix("[Errno 111] ").removeprefix("All connection attempts failed") or "connection refused"


def raise_for_answer(answer: httpx.Response, shown: str) -> None:
    """Turns a status of 400 and more into the error that the answer's `code` names, else into that of its status.
    The server's answer is attached as the field `reply`."""
    if answer.status_code < 400:
        return
    reply = _json_or_none(answer.content)
    problem = reply if isinstance(reply, dict) else {}
    said = problem.get("detail") or problem.get("message") or problem.get("title") or answer.reason_phrase
    errors = problem.get("errors")
    if isinstance(errors, list) and errors:
        said = f"{said} {'; '.join(str(e.get('message', e)) if isinstance(e, dict) else str(e) for e in errors[:20])}"
    kind = _BY_CODE.get(str(problem.get("code"))) or _by_status(answer.status_code)
    fix = str(problem.get("fix") or _FIXES.get(answer.status_code, ""))
    raise kind(
        f"{shown} answered {answer.status_code}: {said}",
        fix=fix,
        status=answer.status_code,
        reply=reply if reply is not None else answer.text[:2000],
        **{k: problem[k] for k in ("error_code", "allowed", "blockers", "who") if k in problem},
    )


def _json_or_none(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None


def _plain_errors(kind: type[TwinstackError] = TwinstackError) -> Iterator[type[TwinstackError]]:
    """The errors of the tree that are made from a message alone."""
    if kind.__init__ is TwinstackError.__init__:
        yield kind
    for child in kind.__subclasses__():
        yield from _plain_errors(child)


_BY_CODE = {kind.code: kind for kind in _plain_errors()}
_BY_STATUS: dict[int, type[TwinstackError]] = {
    401: PermissionDenied,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    413: RecordTooLarge,
    429: Unavailable,
}
_FIXES = {401: "Give the client's token: gost_servers='x:<token>@host:port', or token=...", 429: "Send less often."}


def _by_status(status: int) -> type[TwinstackError]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return Unavailable if status >= 500 else InvalidInput
