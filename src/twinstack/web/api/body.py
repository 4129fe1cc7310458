"""Bodies of the REST API: one JSON object, strict, with known fields only."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from twinstack.core.errors import InvalidInput, InvalidRecord
from twinstack.core.observations import decode

T = TypeVar("T")


class BadRequest(InvalidInput):
    """The body is no JSON object at all; a body with wrong content is 422."""

    code = "bad_request"
    http_status = 400


class UnsupportedMediaType(InvalidInput):
    code = "unsupported_media_type"
    http_status = 415


async def read_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Errors: UnsupportedMediaType, BadRequest (no JSON, duplicate keys, NaN, depth)."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMediaType(f"The body is {kind[:60]}.", fix="Send Content-Type: application/json.")
    try:
        return decode(await request.body())
    except ClientDisconnect:
        raise BadRequest("The connection ended before the body did.") from None
    except InvalidRecord as error:
        raise BadRequest(f"The body is no JSON object: {error.message}", fix="Send one JSON object.") from None


async def read(request: Request, kind: type[T]) -> T:
    """The body as a `msgspec.Struct` that forbids unknown fields. Errors: as read_object, and InvalidInput (422)."""
    document = await read_object(request)
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"The body does not fit: {error}.", fix="`/api/v1` describes what is expected.") from None
