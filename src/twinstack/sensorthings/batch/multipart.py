"""Batches as `multipart/mixed`: parts are `application/http`, change sets nested multiparts (RFC 2046, RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator
from email.message import Message
from http import HTTPStatus

from twinstack.core.errors import InvalidInput
from twinstack.sensorthings.answers import Answer
from twinstack.sensorthings.batch.parts import ChangeSet, Item, Part

_CONTENT_ID, _CONTENT_TYPE = b"content-id", b"content-type"
_REQUEST_LINE = re.compile(rb"(?P<method>[A-Za-z]{1,16})[ \t]+(?P<url>\S(?:.*?\S)?)(?:[ \t]+HTTP/\d(?:\.\d)?)?[ \t]*")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_HEADER = re.compile(rb"(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(?P<value>.*?)[ \t]*")


def parse(body: bytes, content_type: bytes) -> list[Item]:
    """The requests in a body. A part that cannot be read is an error in its place.

    Errors: InvalidInput for a body that is no multipart.
    """
    return [_item(raw) for raw in _split(body, _boundary(content_type))]


def _boundary(content_type: bytes) -> bytes:
    header = Message()
    header["content-type"] = content_type.decode("latin-1")
    boundary = header.get_boundary()
    if not boundary:
        raise InvalidInput("The Content-Type names no boundary.", fix="multipart/mixed; boundary=batch_1")
    return boundary.encode("latin-1")


def _split(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """The parts between the delimiter lines. Errors: InvalidInput when the last one is missing."""
    delimiter = re.compile(rb"(?:\A|\n)--" + re.escape(boundary) + rb"(?P<last>--)?[ \t]*\r?(?=\n|\Z)")
    start: int | None = None
    for match in delimiter.finditer(body):
        if start is not None:
            yield body[start : match.start()].removesuffix(b"\r")
        if match["last"]:
            return
        start = match.end() + 1
    raise InvalidInput("The multipart body has no end.", fix="Close it by --boundary--.")


def _item(raw: bytes) -> Item:
    try:
        headers, content = _message(raw)
        if _is_multipart(headers):
            return _change_set(headers, content)
        return _request(headers, content)
    except InvalidInput as error:
        return Part(error=error)


def _change_set(headers: dict[bytes, bytes], content: bytes) -> ChangeSet:
    parts: list[Part] = []
    try:
        for raw in _split(content, _boundary(headers[_CONTENT_TYPE])):
            inner, request = _message(raw)
            if _is_multipart(inner):
                raise InvalidInput("A change set stands in a change set.", fix="Put it beside the other.")
            parts.append(_request(inner, request))
    except InvalidInput as error:
        return ChangeSet(parts, error=error)
    return ChangeSet(parts)


def _is_multipart(headers: dict[bytes, bytes]) -> bool:
    return headers.get(_CONTENT_TYPE, b"").partition(b";")[0].strip().lower() == b"multipart/mixed"


def _request(headers: dict[bytes, bytes], content: bytes) -> Part:
    """Errors: InvalidInput."""
    if headers.get(_CONTENT_TYPE, b"").partition(b";")[0].strip().lower() != b"application/http":
        raise InvalidInput("A part is no HTTP request.", fix="Give it the Content-Type application/http.")
    line, _, rest = content.lstrip(b"\r\n").partition(b"\n")
    match = _REQUEST_LINE.fullmatch(line.rstrip(b"\r"))
    if match is None:
        raise InvalidInput("A part has no request line.", fix="Begin it with: GET Things HTTP/1.1")
    inner, body = _message(rest)
    content_id = headers.get(_CONTENT_ID, inner.get(_CONTENT_ID))
    try:
        return Part(
            match["method"].decode().upper(),
            match["url"].decode("utf-8"),
            inner,
            body.strip(b"\r\n"),
            None if content_id is None else content_id.decode("utf-8").strip("<>"),
        )
    except UnicodeDecodeError:
        raise InvalidInput("An address or Content-ID is not UTF-8.", fix="Percent-encode it.") from None


def _message(raw: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """Headers by lower-case name, and what follows the blank line. Errors: InvalidInput."""
    if raw.startswith((b"\r\n", b"\n")) or not raw:
        return {}, raw[raw.find(b"\n") + 1 :]
    end = _BLANK_LINE.search(raw)
    head, content = (raw, b"") if end is None else (raw[: end.start()], raw[end.end() :])
    headers: dict[bytes, bytes] = {}
    for line in head.splitlines():
        match = _HEADER.fullmatch(line)
        if match is None:
            raise InvalidInput("A part has a line that is no header.", fix="End the headers by a blank line.")
        headers[match["name"].lower()] = match["value"]
    return headers, content


async def text_of(answer: Answer, content_id: str | None) -> AsyncGenerator[bytes, None]:
    """An answer as the content of a part."""
    reason = HTTPStatus(answer.status).phrase
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    if content_id is not None:
        lines.append(f"Content-ID: {content_id}")
    lines += ["", f"HTTP/1.1 {answer.status} {reason}"]
    lines += [f"{name.decode().title()}: {value.decode('latin-1')}" for name, value in answer.headers]
    if answer.body or answer.parts is not None:
        lines.append(f"Content-Type: {answer.content_type.decode()}")
    if answer.parts is None:
        lines.append(f"Content-Length: {len(answer.body)}")
    yield "\r\n".join([*lines, "", ""]).encode("utf-8") + answer.body
    if answer.parts is not None:
        async for part in answer.parts:
            yield part
