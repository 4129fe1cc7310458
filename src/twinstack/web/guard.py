"""What every request passes before any page or API: Host, forwarded headers, Origin, who asks, policy, body limit.

A bare ASGI middleware, since hot paths (log commits, Observations) pass it too. Any web page can reach a server on
loopback, so unsafe requests that a foreign page sent are refused, and a Host that is not ours (DNS rebinding) is 421.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinstack.core import limits
from twinstack.core.errors import InvalidInput
from twinstack.platform.policy import Action, Actor, Mode, Object, decide, is_loopback
from twinstack.web.problem import problem
from twinstack.web.requests import Requests

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SECURITY_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip")
_UPLOADS = ("/CreateObservations", "/$batch", "/instances")


class Guard:
    """`token` is what this server's own child processes send as `Authorization: Bearer`."""

    def __init__(
        self, app: ASGIApp, *, mode: Mode, requests: Requests, hosts: Iterable[str] = (), token: str = ""
    ) -> None:
        self.app = app
        self._requests = requests
        self._mode = mode
        self._hosts = frozenset(h.lower() for h in (*LOOPBACK_HOSTS, *hosts))
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSocket is served
            await send({"type": "websocket.close", "code": 1008})
            return
        trace = secrets.token_hex(8)
        scope["twinstack.trace"] = trace
        headers = dict(scope["headers"])
        scope["twinstack.actor"] = self._actor(scope, headers)
        answer = _Answer(send, trace)
        started = time.monotonic()
        try:
            await self._answer(scope, receive, headers, answer)
        finally:
            self._requests.add(scope["path"], scope["method"], answer.status, time.monotonic() - started)

    async def _answer(self, scope: Scope, receive: Receive, headers: dict[bytes, bytes], answer: _Answer) -> None:
        actor, trace = scope["twinstack.actor"], scope["twinstack.trace"]
        refused = self._refusal(scope, headers, actor)
        if refused is None:
            limit = body_limit(scope["path"])
            length = headers.get(b"content-length", b"0")
            if length.isdigit() and int(length) > limit:
                refused = (
                    413,
                    "too_large",
                    f"The body has {int(length)} bytes, at most {limit} fit.",
                    "Send it in parts.",
                )
            else:
                await self._pass(scope, _Limited(receive, limit), answer)
                return
        status, code, detail, fix = refused
        await problem(status, code, detail, fix=fix, trace=trace)(scope, receive, answer)

    async def _pass(self, scope: Scope, receive: _Limited, answer: _Answer) -> None:
        async def unless_too_large(message: Message) -> None:
            # A door that turns every exception into its own 500 must not answer for a body that was cut off.
            if answer.started or not receive.exceeded:
                await answer(message)

        try:
            await self.app(scope, receive, unless_too_large)
        except Exception:
            if not receive.exceeded:
                raise
        if receive.exceeded and not answer.started:
            detail = f"The body has more than the {receive.limit} bytes that fit."
            response = problem(413, "too_large", detail, fix="Send it in parts.", trace=scope["twinstack.trace"])
            await response(scope, receive, answer)

    def _actor(self, scope: Scope, headers: dict[bytes, bytes]) -> Actor:
        address = scope["client"][0] if scope.get("client") else ""
        given = headers.get(b"authorization", b"")
        if self._token and hmac.compare_digest(given, b"Bearer " + self._token):
            return Actor("worker", "", address)
        return Actor("lab" if self._mode.lab else "anonymous", "", address)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes], actor: Actor) -> tuple[int, str, str, str] | None:
        """`(status, code, detail, fix)` of a request that goes no further, None for the others."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if host_name(host) not in self._hosts:
            fix = "Use http://localhost, or add the name to the setting allowed_hosts."
            return 421, "misdirected", f"This server is not '{host[:100]}'.", fix
        if self._mode.lab and any(name in headers for name in _FORWARDED):
            return 403, "forwarded", "Forwarded headers are refused in this mode.", "Ask the server without a proxy."
        method = scope["method"]
        if method not in SAFE_METHODS and (foreign := _foreign(headers, host)):
            return (
                403,
                "cross_site",
                f"A request from {foreign} may not change anything.",
                "Send it from this server's pages.",
            )
        action = Action.SEE if method in SAFE_METHODS else Action.WRITE
        decision = decide(actor, action, Object("request", scope["path"]))
        if not decision.allowed:
            where = "this machine only" if is_loopback(actor.address) else "the machine it runs on only"
            return 403, "permission_denied", decision.reason, f"The server answers {where}."
        return None


def host_name(host: str) -> str:
    """`host` without its port; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def body_limit(path: str) -> int:
    """Bytes that a body sent to `path` may have."""
    if path.startswith("/api/log/v1/"):
        return limits.LOG_COMMIT_BYTES_MAX
    if path.endswith(_UPLOADS) or path.startswith("/topics/"):
        return limits.UPLOAD_BYTES_MAX
    return limits.BODY_BYTES_MAX


def _foreign(headers: dict[bytes, bytes], host: str) -> str:
    """The foreign site that sent this request, "" when it is our own page or no browser."""
    site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
    if site not in ("", "same-origin", "none"):
        return f"another site ({site})"
    origin = headers.get(b"origin")
    if origin is None:
        return ""
    text = origin.decode("latin-1")
    return "" if urlsplit(text).netloc.lower() == host else f"the origin {text[:100]}"


class BodyTooLarge(InvalidInput):
    """Ends the reading of a body; the doors answer it as an error of the caller, the guard with 413."""

    code = "too_large"
    http_status = 413


class _Limited:
    """Counts the body while it arrives: a chunked body says no length before."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self.limit = limit
        self.exceeded = False
        self._seen = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > self.limit:
                self.exceeded = True
                raise BodyTooLarge(f"The body has more than the {self.limit} bytes that fit.", fix="Send it in parts.")
        return message


class _Answer:
    """Adds the headers that every answer carries."""

    def __init__(self, send: Send, trace: str) -> None:
        self._send = send
        self._trace = trace
        self.started = False
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"twinstack-trace", self._trace.encode()), *SECURITY_HEADERS]
            message = {**message, "headers": headers}
        await self._send(message)
