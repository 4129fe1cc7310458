"""Batches in JSON: `requests` with `id`, `atomicityGroup`, `method`, `url`, `headers`, `body` (OData JSON 4.01, 19)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from twinstack.core import limits, observations
from twinstack.core.errors import InvalidInput
from twinstack.sensorthings.answers import Answer
from twinstack.sensorthings.batch.parts import ChangeSet, Item, Part
from twinstack.sensorthings.store.types import dumps


def parse(body: bytes) -> list[Item]:
    """Requests, those of one atomicityGroup as a change set. Errors: InvalidInput, InvalidRecord."""
    document = observations.decode_json(body, limits.UPLOAD_BYTES_MAX)
    requests = document.get("requests") if isinstance(document, dict) else None
    if not isinstance(requests, list):
        raise InvalidInput("A batch in JSON has no array 'requests'.", fix='Send {"requests": [...]}.')
    items: list[Item] = []
    seen: set[str] = set()
    for number, given in enumerate(requests):
        part = _part(number, given)
        last = items[-1] if items else None
        if part.group is None:
            items.append(part)
        elif isinstance(last, ChangeSet) and last.group == part.group:
            last.parts.append(part)
        else:
            items.append(ChangeSet([part], part.group))
            _add(seen, part.group, "atomicityGroup")
        _add(seen, part.id, "id")
    return items


def _add(seen: set[str], name: str | None, what: str) -> None:
    if name in seen:
        raise InvalidInput(
            f"The {what} '{str(name)[:80]}' stands twice.",
            fix="Ids are unique; the requests of a group stand together.",
        )
    seen.add(str(name))


def _part(number: int, given: Any) -> Part:
    def text(name: str, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise InvalidInput(f"Request {number} has no text '{name}'.", fix="Each has id, method and url.")
        return value

    if not isinstance(given, dict):
        raise InvalidInput(f"Request {number} is no object.", fix="Each has id, method and url.")
    request_id = given.get("id")
    group = given.get("atomicityGroup")
    return Part(
        method=text("method", given.get("method")).upper(),
        url=text("url", given.get("url")),
        headers=_headers(number, given.get("headers")),
        body=_body(given.get("body")) if "body" in given else b"",
        id=str(request_id) if isinstance(request_id, int) else text("id", request_id),
        group=None if group is None else text("atomicityGroup", group),
        depends_on=tuple(text("dependsOn", name) for name in _list(number, given.get("dependsOn"))),
    )


def _headers(number: int, given: Any) -> dict[bytes, bytes]:
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise InvalidInput(f"The headers of request {number} are no texts.", fix='Send {"If-Match": "..."}.')
    return {name.lower().encode("utf-8"): value.encode("utf-8") for name, value in given.items()}


def _list(number: int, given: Any) -> list[Any]:
    if given is None:
        return []
    if not isinstance(given, list):
        raise InvalidInput(f"'dependsOn' of request {number} is no array.", fix='Send ["1"].')
    return given


def _body(value: Any) -> bytes:
    """JSON stands as it is; a text is JSON in a text."""
    return value.encode() if isinstance(value, str) else dumps(value).encode()


async def text_of(answer: Answer, part: Part) -> AsyncGenerator[bytes, None]:
    """An answer as an object of `responses`."""
    headers = {name.decode(): value.decode("latin-1") for name, value in answer.headers}
    group = "" if part.group is None else f'"atomicityGroup":{dumps(part.group)},'
    quote = '"'
    head = f'{{"id":{dumps(part.id)},{group}"status":{answer.status}'
    is_json = b"json" in answer.content_type
    if answer.body or answer.parts is not None:
        headers["content-type"] = answer.content_type.decode()
    head += f',"headers":{dumps(headers)}'
    if answer.parts is not None:
        yield f'{head},"body":{"" if is_json else quote}'.encode()
        async for piece in answer.parts:
            yield piece if is_json else dumps(piece.decode())[1:-1].encode()
        yield b"}" if is_json else b'"}'
    elif answer.body:
        body = answer.body.decode()
        yield f'{head},"body":{body if is_json else dumps(body)}}}'.encode()
    else:
        yield f"{head}}}".encode()
