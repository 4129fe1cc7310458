"""Errors on the web: `application/problem+json` (RFC 9457) of every error of the one tree."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from twinstack.core.errors import TwinstackError, Unavailable

log = logging.getLogger(__name__)

_RETRY_AFTER_S = "2"


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    fix: str = "",
    trace: str = "",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """{type, title, status, detail, code, fix, trace, ...fields}; 503 says when to come back."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, "fix": fix}
    body |= {k: v for k, v in more.items() if k not in body}
    if trace:
        body["trace"] = trace
    sent = dict(headers or {})
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE):
        sent.setdefault("Retry-After", _RETRY_AFTER_S)
    content = json.dumps(body, ensure_ascii=False, default=str).encode()
    return Response(content, status, headers=sent, media_type="application/problem+json")


def of_error(error: TwinstackError, trace: str = "") -> Response:
    fields = {k: v for k, v in error.fields.items() if k not in ("status", "detail", "code", "fix", "trace", "title")}
    return problem(error.http_status, error.code, error.message, fix=error.fix, trace=trace, **fields)


async def on_error(request: Request, error: Exception) -> Response:
    """Every exception becomes a problem; what nobody foresaw is logged with its trace and told without details."""
    trace = str(request.scope.get("twinstack.trace", ""))
    if isinstance(error, TwinstackError):
        if isinstance(error, Unavailable) or error.http_status >= 500:
            log.warning("%s %s: %s", request.method, request.url.path, error)
        return of_error(error, trace)
    if isinstance(error, HTTPException):
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        fix = "`/` lists the addresses of this server." if error.status_code == 404 else ""
        detail = f"{request.method} {request.url.path}: {error.detail}"
        headers = dict(error.headers) if error.headers else None
        return problem(error.status_code, code, detail, fix=fix, trace=trace, headers=headers)
    log.error("%s %s failed, trace %s", request.method, request.url.path, trace, exc_info=error)
    return problem(500, "internal_error", "The server failed.", fix="Its log tells more under this trace.", trace=trace)
