"""The embedded log for other processes: a bare ASGI application, mounted by the web server under `wire.PREFIX`.

Who may do what is decided by the `authorize` it is given: `authorize(action, topic, scope)` raises PermissionDenied.

    action    topic  asked for
    read      yes    fetch, positions, offsets of a group
    write     yes    append, each topic of a transaction
    describe  yes    partitions of a topic; topics that raise are left out of the list
    create, delete, alter (delete records)   yes
    transact  no     init, commit; the id is scope["twinstack.log.id"]
    group     no     join, leave, heartbeat, committed, delete; the group is scope["twinstack.log.id"]
    ping      no     ping
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeVar, cast

import msgspec

from twinstack.core.errors import InvalidInput, PermissionDenied, TwinstackError
from twinstack.core.failpoints import hit
from twinstack.core.limits import BODY_BYTES_MAX, LOG_COMMIT_BYTES_MAX
from twinstack.log.embedded.admin import EmbeddedAdmin
from twinstack.log.embedded.aio import AsyncLog
from twinstack.log.embedded.calls import Owner, Retry
from twinstack.log.embedded.log import EmbeddedLog
from twinstack.log.http import wire
from twinstack.log.packed.transport import Resolved
from twinstack.log.seam import TopicPartition, TopicSpec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Authorize = Callable[[str, str | None, Scope], None]
R = TypeVar("R", bound=wire.Request)

_LARGE = (wire.Append, wire.Commit)
_MEMBER_ID = "twinstack.log.id"


class _TooLarge(InvalidInput):
    http_status = 413


class LogService:
    """ASGI application. `stop` makes long polls answer at once, before the server waits for its requests."""

    def __init__(self, log: EmbeddedLog, authorize: Authorize) -> None:
        self._log = log
        self._authorize = authorize
        self._admin = EmbeddedAdmin(log)
        self._async: AsyncLog | None = None
        self._decoders = {name: msgspec.msgpack.Decoder(kind) for name, kind in wire.REQUESTS.items()}
        self._handlers: dict[type[wire.Request], Callable[[Any, Scope], Awaitable[Any]]] = {
            wire.Fetch: self._fetch,
            wire.Append: self._append,
            wire.Init: self._init,
            wire.Commit: self._commit,
            wire.Layout: self._layout,
            wire.Resolve: self._resolve,
            wire.Join: self._join,
            wire.Leave: self._leave,
            wire.Heartbeat: self._heartbeat,
            wire.CommitOffsets: self._commit_offsets,
            wire.Committed: self._committed,
            wire.DeleteGroup: self._delete_group,
            wire.CreateTopics: self._create_topics,
            wire.DeleteTopics: self._delete_topics,
            wire.Topics: self._topics,
            wire.OffsetsAt: self._offsets_at,
            wire.DeleteRecords: self._delete_records,
            wire.Ping: self._ping,
        }

    @property
    def _on_loop(self) -> AsyncLog:
        if self._async is None:
            self._async = AsyncLog(self._log)
        return self._async

    def stop(self) -> None:
        """On the loop, when the server begins to stop."""
        if self._async is not None:
            self._async.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"LogService answers HTTP, not {scope['type']}")
        try:
            request = await self._request(scope, receive)
            answer = await self._handlers[type(request)](request, scope)
            await _answer(send, 200, wire.MEDIA_TYPE, wire.encode(answer))
        except TwinstackError as error:
            status = 400 if type(error) is InvalidInput else error.http_status
            await _answer(send, status, "application/json", msgspec.json.encode(error.as_dict(), enc_hook=str))

    async def _request(self, scope: Scope, receive: Receive) -> wire.Request:
        operation = scope["path"].rpartition(wire.PREFIX)[2].strip("/")
        decoder = self._decoders.get(operation)
        if decoder is None:
            raise _NoSuchOperation(f"'{operation}' is no operation of the log.", fix="See twinstack.log.http.wire.")
        if scope["method"] != "POST":
            raise _WrongMethod(f"{scope['method']} is not for the log.", fix="Send a POST request.")
        kind = wire.REQUESTS[operation]
        body = await _body(scope, receive, LOG_COMMIT_BYTES_MAX if kind in _LARGE else BODY_BYTES_MAX)
        try:
            return decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput(
                f"This body is no request '{operation}': {error}.",
                fix=f"Send MessagePack as {kind.__name__} in wire.py.",
            ) from error

    def _allow(self, action: str, topics: Iterable[str], scope: Scope) -> None:
        for topic in dict.fromkeys(topics):
            self._authorize(action, topic, scope)

    def _allow_id(self, action: str, uid: str, scope: Scope) -> None:
        scope[_MEMBER_ID] = uid
        self._authorize(action, None, scope)

    # Records

    async def _fetch(self, request: wire.Fetch, scope: Scope) -> Any:
        self._allow("read", (want.topic for want in request.wants), scope)
        if request.membership is not None:
            self._allow_id("group", request.membership.group, scope)
        return await self._on_loop.fetch(
            request.wants, request.wait_ms, request.records_max, request.bytes_max, request.membership
        )

    async def _append(self, request: wire.Append, scope: Scope) -> list[int]:
        self._allow("write", (part.topic for part in request.parts), scope)
        rows = await self._on_loop.checked_rows(request.parts)
        answer = await self._on_loop.append(rows, Retry(request.producer, request.sequence))
        hit("log.http.after_commit")
        return answer

    async def _init(self, request: wire.Init, scope: Scope) -> Any:
        self._allow_id("transact", request.transactional_id, scope)
        return await self._on_loop.act(lambda connection: self._log.writer.init(connection, request.transactional_id))

    async def _commit(self, request: wire.Commit, scope: Scope) -> None:
        self._allow_id("transact", request.transactional_id, scope)
        self._allow("write", (part.topic for part in request.parts), scope)
        self._allow("read", (topic for topic, _, _ in request.offsets), scope)
        rows = await self._on_loop.checked_rows(request.parts)
        offsets = self._log.offsets(request.group, None, _offsets(request.offsets))
        owner = Owner(request.transactional_id, request.epoch, request.sequence)
        await self._on_loop.append(rows, owner, offsets)
        hit("log.http.after_commit")

    async def _layout(self, request: wire.Layout, scope: Scope) -> Any:
        self._allow("describe", [request.topic], scope)
        return self._log.layout(request.topic)

    async def _resolve(self, request: wire.Resolve, scope: Scope) -> list[Resolved]:
        self._allow("read", (topic for topic, _, _ in request.positions), scope)
        wanted = {TopicPartition(topic, partition): position for topic, partition, position in request.positions}
        found = self._log.resolve(wanted)
        return [found[TopicPartition(topic, partition)] for topic, partition, _ in request.positions]

    # Groups

    async def _join(self, request: wire.Join, scope: Scope) -> Any:
        self._allow_id("group", request.group, scope)
        self._allow("read", request.topics, scope)
        return await self._on_loop.act(self._log.joining(request.group, request.topics, request.member, local=False))

    async def _leave(self, request: wire.Leave, scope: Scope) -> None:
        self._allow_id("group", request.group, scope)
        await self._on_loop.act(self._log.leaving(request.group, [request.member]))

    async def _heartbeat(self, request: wire.Heartbeat, scope: Scope) -> Any:
        self._allow_id("group", request.membership.group, scope)
        return self._log.groups.moved(request.membership)

    async def _commit_offsets(self, request: wire.CommitOffsets, scope: Scope) -> None:
        self._allow_id("group", request.group, scope)
        self._allow("read", (topic for topic, _, _ in request.offsets), scope)
        if request.membership is not None and request.membership.group != request.group:
            raise InvalidInput("The membership is one of another group.", fix="Send the group's own.")
        offsets = self._log.offsets(request.group, request.membership, _offsets(request.offsets))
        if offsets is not None:
            await self._on_loop.append([], None, offsets)

    async def _committed(self, request: wire.Committed, scope: Scope) -> list[tuple[str, int, int]]:
        self._allow_id("group", request.group, scope)
        committed = await self._on_loop.in_thread(lambda: self._log.committed(request.group))
        return [(tp.topic, tp.partition, following) for tp, following in committed.items()]

    async def _delete_group(self, request: wire.DeleteGroup, scope: Scope) -> None:
        self._allow_id("group", request.group, scope)
        await self._on_loop.act(lambda connection: self._log.groups.delete(connection, request.group))

    # Administration

    async def _create_topics(self, request: wire.CreateTopics, scope: Scope) -> Any:
        self._allow("create", (spec.name for spec in request.specs), scope)
        specs = [TopicSpec(**msgspec.structs.asdict(spec)) for spec in request.specs]
        return await self._on_loop.act(self._admin.creating(specs))

    async def _delete_topics(self, request: wire.DeleteTopics, scope: Scope) -> None:
        self._allow("delete", request.names, scope)
        await self._on_loop.act(self._admin.deleting(request.names))

    async def _topics(self, request: wire.Topics, scope: Scope) -> list[tuple[str, int, str, str]]:
        if request.name is not None:
            self._allow("describe", [request.name], scope)
            found = [self._admin.describe(request.name)]
        else:
            found = [info for info in self._admin.topics().values() if self._may_see(info.name, scope)]
        return [(info.name, info.partitions, info.uuid, info.cleanup) for info in found]

    def _may_see(self, topic: str, scope: Scope) -> bool:
        try:
            self._authorize("describe", topic, scope)
        except PermissionDenied:
            return False
        return True

    async def _offsets_at(self, request: wire.OffsetsAt, scope: Scope) -> list[int]:
        self._allow("read", (topic for topic, _ in request.places), scope)
        places = [TopicPartition(topic, partition) for topic, partition in request.places]
        found = await self._on_loop.in_thread(lambda: self._admin.offsets_at(places, request.timestamp_ms))
        return [found[place] for place in places]

    async def _delete_records(self, request: wire.DeleteRecords, scope: Scope) -> None:
        self._allow("alter", (topic for topic, _, _ in request.before), scope)
        await self._on_loop.act(self._admin.deleting_records(_offsets(request.before)))

    async def _ping(self, request: wire.Ping, scope: Scope) -> None:
        self._authorize("ping", None, scope)
        await self._on_loop.act(lambda connection: None)


class _NoSuchOperation(InvalidInput):
    http_status = 404


class _WrongMethod(InvalidInput):
    http_status = 405


def _offsets(triples: Iterable[tuple[str, int, int]]) -> dict[TopicPartition, int]:
    return {TopicPartition(topic, partition): offset for topic, partition, offset in triples}


async def _body(scope: Scope, receive: Receive, bytes_max: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    declared = dict(cast("Iterable[tuple[bytes, bytes]]", scope["headers"])).get(b"content-length", b"0")
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput("The connection ended before the body did.")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > bytes_max or (declared.isdigit() and int(declared[:12]) > bytes_max):
            raise _TooLarge(f"The body is larger than {bytes_max} bytes.", fix="Send smaller requests.")
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _answer(send: Send, status: int, media_type: str, body: bytes) -> None:
    headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
