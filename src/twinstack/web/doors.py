"""The doors of the protocols, each an ASGI application of its own that gets the whole path and asks the one policy."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Scope

from twinstack.bridges.kafka_rest import Caller, KafkaRestApp
from twinstack.core.names import split_topic
from twinstack.log.embedded import EmbeddedLog
from twinstack.log.http import LogService
from twinstack.log.http.wire import PREFIX as LOG_PREFIX
from twinstack.platform.policy import Action, Actor, Object, require
from twinstack.platform.service import Platform
from twinstack.sensorthings.http import SensorThingsApp

_LOG_ACTIONS = {
    "read": Action.CONSUME,
    "write": Action.PRODUCE,
    "describe": Action.SEE,
    "create": Action.CREATE,
    "delete": Action.DELETE,
    "alter": Action.DELETE,
    "transact": Action.PRODUCE,
    "group": Action.CONSUME,
    "ping": Action.SEE,
}
_REST_ACTIONS = {
    "list": Action.SEE,
    "describe": Action.SEE,
    "read": Action.CONSUME,
    "write": Action.PRODUCE,
    "group": Action.CONSUME,
}
_DATA_ACTIONS = {"read": Action.READ, "create": Action.WRITE, "write": Action.WRITE, "delete": Action.DELETE}


class ProtocolDoors:
    """`by_prefix`: path prefix -> application. `stop` ends long polls when the server begins to stop, `close` what
    they hold open."""

    def __init__(self, platform: Platform) -> None:
        self._rest = KafkaRestApp(platform.log, _ask_rest, log_key_of=platform.log_keys.find)
        self._sensorthings = SensorThingsApp(
            platform.store, base_url=platform.settings.public_url or None, decide=_ask_data
        )
        self.by_prefix: dict[str, ASGIApp] = {
            "/v1.1": self._sensorthings,
            "/v1.0": self._sensorthings,
            "/topics": self._rest,
            "/consumers": self._rest,
            "/brokers": self._rest,
        }
        self._log: LogService | None = None
        if isinstance(platform.log, EmbeddedLog):
            self._log = LogService(platform.log, _ask_log)
            self.by_prefix[LOG_PREFIX] = self._log

    def stop(self) -> None:
        self._rest.stop()
        if self._log is not None:
            self._log.stop()

    async def close(self) -> None:
        await self._rest.close()
        await asyncio.to_thread(self._sensorthings.close)


def _topic(name: str) -> Object:
    system = split_topic(name)
    return Object("topic", name, system[0] if system else "")


def _ask_log(action: str, topic: str | None, scope: Any) -> None:
    if topic is not None:
        target = _topic(topic)
    else:
        target = Object("transaction" if action == "transact" else "group", str(scope.get("twinstack.log.id", "")))
    require(scope["twinstack.actor"], _LOG_ACTIONS[action], target)


def _ask_rest(scope: Scope, action: str, name: str) -> Caller:
    actor: Actor = scope["twinstack.actor"]
    require(actor, _REST_ACTIONS[action], Object("group", name) if action == "group" else _topic(name))
    return Caller(actor.id or actor.kind)


def _ask_data(actor: Any, action: str, target: str) -> None:
    require(actor, _DATA_ACTIONS[action], Object("datastream", target))
