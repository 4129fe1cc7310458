"""A reader over HTTP: one consumer instance of the API, made anew when the server forgot it.

The answer to a read may get lost with what it held, and the server has moved on then. So after any read that failed
the instance is deleted and made again: it begins at the group's committed offsets (an assigned one at the positions
that were received here), and nothing is skipped.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from twinstack.client.http import HttpServer
from twinstack.core import limits
from twinstack.core.errors import Fenced, NotFound, TwinstackError, Unavailable, UnknownTopic
from twinstack.log.seam import Batch, Headers, Start, TopicPartition

_TYPE = {"Content-Type": "application/vnd.kafka.v2+json", "Accept": "application/vnd.kafka.v2+json"}
_RECORDS = {"Accept": "application/vnd.kafka.binary.v2+json"}
_ANSWER_S = 10.0
_RETRY_S = 0.5

logger = logging.getLogger(__name__)


class ListBatch:
    """Consecutive records of one partition, decoded from an answer."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.values: list[bytes | None] = []
        self.keys: list[bytes | None] = []
        self.headers: list[Headers] = []
        self.timestamps_ms: list[int] = []
        self.offsets: list[int] = []

    def headers_at(self, indices: Sequence[int]) -> list[Headers]:
        return [self.headers[index] for index in indices]

    @property
    def next_offset(self) -> int:
        return self.offsets[-1] + 1

    def __len__(self) -> int:
        return len(self.values)


class _Header(msgspec.Struct):
    name: str
    value: str | None = None


class _Record(msgspec.Struct):
    topic: str
    partition: int
    offset: int
    key: str | None = None
    value: str | None = None
    timestamp: int = -1
    headers: list[_Header] = []


_decode = msgspec.json.Decoder(list[_Record]).decode


class RestReader:
    def __init__(self, server: HttpServer, group: str, start: Start) -> None:
        self._server = server
        self._group = group
        self._start: Start = start
        self._topics: list[str] = []
        self._positions: dict[TopicPartition, int | Start] = {}
        self._path = ""
        self._closed = False

    def subscribe(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)
        self._open_or_close()

    def assign(self, positions: Mapping[TopicPartition, int | Start]) -> None:
        self._positions = dict(positions)
        self._open_or_close()

    def _open_or_close(self) -> None:
        try:
            self._open()
        except BaseException:
            self._drop()
            self._server.close()
            raise

    def poll(self, timeout_s: float, records_max: int = 5_000) -> list[Batch]:
        """Errors: PermissionDenied, UnknownTopic. A server that is away gives nothing: it is waited for."""
        until_s = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, until_s - time.monotonic())
            wait_ms = min(int(left_s * 1000), limits.LOG_LONG_POLL_MS_MAX - 1_000)
            try:
                if not self._path:
                    self._open()
                answer = self._server.request(
                    "GET",
                    f"{self._path}/records",
                    query={"timeout": str(wait_ms)},
                    headers=_RECORDS,
                    timeout_s=wait_ms / 1000 + _ANSWER_S,
                )
                batches = _batches(answer.content)
            except NotFound as error:
                self._path = ""
                if isinstance(error, UnknownTopic):
                    raise
            except Unavailable as error:
                logger.debug("reading again: %s", error)
                self._drop()
                time.sleep(min(_RETRY_S, max(0.0, until_s - time.monotonic())))
            else:
                for batch in batches:
                    tp = TopicPartition(batch.topic, batch.partition)
                    if tp in self._positions:
                        self._positions[tp] = batch.next_offset
                if batches or time.monotonic() >= until_s:
                    return batches
                continue
            if time.monotonic() >= until_s:
                return []

    def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Errors: Fenced when the server forgot the instance meanwhile, or is away: the records come again."""
        body: dict[str, Any] = {}
        if offsets is not None:
            # the API names the last record that was processed
            body["offsets"] = [{"topic": t, "partition": p, "offset": o - 1} for (t, p), o in offsets.items()]
        if not self._path:
            raise Fenced("The consumer instance is gone.", fix="The records come again.")
        try:
            self._request("POST", f"{self._path}/offsets", body)
        except (NotFound, Unavailable) as error:
            self._drop()
            raise Fenced(f"The offsets were not committed: {error.message}", fix="The records come again.") from None

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._drop()
            self._server.close()

    # The instance

    def _request(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        answer = self._server.request(
            method, path, body=msgspec.json.encode(body), headers=_TYPE, timeout_s=_ANSWER_S * 2
        )
        return msgspec.json.decode(answer.content) if answer.content else None

    def _open(self) -> None:
        """Makes the instance and places it. Errors: UnknownTopic, PermissionDenied, Unavailable."""
        config = {"format": "binary", "auto.offset.reset": self._start, "auto.commit.enable": "false"}
        made = self._request("POST", f"/consumers/{quote(self._group)}", config)
        path = f"/consumers/{quote(self._group)}/instances/{quote(str(made['instance_id']))}"
        self._path = path
        try:
            if self._topics:
                self._request("POST", f"{path}/subscription", {"topics": self._topics})
            if self._positions:
                self._place(path)
        except NotFound as error:
            self._drop()
            topics = ", ".join(self._topics) or ", ".join(sorted({tp.topic for tp in self._positions}))
            raise UnknownTopic(f"{topics}: {error.message}", fix=error.fix) from None
        except TwinstackError:
            self._drop()
            raise

    def _place(self, path: str) -> None:
        partitions = [{"topic": t, "partition": p} for t, p in self._positions]
        self._request("POST", f"{path}/assignments", {"partitions": partitions})
        for start, word in (("earliest", "beginning"), ("latest", "end")):
            tps = [{"topic": t, "partition": p} for (t, p), at in self._positions.items() if at == start]
            if tps:
                self._request("POST", f"{path}/positions/{word}", {"partitions": tps})
        exact = [
            {"topic": t, "partition": p, "offset": at} for (t, p), at in self._positions.items() if isinstance(at, int)
        ]
        if exact:
            self._request("POST", f"{path}/positions", {"offsets": exact})

    def _drop(self) -> None:
        path, self._path = self._path, ""
        if path:
            try:
                self._server.request("DELETE", path, headers=_TYPE, timeout_s=2.0)
            except TwinstackError as error:
                logger.debug("the instance expires by itself: %s", error)


def _batches(content: bytes) -> list[Batch]:
    """Neighbouring records of one partition together. Errors: Unavailable for an answer that is not understood."""
    batches: list[ListBatch] = []
    try:
        for record in _decode(content):
            last = batches[-1] if batches else None
            if last is None or last.topic != record.topic or last.partition != record.partition:
                last = ListBatch(record.topic, record.partition)
                batches.append(last)
            last.values.append(_bytes(record.value))
            last.keys.append(_bytes(record.key))
            last.headers.append(tuple((h.name, _bytes(h.value) or b"") for h in record.headers))
            last.timestamps_ms.append(record.timestamp)
            last.offsets.append(record.offset)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Unavailable(f"The answer is not understood: {error}", fix="Is this the platform's server?") from None
    return list(batches)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
