from __future__ import annotations

import asyncio
import inspect
import time

import pytest

from twinstack import AsyncDigitalTwinClient, DigitalTwinClient
from twinstack.core.errors import UnknownQuantity

INSTANCES = {
    "Things": {"thing": {"name": "Thing", "description": ""}},
    "Sensors": {"sensor": {"name": "Sensor", "description": "", "encodingType": "x", "metadata": ""}},
    "Datastreams": {
        "counter": {
            "name": "Counter",
            "observationType": "OM_CountObservation",
            "unitOfMeasurement": {"name": "", "symbol": "1", "definition": ""},
            "Thing": "thing",
            "Sensor": "sensor",
            "ObservedProperty": {"name": "Count"},
        }
    },
}
NAME = "lab.open.default.system.Thing.Counter"


def test_both_clients_have_the_same_names_and_arguments() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters) if callable(member) else []
            for name, member in inspect.getmembers(kind)
            if not name.startswith("_") or name == "__init__"
        }

    sync, twin = public(DigitalTwinClient), public(AsyncDigitalTwinClient)
    assert twin.pop("connect") == ["self"]
    assert sync == twin


async def test_a_cancelled_consume_loses_nothing() -> None:
    async with AsyncDigitalTwinClient.local() as client:
        await client.register(INSTANCES)
        await client.subscribe([NAME])
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.consume(timeout=2), 0.05)
        await client.produce_many("counter", [1, 2, 3])
        got = []
        while len(got) < 3:
            got += [r.result for r in await client.consume(timeout=2)]
        assert got == [1, 2, 3]


async def test_a_waiting_consume_holds_nothing_up() -> None:
    async with AsyncDigitalTwinClient.local() as client:
        await client.register(INSTANCES)
        await client.subscribe([NAME])
        waiting = asyncio.create_task(client.consume(timeout=10))
        await asyncio.sleep(0.1)
        began_s = time.monotonic()
        for i in range(5):
            await (await client.produce("counter", i))
        assert time.monotonic() - began_s < 2
        assert (await waiting)[0].result == 0


async def test_the_loop_runs_while_the_client_waits() -> None:
    async with AsyncDigitalTwinClient.local() as client:
        await client.register(INSTANCES)
        await client.subscribe([NAME])
        longest_s = 0.0

        async def tick() -> None:
            nonlocal longest_s
            while True:
                before_s = time.monotonic()
                await asyncio.sleep(0.005)
                longest_s = max(longest_s, time.monotonic() - before_s)

        ticker = asyncio.create_task(tick())
        await client.consume(timeout=0.5)
        await client.produce_many("counter", list(range(2_000)))
        await client.flush()
        ticker.cancel()
        assert longest_s < 0.25


async def test_concurrent_first_calls_open_one_client() -> None:
    client = AsyncDigitalTwinClient.local()
    await asyncio.gather(*(client.register(INSTANCES) for _ in range(4)))
    with pytest.raises(UnknownQuantity):
        await client.produce("nope", 1)
    lines = [line.event async for line in client.logs(timeout=0.3, start="earliest")]
    assert lines.count("connected") == 1
    await client.disconnect()
    assert client.state == "closed"
