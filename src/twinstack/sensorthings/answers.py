"""What an HTTP door says: answers, and the project's errors as SensorThings errors `{"code", "type", "message"}`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass

from twinstack.core import limits
from twinstack.core.errors import (
    InvalidInput,
    QueryError,
    RecordTooLarge,
    TwinstackError,
    Unavailable,
    Unsupported,
)
from twinstack.sensorthings.asgi import Send
from twinstack.sensorthings.compression import Coding, compress, compressor

JSON_TYPE = b"application/json"
RETRY_AFTER_S = 1
Header = tuple[bytes, bytes]


@dataclass(slots=True)
class Answer:
    """Status, body and headers; `content_type` is sent with a body only. `parts`: the body as it is made, instead."""

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = ()
    content_type: bytes = JSON_TYPE
    parts: AsyncGenerator[bytes, None] | None = None


def of_json(text: str, *, status: int = 200, headers: Iterable[Header] = ()) -> Answer:
    return Answer(status, text.encode(), tuple(headers))


def of_error(error: TwinstackError) -> Answer:
    """The answer for an error of the project: bad input is 400, whatever the platform's other doors say."""
    status = error.http_status
    if isinstance(error, InvalidInput) and not isinstance(error, RecordTooLarge | Unsupported) and status != 501:
        status = 400
    headers: list[Header] = []
    if isinstance(error, Unavailable):
        headers.append((b"retry-after", str(error.fields.get("retry_after_s", RETRY_AFTER_S)).encode()))
    message = str(error)
    if isinstance(error, QueryError) and error.caret:
        message = f"{message}\n{error.caret}"
    return of_problem(status, message, headers)


def of_problem(status: int, message: str, headers: Iterable[Header] = ()) -> Answer:
    body = json.dumps({"code": status, "type": "error", "message": message}, ensure_ascii=False)
    return Answer(status, body.encode("utf-8", "replace"), tuple(headers))


async def send_answer(send: Send, answer: Answer, *, head: bool = False, coding: Coding | None = None) -> None:
    """Sends it, compressed if the client takes `coding` and it is worth it."""
    if answer.parts is not None:
        await _send_parts(send, answer, answer.parts, head=head, coding=coding)
        return
    body, headers = answer.body, [*answer.headers]
    if len(body) >= limits.COMPRESS_BYTES_MIN:
        headers.append((b"vary", b"accept-encoding"))
        if coding is not None:
            headers.append((b"content-encoding", coding.encode()))
            large = len(body) > limits.COMPRESS_ON_LOOP_BYTES_MAX
            body = await asyncio.to_thread(compress, body, coding) if large else compress(body, coding)
    if body or answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(body)))
    if body:
        headers.append((b"content-type", answer.content_type))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def _send_parts(
    send: Send, answer: Answer, parts: AsyncGenerator[bytes, None], *, head: bool, coding: Coding | None
) -> None:
    """Each part when it is made; `send` waits while the client does not read. An error behind the first part ends
    the connection before the answer's end, so that nobody takes it for whole."""
    headers = [*answer.headers, (b"content-type", answer.content_type), (b"vary", b"accept-encoding")]
    if coding is not None:
        headers.append((b"content-encoding", coding.encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    stream = None if coding is None else compressor(coding)
    try:
        if not head:
            async for part in parts:
                data = part if stream is None else stream.compress(part)
                if data:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
    finally:
        await parts.aclose()
    await send({"type": "http.response.body", "body": b"" if stream is None or head else stream.flush()})
