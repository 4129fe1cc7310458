"""The Kafka REST API v2 as an ASGI app, for `/topics`, `/consumers` and `/brokers` at the root (docs/http-doors.md).

Works over any log. The event loop never calls the log: writing goes through `Lanes`, each consumer instance has its
own thread, looking topics up uses a lane.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from twinstack.bridges.kafka_rest import answers
from twinstack.bridges.kafka_rest.bodies import body_of, json_body, number, offsets_of, partitions_of
from twinstack.bridges.kafka_rest.instances import Instance, Instances, parse_config
from twinstack.bridges.kafka_rest.intake import Intake
from twinstack.bridges.kafka_rest.lanes import Lanes
from twinstack.bridges.kafka_rest.wire import LogKeyOf, format_of, parse_produce
from twinstack.core import limits
from twinstack.core.errors import InvalidInput, TwinstackError, UnknownTopic
from twinstack.core.ids import new_uid
from twinstack.core.names import check_topic
from twinstack.log.seam import EARLIEST, LATEST, Delivery, Log, Start, TopicInfo, TopicPartition

Action = Literal["list", "describe", "read", "write", "group"]
_INFO_KEPT_S = 5.0


class Caller(NamedTuple):
    """Who asks: `id` names the credential; `group_prefix` stands before its consumer groups on the log."""

    id: str
    group_prefix: str = ""


class Authorize(Protocol):
    def __call__(self, scope: Scope, action: Action, name: str) -> Caller:
        """Decides one action on a topic (`describe`, `read`, `write`), a `group`, or the `list` of topics.

        Must not block. Errors: PermissionDenied, NotFound.
        """
        ...


class KafkaRestApp:
    """Mount it at the root for the paths `/topics`, `/consumers`, `/brokers`; `await close()` when the server stops.

    `log_key_of` finds the log key of a Datastream by its id, for records that came without a key.
    """

    def __init__(self, log: Log, authorize: Authorize, *, log_key_of: LogKeyOf | None = None) -> None:
        self._log = log
        self._authorize = authorize
        self._log_key_of = log_key_of
        self._lanes = Lanes(log)
        self._instances = Instances(log)
        self._intake = Intake(log, self._lanes)
        self._infos: dict[str, tuple[float, TopicInfo]] = {}
        at = "/consumers/{group}/instances/{instance}"
        self._router = Router(
            [
                self._route("GET", "/brokers", self._brokers),
                self._route("GET", "/topics", self._list_topics),
                self._route("GET", "/topics/{topic}", self._topic),
                self._route("POST", "/topics/{topic}", self._produce),
                self._route("GET", "/topics/{topic}/partitions", self._partitions),
                self._route("GET", "/topics/{topic}/partitions/{partition:int}", self._partition),
                self._route("POST", "/topics/{topic}/partitions/{partition:int}", self._produce),
                self._route("GET", "/topics/{topic}/partitions/{partition:int}/offsets", self._offsets),
                self._route("POST", "/consumers/{group}", self._create),
                self._route("DELETE", at, self._delete),
                self._route("POST", f"{at}/subscription", self._subscribe),
                self._route("GET", f"{at}/subscription", self._subscription),
                self._route("DELETE", f"{at}/subscription", self._unsubscribe),
                self._route("POST", f"{at}/assignments", self._assign),
                self._route("GET", f"{at}/assignments", self._assignments),
                self._route("POST", f"{at}/positions", self._seek),
                self._route("POST", f"{at}/positions/beginning", partial(self._seek_to, EARLIEST)),
                self._route("POST", f"{at}/positions/end", partial(self._seek_to, LATEST)),
                self._route("GET", f"{at}/records", self._records),
                self._route("POST", f"{at}/offsets", self._commit),
                self._route("GET", f"{at}/offsets", self._committed),
            ],
            default=_unknown_path,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._router(scope, receive, send)

    def stop(self) -> None:
        """Call it when the server begins to stop: long polls end within half a second. Never blocks."""
        self._instances.stop()

    async def close(self) -> None:
        """Ends all instances and writes what waits."""
        await self._instances.close()
        await asyncio.to_thread(self._lanes.close)

    def _route(self, method: str, path: str, handle: Callable[[Request], Awaitable[Response]]) -> Route:
        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except TwinstackError as error:
                return answers.failure(error)

        return Route(path, guarded, methods=[method])

    # Topics

    async def _brokers(self, request: Request) -> Response:
        self._authorize(request.scope, "list", "")
        # one address answers for all of them: clients of this API never speak to a broker
        return answers.answer({"brokers": [0]})

    async def _list_topics(self, request: Request) -> Response:
        self._authorize(request.scope, "list", "")
        names = await self._lanes.call("", lambda: sorted(self._log.admin().topics()))
        return answers.answer([name for name in names if self._may_describe(request.scope, name)])

    def _may_describe(self, scope: Scope, topic: str) -> bool:
        try:
            self._authorize(scope, "describe", topic)
        except TwinstackError:
            return False
        return True

    async def _info(self, request: Request, action: Action) -> TopicInfo:
        topic = check_topic(request.path_params["topic"])
        self._authorize(request.scope, action, topic)
        info = await self._describe(topic)
        partition = request.path_params.get("partition")
        if partition is not None and partition >= info.partitions:
            raise answers.PartitionNotFound(
                f"'{topic}' has no partition {partition}.", fix=f"It has 0 to {info.partitions - 1}."
            )
        return info

    async def _describe(self, topic: str) -> TopicInfo:
        known = self._infos.get(topic)
        if known is not None and time.monotonic() - known[0] < _INFO_KEPT_S:
            return known[1]
        self._infos.pop(topic, None)
        info = await self._lanes.call(topic, lambda: self._log.admin().describe(topic))
        self._infos[topic] = (time.monotonic(), info)
        return info

    async def _topic(self, request: Request) -> Response:
        info = await self._info(request, "describe")
        partitions = [_partition(number) for number in range(info.partitions)]
        configs = {"cleanup.policy": info.cleanup}
        return answers.answer({"name": info.name, "configs": configs, "partitions": partitions})

    async def _partitions(self, request: Request) -> Response:
        info = await self._info(request, "describe")
        return answers.answer([_partition(number) for number in range(info.partitions)])

    async def _partition(self, request: Request) -> Response:
        await self._info(request, "describe")
        return answers.answer(_partition(request.path_params["partition"]))

    async def _offsets(self, request: Request) -> Response:
        info = await self._info(request, "describe")
        tp = TopicPartition(info.name, request.path_params["partition"])

        def ask() -> tuple[int, int]:
            admin = self._log.admin()
            return admin.beginning_offsets([tp])[tp], admin.end_offsets([tp])[tp]

        begin, end = await self._lanes.call(info.name, ask)
        return answers.answer({"beginning_offset": begin, "end_offset": end})

    # Producing

    async def _produce(self, request: Request) -> Response:
        info = await self._info(request, "write")
        caller = self._authorize(request.scope, "write", info.name)
        content_type = request.headers.get("content-type", "")
        format_of(content_type)
        body = await body_of(request, limits.UPLOAD_BYTES_MAX)
        partition = request.path_params.get("partition")
        incoming = parse_produce(body, content_type, info.name, partition, self._log_key_of)
        await self._intake.learn(info)
        outcomes = await self._intake.store(caller.id, info, incoming)
        offsets = [
            {"partition": o.partition, "offset": o.offset, "error_code": None, "error": None}
            if isinstance(o, Delivery)
            else answers.record_failure(o)
            for o in outcomes
        ]
        return answers.answer({"offsets": offsets, "key_schema_id": None, "value_schema_id": None})

    # Consuming

    async def _create(self, request: Request) -> Response:
        group = check_topic(request.path_params["group"])
        caller = self._authorize(request.scope, "group", group)
        name, config = parse_config(await json_body(request))
        name = name or f"rest-consumer-{new_uid()}"
        self._instances.create(group, caller.group_prefix + group, name, caller.id, config)
        base = str(request.base_url).rstrip("/")
        uri = f"{base}/consumers/{quote(group)}/instances/{quote(name)}"
        return answers.answer({"instance_id": name, "base_uri": uri})

    def _instance(self, request: Request) -> Instance:
        group = request.path_params["group"]
        caller = self._authorize(request.scope, "group", group)
        return self._instances.get(group, request.path_params["instance"], caller.id)

    async def _delete(self, request: Request) -> Response:
        instance = self._instance(request)
        await self._instances.delete(request.path_params["group"], instance.name, instance.owner)
        return answers.no_content()

    async def _subscribe(self, request: Request) -> Response:
        instance = self._instance(request)
        body = await json_body(request)
        if "topic_pattern" in body:
            raise InvalidInput("topic_pattern is not served here.", fix="Name the topics.")
        topics = body.get("topics")
        if not isinstance(topics, list) or not topics or not all(isinstance(t, str) for t in topics):
            raise InvalidInput("The body has no 'topics'.", fix='Send {"topics": ["<system>.ext"]}.')
        for topic in topics:
            self._authorize(request.scope, "read", check_topic(topic))
            await self._describe(topic)
        await instance.call(instance.subscribe, topics)
        return answers.no_content()

    async def _subscription(self, request: Request) -> Response:
        return answers.answer({"topics": self._instance(request).topics})

    async def _unsubscribe(self, request: Request) -> Response:
        instance = self._instance(request)
        await instance.call(instance.unsubscribe)
        return answers.no_content()

    async def _assign(self, request: Request) -> Response:
        instance = self._instance(request)
        tps = partitions_of(await json_body(request), "partitions")
        for tp in tps:
            self._authorize(request.scope, "read", check_topic(tp.topic))
            if not 0 <= tp.partition < (await self._describe(tp.topic)).partitions:
                raise answers.PartitionNotFound(f"'{tp.topic}' has no partition {tp.partition}.")
        await instance.call(instance.assign, tps)
        return answers.no_content()

    async def _assignments(self, request: Request) -> Response:
        instance = self._instance(request)
        tps = await instance.call(instance.assignments)
        return answers.answer({"partitions": [{"topic": t, "partition": p} for t, p in tps]})

    async def _seek(self, request: Request) -> Response:
        instance = self._instance(request)
        await instance.call(instance.seek, offsets_of(await json_body(request)))
        return answers.no_content()

    async def _seek_to(self, start: Start, request: Request) -> Response:
        instance = self._instance(request)
        tps = partitions_of(await json_body(request), "partitions")
        await instance.call(instance.seek, dict.fromkeys(tps, start))
        return answers.no_content()

    async def _records(self, request: Request) -> Response:
        instance = self._instance(request)
        for topic in {*instance.topics, *(tp.topic for tp in instance.assigned)}:
            # asked again at each read: a right may be gone since the subscription
            self._authorize(request.scope, "read", topic)
        timeout_ms = number(request, "timeout", instance.config.timeout_ms, limits.LOG_LONG_POLL_MS_MAX)
        bytes_max = number(request, "max_bytes", limits.LOG_FETCH_BYTES_MAX, limits.LOG_FETCH_BYTES_MAX)
        records = await instance.call(instance.records, timeout_ms, bytes_max)
        content = b"[" + b",".join(records) + b"]"
        return Response(content, media_type=f"application/vnd.kafka.{instance.config.form}.v2+json")

    async def _commit(self, request: Request) -> Response:
        instance = self._instance(request)
        body = await json_body(request)
        # the API names the last record that was processed, the log the next one
        offsets = {tp: offset + 1 for tp, offset in offsets_of(body).items()} if body.get("offsets") else None
        await instance.call(instance.commit, offsets)
        return answers.no_content()

    async def _committed(self, request: Request) -> Response:
        instance = self._instance(request)
        tps = partitions_of(await json_body(request), "partitions")
        found = await instance.call(instance.committed, tps)
        offsets = [{"topic": t, "partition": p, "offset": o, "metadata": ""} for (t, p), o in found.items()]
        return answers.answer({"offsets": offsets})


def _partition(number: int) -> dict[str, Any]:
    return {"partition": number, "leader": 0, "replicas": [{"broker": 0, "leader": True, "in_sync": True}]}


async def _unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    error = UnknownTopic(f"{scope.get('method', '')} {scope.get('path', '')} is no address of the Kafka REST API.")
    response = answers.failure(error)
    response.status_code = 404
    await response(scope, receive, send)
