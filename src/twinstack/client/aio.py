# ruff: noqa: ASYNC109 - `timeout` is part of the names that both clients share
"""The asyncio twin: the same client with the same names, its calls made on two threads of its own.

There is one core, `DigitalTwinClient`. Producing and consuming have a thread each, so that a `consume` that waits
does not hold up a `produce`, and the event loop never waits for the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from twinstack.client.digital_twin_client import DigitalTwinClient, FileOrMapping
from twinstack.client.encoding import Timestamp
from twinstack.client.logs import LogLine, LogReader
from twinstack.client.metadata import Registration
from twinstack.client.presence import State
from twinstack.client.receipts import Receipt
from twinstack.client.record import Record
from twinstack.core.errors import Conflict, Undelivered
from twinstack.core.names import DEFAULT_SYSTEM
from twinstack.log.seam import LATEST, Start

P = ParamSpec("P")
T = TypeVar("T")
_RECORDS_POLL_S = 1.0


class AsyncDigitalTwinClient:
    """`DigitalTwinClient` for asyncio: every method is awaited, iterations are `async for`.

        async with AsyncDigitalTwinClient("car_1", system, "localhost:1908", kafka_rest_server=...) as client:
            await client.register("instances.json")
            receipt = await client.produce("speed", 12.5)
            await receipt
            await client.subscribe(["..."])
            async for record in client.records(timeout=5): ...

    Nothing is contacted before `async with`, `connect()` or the first call.
    """

    def __init__(
        self,
        client_name: str,
        system: str,
        gost_servers: str,
        kafka_bootstrap_servers: str | None = None,
        kafka_rest_server: str | None = None,
        additional_attributes: str = "",
        *,
        token: str | None = None,
        group: str | None = None,
        on_state: Callable[[State], None] | None = None,
    ) -> None:
        """The arguments of `DigitalTwinClient`; `on_state` is called on a thread of the client."""
        self._prepare(
            lambda: DigitalTwinClient(
                client_name,
                system,
                gost_servers,
                kafka_bootstrap_servers,
                kafka_rest_server,
                additional_attributes,
                token=token,
                group=group,
                on_state=on_state,
            )
        )

    @classmethod
    def local(
        cls,
        folder: str | Path | None = None,
        *,
        client_name: str = "local",
        system: str = DEFAULT_SYSTEM,
        additional_attributes: str = "",
        group: str | None = None,
        on_state: Callable[[State], None] | None = None,
    ) -> Self:
        """`DigitalTwinClient.local`, opened at the first call."""
        self = cls.__new__(cls)
        self._prepare(
            lambda: DigitalTwinClient.local(
                folder,
                client_name=client_name,
                system=system,
                additional_attributes=additional_attributes,
                group=group,
                on_state=on_state,
            )
        )
        return self

    def _prepare(self, make: Callable[[], DigitalTwinClient]) -> None:
        self._make = make
        self._client: DigitalTwinClient | None = None
        self._closed = False
        self._opening: Future[DigitalTwinClient] | None = None
        self._producing = ThreadPoolExecutor(1, thread_name_prefix="twinstack-produce")
        self._consuming = ThreadPoolExecutor(1, thread_name_prefix="twinstack-consume")
        self._under_way: Future[list[Record]] | None = None

    async def connect(self) -> Self:
        """Connects; a failure leaves nothing open and the next call tries again."""
        await self._core()
        return self

    async def _core(self) -> DigitalTwinClient:
        if self._closed:
            raise Conflict("The client is disconnected.", fix="Make a new AsyncDigitalTwinClient.")
        if self._client is None:
            # one opening for all tasks that arrive meanwhile
            opening = self._opening = self._opening or self._producing.submit(self._make)
            try:
                self._client = await asyncio.shield(asyncio.wrap_future(opening))
            except asyncio.CancelledError:
                raise
            except BaseException:
                self._opening = None
                raise
        return self._client

    async def _produce(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._producing.submit(call, *args, **kwargs))

    async def _consume(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._consuming.submit(call, *args, **kwargs))

    async def register(self, instance_file: FileOrMapping) -> Registration:
        return await self._produce((await self._core()).register, instance_file)

    async def register_new(self, instance_file: FileOrMapping) -> Registration:
        return await self.register(instance_file)

    async def register_existing(self, mappings_file: FileOrMapping) -> Registration:
        return await self._produce((await self._core()).register_existing, mappings_file)

    async def produce(
        self, quantity: str, result: Any, timestamp: Timestamp | None = None, **attributes: Any
    ) -> Receipt:
        """Returns when the record is queued; `await receipt` waits until it is acknowledged."""
        return await self._produce((await self._core()).produce, quantity, result, timestamp, **attributes)

    async def produce_many(
        self,
        quantity: str,
        results: Sequence[Any],
        timestamps: Sequence[Timestamp] | None = None,
        **attributes: Any,
    ) -> Receipt:
        return await self._produce((await self._core()).produce_many, quantity, results, timestamps, **attributes)

    async def flush(self, timeout: float = 30.0) -> None:
        await self._produce((await self._core()).flush, timeout)

    async def subscribe(self, subscription_file: FileOrMapping | Sequence[str], *, start: Start = LATEST) -> None:
        core = await self._core()
        await self._consume(lambda: core.subscribe(subscription_file, start=start))

    async def consume(self, timeout: float = 1.0) -> list[Record]:
        """A call that is cancelled loses nothing: the next one returns what it would have returned."""
        core = await self._core()
        if self._under_way is None:
            self._under_way = self._consuming.submit(core.consume, timeout)
        under_way = self._under_way
        try:
            records = await asyncio.shield(asyncio.wrap_future(under_way))
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._under_way = None
            raise
        if self._under_way is not under_way:
            return []  # another task that waited for the same call has these records
        self._under_way = None
        return records

    async def records(self, timeout: float | None = None) -> AsyncIterator[Record]:
        core = await self._core()
        heard_s = time.monotonic()
        while not self._closed:
            wait_s = _RECORDS_POLL_S if timeout is None else min(_RECORDS_POLL_S, timeout)
            records = await self.consume(wait_s)
            core._consuming.hold(records)
            while (record := core._consuming.next_held()) is not None:
                yield record
            if records:
                heard_s = time.monotonic()
            elif timeout is not None and time.monotonic() - heard_s >= timeout:
                return

    async def commit(self) -> None:
        await self._consume((await self._core()).commit)

    async def logs(self, timeout: float | None = None, *, start: Start = LATEST) -> AsyncIterator[LogLine]:
        """Positioned at the first step of the iteration."""
        core = await self._core()
        with ThreadPoolExecutor(1, thread_name_prefix="twinstack-logs") as own:

            async def call(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
                return await asyncio.wrap_future(own.submit(work, *args, **kwargs))

            reader = await call(LogReader, core._wired.transport, core._system, start)
            heard_s = time.monotonic()
            try:
                while not self._closed and (timeout is None or time.monotonic() - heard_s < timeout):
                    lines = await call(reader.read, 0.5 if timeout is None else min(0.5, timeout))
                    for line in lines:
                        yield line
                        heard_s = time.monotonic()
            finally:
                await call(reader.close)

    @property
    def state(self) -> State:
        if self._client is None:
            return "closed" if self._closed else "connecting"
        return self._client.state

    async def disconnect(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self._opening is not None:
                # also one that a cancelled task left half way
                client = await asyncio.wrap_future(self._opening)
                await asyncio.wrap_future(self._consuming.submit(lambda: None))
                await self._produce(client.disconnect)
        finally:
            self._producing.shutdown(wait=False)
            self._consuming.shutdown(wait=False)

    close = disconnect

    async def __aenter__(self) -> Self:
        try:
            return await self.connect()
        except BaseException:
            self._closed = True
            self._producing.shutdown(wait=False)
            self._consuming.shutdown(wait=False)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.disconnect()
        except Undelivered:
            if error is None:
                raise
