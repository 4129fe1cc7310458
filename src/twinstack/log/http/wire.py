"""The log over HTTP, version 1: every call is `POST <prefix>/<operation>` with a MessagePack array as body and answer.

Packed batches travel as they are (packed.format). Errors are JSON: `TwinstackError.as_dict`. Fields are only ever
added at the end of an array: older sides ignore what they do not know.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from twinstack.core.limits import GROUP_SESSION_MS, LOG_FETCH_BYTES_MAX, LOG_LONG_POLL_MS_MAX, TOPIC_CHARS_MAX
from twinstack.log.packed.transport import Membership, Part, Want

PREFIX = "/api/log/v1"
MEDIA_TYPE = "application/vnd.twinstack.log"
HEARTBEAT_MS = GROUP_SESSION_MS // 3
NAME_CHARS_MAX = 255
TOPICS_MAX = 10_000

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
TopicName = Annotated[str, msgspec.Meta(min_length=1, max_length=TOPIC_CHARS_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Place = tuple[TopicName, Count]
"""Topic and partition."""


class Request(msgspec.Struct, array_like=True):
    pass


class Fetch(Request):
    wants: list[Want]
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=LOG_LONG_POLL_MS_MAX)]
    records_max: Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
    bytes_max: Annotated[int, msgspec.Meta(ge=1, le=LOG_FETCH_BYTES_MAX)]
    membership: Membership | None = None


class Append(Request):
    parts: Annotated[list[Part], msgspec.Meta(min_length=1)]
    producer: Name
    sequence: Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]


class Init(Request):
    transactional_id: Name


class Commit(Request):
    transactional_id: Name
    epoch: Count
    sequence: Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]
    parts: list[Part]
    group: Name | None = None
    offsets: list[tuple[TopicName, Count, Offset]] = []


class Layout(Request):
    topic: TopicName


class Resolve(Request):
    positions: list[tuple[TopicName, Count, Offset | Literal["earliest", "latest"]]]


class Join(Request):
    group: Name
    topics: Annotated[list[TopicName], msgspec.Meta(min_length=1, max_length=TOPICS_MAX)]
    member: Name


class Leave(Request):
    group: Name
    member: Name


class Heartbeat(Request):
    membership: Membership


class CommitOffsets(Request):
    group: Name
    membership: Membership | None
    offsets: list[tuple[TopicName, Count, Offset]]


class Committed(Request):
    group: Name


class Spec(Request):
    name: str
    partitions: int
    cleanup: Literal["delete", "compact"] = "delete"
    retention_ms: Annotated[int, msgspec.Meta(ge=-1, le=1 << 53)] | None = None
    max_record_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 31)] | None = None
    config: dict[str, str] = {}


class CreateTopics(Request):
    specs: Annotated[list[Spec], msgspec.Meta(max_length=TOPICS_MAX)]


class DeleteTopics(Request):
    names: list[str]


class Topics(Request):
    name: str | None = None
    """One topic, which must exist; None: all the caller may see."""


class OffsetsAt(Request):
    places: list[Place]
    timestamp_ms: Milliseconds


class DeleteRecords(Request):
    before: list[tuple[TopicName, Count, Offset]]


class DeleteGroup(Request):
    group: Name


class Ping(Request):
    pass


REQUESTS: dict[str, type[Request]] = {
    "fetch": Fetch,
    "append": Append,
    "init": Init,
    "commit": Commit,
    "layout": Layout,
    "resolve": Resolve,
    "groups/join": Join,
    "groups/leave": Leave,
    "groups/heartbeat": Heartbeat,
    "groups/commit": CommitOffsets,
    "groups/committed": Committed,
    "groups/delete": DeleteGroup,
    "topics/create": CreateTopics,
    "topics/delete": DeleteTopics,
    "topics": Topics,
    "offsets-at": OffsetsAt,
    "delete-records": DeleteRecords,
    "ping": Ping,
}
OPERATIONS: dict[type[Request], str] = {kind: name for name, kind in REQUESTS.items()}

encode = msgspec.msgpack.Encoder().encode
