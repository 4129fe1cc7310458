"""What stands behind a client under test: nothing, a real HTTP server, a real Kafka.

The metadata of all three is `LocalMetadata`, served over HTTP where the client speaks HTTP: what is tested here is the
client and its transports, on real sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Scope

from twinstack import AsyncDigitalTwinClient, DigitalTwinClient
from twinstack.bridges.kafka_rest import Caller, KafkaRestApp
from twinstack.client.local import LocalMetadata, LocalStore, make_topics
from twinstack.core.errors import TwinstackError
from twinstack.core.names import parse_system
from twinstack.log.seam import Log


@dataclass
class Backend:
    """`connect` and `connect_async` take the keyword arguments of a client but the addresses."""

    name: str
    connect: Callable[..., DigitalTwinClient]
    connect_async: Callable[..., AsyncDigitalTwinClient]
    log: Log
    open_clients: list[DigitalTwinClient] = field(default_factory=list)

    def client(self, **kwargs: Any) -> DigitalTwinClient:
        client = self.connect(**kwargs)
        self.open_clients.append(client)
        return client

    def close_clients(self) -> None:
        for client in self.open_clients:
            with contextlib.suppress(TwinstackError):
                client.disconnect()
        self.open_clients.clear()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Server:
    """A real uvicorn on a thread: the doors over `store.log`, and registration over `LocalMetadata`."""

    def __init__(self, store: LocalStore, port: int | None = None) -> None:
        self.store = store
        self.port = port or free_port()
        self.requests: list[str] = []
        self.doors: KafkaRestApp | None = None

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
                Mount("/", self.doors),
            ]
        )
        config = uvicorn.Config(
            app, host="127.0.0.1", port=self.port, log_level="warning", loop="asyncio", timeout_graceful_shutdown=1
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
            assert self.doors is not None
            await self.doors.close()

        asyncio.run(serve())

    def stop(self) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(15)

    def _authorize(self, scope: Scope, action: str, name: str) -> Caller:
        self.requests.append(f"{scope['method']} {scope['path']}")
        return Caller("lab")

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
        return JSONResponse(
            {
                "system": done.system,
                "created_system": False,
                "Things": dict(done.things),
                "Sensors": dict(done.sensors),
                "Datastreams": dict(done.datastreams),
            }
        )

    async def _find(self, request: Request) -> Response:
        name = request.query_params["$filter"].removeprefix("name eq '").removesuffix("'").replace("''", "'")
        found = self.store.datastream(name)
        return JSONResponse({"value": [found] if found else []})

    async def _get(self, request: Request) -> Response:
        name = self.store.datastream_names().get(request.path_params["id"])
        found = self.store.datastream(name) if name else None
        return JSONResponse(found) if found else JSONResponse({"code": 404, "message": "no such entity"}, 404)


@contextmanager
def local(folder: Path) -> Iterator[Backend]:
    keeper = DigitalTwinClient.local(folder, client_name="keeper")
    try:
        yield Backend(
            "local",
            lambda **kw: DigitalTwinClient.local(folder, **kw),
            lambda **kw: AsyncDigitalTwinClient.local(folder, **kw),
            keeper._wired.metadata._store.log,  # type: ignore[attr-defined]
        )
    finally:
        keeper.disconnect()


@contextmanager
def http(folder: Path) -> Iterator[Backend]:
    store = LocalStore(folder)
    server = Server(store)
    server.start()
    try:
        at = {"gost_servers": server.address, "kafka_rest_server": server.address}
        yield Backend(
            "http",
            lambda **kw: DigitalTwinClient(**at, **kw),
            lambda **kw: AsyncDigitalTwinClient(**at, **kw),
            store.log,
        )
    finally:
        server.stop()
        store.log.close()


@contextmanager
def kafka(folder: Path) -> Iterator[Backend]:
    from services.kafka import running_kafka
    from twinstack.log.kafka import KafkaLog

    with running_kafka(folder) as cluster:
        log = KafkaLog(cluster.bootstrap, client_id="tests")
        server = Server(LocalStore(folder / "metadata", log))
        server.start()
        try:
            at = {"gost_servers": server.address, "kafka_bootstrap_servers": cluster.bootstrap}
            yield Backend(
                "kafka",
                lambda **kw: DigitalTwinClient(**at, **kw),
                lambda **kw: AsyncDigitalTwinClient(**at, **kw),
                log,
            )
        finally:
            server.stop()
            log.close()


BACKENDS: dict[str, Callable[[Path], AbstractContextManager[Backend]]] = {"local": local, "http": http, "kafka": kafka}


def prepare(log: Log, system: str) -> None:
    make_topics(log, parse_system(system))
