"""Answers in the API's own shape: `{"error_code", "message"}`, with `code` and `fix` of the project's errors added."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from starlette.responses import Response

from twinstack.core.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PermissionDenied,
    RecordTooLarge,
    TwinstackError,
    Unavailable,
    UnknownTopic,
)

JSON_TYPE = "application/vnd.kafka.v2+json"
RETRIABLE, FINAL = 2, 1
"""`error_code` of one record: whether sending it again can help."""

logger = logging.getLogger(__name__)


class PartitionNotFound(NotFound):
    code = "unknown_partition"


class InstanceNotFound(NotFound):
    code = "unknown_consumer_instance"


class InstanceExists(Conflict):
    code = "consumer_instance_exists"


class UnsupportedType(InvalidInput):
    code = "unsupported_media_type"
    http_status = 415


class MethodNotAllowed(InvalidInput):
    code = "method_not_allowed"
    http_status = 405


_ERROR_CODES: tuple[tuple[type[TwinstackError], int], ...] = (
    (UnknownTopic, 40401),
    (PartitionNotFound, 40402),
    (InstanceNotFound, 40403),
    (InstanceExists, 40902),
    (RecordTooLarge, 42201),
)


def answer(body: Any, status: int = 200, content_type: str = JSON_TYPE) -> Response:
    return Response(msgspec.json.encode(body), status, media_type=content_type)


def no_content() -> Response:
    return Response(status_code=204)


def error_code(error: TwinstackError) -> int:
    """The API's number: HTTP status and two digits."""
    for kind, number in _ERROR_CODES:
        if isinstance(error, kind):
            return number
    return error.http_status * 100 + (1 if isinstance(error, PermissionDenied) else 0)


def failure(error: TwinstackError) -> Response:
    body = {"error_code": error_code(error), "message": error.message, "code": error.code, "fix": error.fix}
    response = answer(body, 422 if isinstance(error, RecordTooLarge) else error.http_status)
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = "1"
    return response


def record_failure(error: Exception) -> dict[str, Any]:
    """One record's line in the answer to a produce request."""
    if not isinstance(error, TwinstackError):
        logger.error("a record was not stored", exc_info=error)
        return {"partition": None, "offset": None, "error_code": FINAL, "error": "The server failed."}
    code = RETRIABLE if isinstance(error, Unavailable) else FINAL
    return {"partition": None, "offset": None, "error_code": code, "error": str(error), "code": error.code}
