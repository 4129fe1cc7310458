"""The few types and helpers of ASGI that the SensorThings door needs: no framework on its hot paths."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, RecordTooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_HOST = re.compile(r"[A-Za-z0-9._~-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")


class Disconnected(Exception):
    """The client left while its request was read."""


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Headers by lower-case name; of repeated ones the last (none that are read here may repeat)."""
    return dict(scope["headers"])


async def read_body(receive: Receive, bytes_max: int = limits.BODY_BYTES_MAX) -> bytes:
    """The request's body. Errors: RecordTooLarge before more than `bytes_max` is held."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        parts, size = [body], len(body)
        while message.get("more_body", False) and size <= bytes_max:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        body = b"".join(parts)
    if len(body) > bytes_max:
        raise RecordTooLarge(f"The body has more than {bytes_max} bytes.", fix="Send several smaller requests.")
    return body


async def gone(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":  # noqa: ASYNC110
        # Parts of a body that nobody wants: never keep the loop from others.
        await asyncio.sleep(0)


def base_address(scope: Scope, headers: dict[bytes, bytes], public_url: str | None, prefix: str) -> str:
    """`https://host/v1.1` as the client wrote it, or under the configured public URL. Errors: InvalidInput."""
    if public_url is not None:
        return f"{public_url.rstrip('/')}{prefix}"
    host = headers.get(b"host", b"").decode("latin-1")
    if not host:
        name, port = scope.get("server") or ("localhost", None)
        host = f"{name}:{port}" if port else name
    if not _HOST.fullmatch(host):
        raise InvalidInput("The header Host is no host name.", fix="Send host:port.")
    return f"{scope.get('scheme', 'http')}://{host}{prefix}"
