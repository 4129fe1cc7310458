"""Consumer instances of the REST doors end with all they hold, also when the log cannot let go of them."""

import asyncio
from typing import Any

import pytest

from twinstack.bridges.kafka_rest.instances import InstanceConfig, Instances
from twinstack.core import limits
from twinstack.core.errors import StorageFull


class FullLog:
    """Its consumers cannot leave their group: the disk is full."""

    def consumer(self, **_: Any) -> "FullLog":
        return self

    def assignment(self) -> list[Any]:
        return []

    def close(self) -> None:
        raise StorageFull("The disk is full.")


async def opened(instances: Instances, name: str) -> Any:
    instances.create("g", "g", name, "caller", InstanceConfig())
    instance = instances.get("g", name, "caller")
    await instance.call(instance.assignments)
    return instance


async def test_deleting_ends_the_thread():
    instances = Instances(FullLog())
    instance = await opened(instances, "one")
    await instances.delete("g", "one", "caller")
    with pytest.raises(RuntimeError, match="shutdown"):
        await instance.call(instance.assignments)
    await instances.close()


async def test_one_that_cannot_end_does_not_keep_others_from_expiring(monkeypatch):
    monkeypatch.setattr(limits, "REST_CONSUMER_IDLE_MS", 50)
    instances = Instances(FullLog())
    for name in ("one", "two", "three"):
        await opened(instances, name)
    for _ in range(100):
        await asyncio.sleep(0.02)
        if not instances._instances:
            break
    assert not instances._instances
    await instances.close()
