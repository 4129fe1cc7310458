"""What stands behind a client under test: nothing, a real HTTP server, a real Kafka.

The metadata of all three is `LocalMetadata`, served over HTTP where the client speaks HTTP: what is tested here is the
client and its transports, on real sockets.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.doors import DoorsServer
from twinstack import AsyncDigitalTwinClient, DigitalTwinClient
from twinstack.client.local import LocalStore, make_topics
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
    server = DoorsServer(store)
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
        server = DoorsServer(LocalStore(folder / "metadata", log))
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
