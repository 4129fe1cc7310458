"""What an HTTP door says: answers, and the project's errors as SensorThings errors `{"code", "type", "message"}`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from twinstack.core.errors import InvalidInput, QueryError, RecordTooLarge, TwinstackError, Unavailable
from twinstack.sensorthings.asgi import Send

JSON_TYPE = b"application/json"
RETRY_AFTER_S = 1


@dataclass(slots=True)
class Answer:
    """Status, body and headers; `content_type` is sent with a body only."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = JSON_TYPE


def of_json(text: str, *, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> Answer:
    return Answer(status, text.encode(), tuple(headers))


def of_error(error: TwinstackError) -> Answer:
    """The answer for an error of the project: bad input is 400, whatever the platform's other doors say."""
    status = error.http_status
    if isinstance(error, InvalidInput) and not isinstance(error, RecordTooLarge) and status != 501:
        status = 400
    headers: list[tuple[bytes, bytes]] = []
    if isinstance(error, Unavailable):
        headers.append((b"retry-after", str(error.fields.get("retry_after_s", RETRY_AFTER_S)).encode()))
    message = str(error)
    if isinstance(error, QueryError) and error.caret:
        message = f"{message}\n{error.caret}"
    return of_problem(status, message, headers)


def of_problem(status: int, message: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> Answer:
    body = json.dumps({"code": status, "type": "error", "message": message}, ensure_ascii=False)
    return Answer(status, body.encode("utf-8", "replace"), tuple(headers))


async def send_answer(send: Send, answer: Answer, *, head: bool = False) -> None:
    headers = [*answer.headers]
    if answer.body or answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    if answer.body:
        headers.append((b"content-type", answer.content_type))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
