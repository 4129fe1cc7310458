"""A real uvicorn on a thread: the Kafka REST doors over a log, and registration over the client's local metadata."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Scope

from twinstack.bridges.kafka_rest import Caller, KafkaRestApp
from twinstack.client.local import LocalMetadata, LocalStore
from twinstack.core.errors import TwinstackError

Decide = Callable[[Scope, str, str], Caller]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def lab(scope: Scope, action: str, name: str) -> Caller:
    """Everybody may do everything."""
    return Caller("lab")


class DoorsServer:
    def __init__(self, store: LocalStore, *, port: int | None = None, authorize: Decide = lab) -> None:
        self.store = store
        self.port = port or free_port()
        self._authorize = authorize
        self.fail_after_storing = 0
        """So many produce requests are carried out and then answered 500."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.doors = KafkaRestApp(self.store.log, self._authorize)
        app = Starlette(
            routes=[
                Route("/api/v1/systems/{system}/instances", self._register, methods=["POST"]),
                Route("/v1.1", self._root),
                Route("/v1.1/Datastreams", self._find),
                Route("/v1.1/Datastreams({id:int})", self._get),
                Mount("/", self._doors),
            ]
        )
        config = uvicorn.Config(
            app, host="127.0.0.1", port=self.port, log_level="critical", loop="asyncio", timeout_graceful_shutdown=1
        )
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        until_s = time.monotonic() + 10
        while not self._uvicorn.started and time.monotonic() < until_s:
            time.sleep(0.01)

    def _serve(self) -> None:
        async def serve() -> None:
            await self._uvicorn.serve()
            await self.doors.close()

        asyncio.run(serve())

    def stop(self) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(15)
        assert not self._thread.is_alive()

    async def _doors(self, scope: Scope, receive: Callable, send: Callable) -> None:
        if self.fail_after_storing and scope["method"] == "POST" and scope["path"].startswith("/topics/"):
            self.fail_after_storing -= 1
            await self.doors(scope, receive, _swallow)
            raise RuntimeError("the answer is lost")
        await self.doors(scope, receive, send)

    async def _root(self, request: Request) -> Response:
        return JSONResponse({"value": []})

    async def _register(self, request: Request) -> Response:
        body = await request.json()
        metadata = LocalMetadata(self.store, request.path_params["system"])
        try:
            done = await asyncio.to_thread(metadata.register, body["client"], body["instances"])
        except TwinstackError as error:
            problem = {"title": "x", "detail": error.message, "code": error.code, "fix": error.fix}
            return JSONResponse(problem, error.http_status, media_type="application/problem+json")
        sections = {"Things": done.things, "Sensors": done.sensors, "Datastreams": done.datastreams}
        return JSONResponse(
            {"system": done.system, "created_system": False, **{k: dict(v) for k, v in sections.items()}}
        )

    async def _find(self, request: Request) -> Response:
        name = request.query_params["$filter"].removeprefix("name eq '").removesuffix("'").replace("''", "'")
        found = self.store.datastream(name)
        return JSONResponse({"value": [found] if found else []})

    async def _get(self, request: Request) -> Response:
        name = self.store.datastream_names().get(request.path_params["id"])
        found = self.store.datastream(name) if name else None
        return JSONResponse(found) if found else JSONResponse({"code": 404, "message": "no such entity"}, 404)


async def _swallow(message: object) -> None:
    pass
