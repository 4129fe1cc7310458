"""Bodies and query options of the API's requests, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, RecordTooLarge
from twinstack.log.seam import TopicPartition


async def body_of(request: Request, bytes_max: int) -> bytes:
    """Errors: RecordTooLarge, before more than `bytes_max` is kept; InvalidInput when the client leaves meanwhile."""
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > bytes_max:
                raise RecordTooLarge(f"The body has more than {bytes_max} bytes.", fix="Send several requests.")
            chunks.append(chunk)
    except ClientDisconnect:
        raise InvalidInput("The connection ended before the body did.") from None
    return b"".join(chunks)


async def json_body(request: Request) -> Mapping[str, Any]:
    """The object in the body; an empty body is an empty object. Errors: InvalidInput."""
    body = await body_of(request, limits.BODY_BYTES_MAX)
    if not body.strip():
        return {}
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"The body is not JSON: {error}", fix="Send a JSON object.") from None
    if not isinstance(parsed, dict):
        raise InvalidInput("The body is no JSON object.", fix="Send a JSON object.")
    return parsed


def partitions_of(body: Mapping[str, Any], key: str) -> list[TopicPartition]:
    items = body.get(key)
    if not isinstance(items, list) or not items:
        raise InvalidInput(f"The body has no '{key}'.", fix=f'Send {{"{key}": [{{"topic": "...", "partition": 0}}]}}.')
    tps = []
    for item in items:
        topic, partition = (item.get("topic"), item.get("partition")) if isinstance(item, dict) else (None, None)
        if not isinstance(topic, str) or not isinstance(partition, int) or isinstance(partition, bool):
            raise InvalidInput(f"'{key}' holds an item without topic and partition.")
        tps.append(TopicPartition(topic, partition))
    return tps


def offsets_of(body: Mapping[str, Any]) -> dict[TopicPartition, int]:
    tps = partitions_of(body, "offsets")
    positions: dict[TopicPartition, int] = {}
    for tp, item in zip(tps, body["offsets"], strict=True):
        offset = item.get("offset")
        if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
            raise InvalidInput("'offsets' holds an item without an offset of 0 or more.")
        positions[tp] = offset
    return positions


def number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdigit():
        raise InvalidInput(f"{name}='{text[:40]}' is no number.", fix="Give a number of 0 or more.")
    return min(int(text), most)
