"""`GET /live`: the one server-sent event stream, last values and states of what changed.

    event: values  {"values": [{"key", "result", "time", "at_ms"}]}         at most 4 times a second
    event: state   {"rates": {topic: per s}, "apps": [{"uid", "state", "reason", "rate_per_s"}]}   at most once a second

An event's id is `<server start>-<version>`: what a reader sends back as Last-Event-ID (or `?since=`), so that it gets
only what changed meanwhile; an id of an earlier start gets everything. Values are states, not records: a reader that
was away misses none of the last ones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from twinstack.core import limits
from twinstack.core.errors import QueueFull
from twinstack.platform.live import Live, Value

_TICK_S = 1 / limits.SSE_UPDATES_PER_VALUE_PER_S_MAX
_STATE_EVERY_TICKS = limits.SSE_UPDATES_PER_VALUE_PER_S_MAX
_COMMENT_EVERY_TICKS = int(limits.SSE_COMMENT_MS / 1000 / _TICK_S)


class LiveStream:
    """`app_states` gives the part "apps", `epoch` names this start of the server; `stop` ends all open streams."""

    def __init__(self, live: Live, app_states: Callable[[], list[dict[str, Any]]], epoch: str) -> None:
        self._live = live
        self._app_states = app_states
        self._stopping = asyncio.Event()
        self._epoch = epoch
        self._readers = 0
        self._cut: tuple[int, int, bytes] = (-1, -1, b"")

    def stop(self) -> None:
        self._stopping.set()

    async def endpoint(self, request: Request) -> Response:
        if self._readers >= limits.SSE_CLIENTS_MAX:
            raise QueueFull(f"{limits.SSE_CLIENTS_MAX} live pages are open.", fix="Close some, or reload by hand.")
        last = request.headers.get("last-event-id") or request.query_params.get("since", "")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._events(self._since(last)), media_type="text/event-stream", headers=headers)

    def _since(self, event_id: str) -> int:
        epoch, _, version = event_id.partition("-")
        return int(version) if epoch == self._epoch and version.isascii() and version.isdigit() else 0

    async def _events(self, since: int) -> AsyncIterator[bytes]:
        self._readers += 1
        try:
            yield b"retry: 1000\n\n"
            state: str = ""
            tick = 0
            while not self._stopping.is_set():
                since, changed = self._values(since)
                if changed:
                    yield changed
                if tick % _STATE_EVERY_TICKS == 0:
                    text = json.dumps({"rates": self._live.rates(), "apps": self._app_states()}, ensure_ascii=False)
                    if text != state:
                        state = text
                        yield f"event: state\ndata: {text}\n\n".encode()
                if tick % _COMMENT_EVERY_TICKS == 0:
                    yield b": alive\n\n"
                tick += 1
                try:
                    await asyncio.wait_for(self._stopping.wait(), _TICK_S)
                except TimeoutError:
                    continue
        finally:
            self._readers -= 1

    def _values(self, since: int) -> tuple[int, bytes]:
        """The event with what changed after `since`; cut once for all readers that are up to date."""
        if self._live.version == since:
            return since, b""
        if self._cut[0] == since and self._cut[1] == self._live.version:
            return self._cut[1], self._cut[2]
        version, values = self._live.changes(since)
        data = json.dumps({"values": [sent(value) for value in values]}, ensure_ascii=False)
        event = f"id: {self._epoch}-{version}\nevent: values\ndata: {data}\n\n".encode()
        self._cut = (since, version, event)
        return version, event


def sent(value: Value) -> dict[str, Any]:
    return {"key": value.key, "result": value.result, "time": value.time, "at_ms": value.at_ms}
