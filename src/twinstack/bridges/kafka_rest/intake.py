"""What a produce request does: repeated records are found, new ones go to the lanes."""

from __future__ import annotations

import asyncio
import time

from twinstack.bridges.kafka_rest.answers import PartitionNotFound
from twinstack.bridges.kafka_rest.lanes import Lanes, under_way
from twinstack.bridges.kafka_rest.seen import Outcome, Seen, read_tail
from twinstack.bridges.kafka_rest.wire import Incoming
from twinstack.core import limits
from twinstack.core.errors import InvalidInput, TwinstackError
from twinstack.log.seam import Log, OutRecord, TopicInfo


class Intake:
    """Used on the event loop. `caller` is the id of the credential."""

    def __init__(self, log: Log, lanes: Lanes) -> None:
        self._log = log
        self._lanes = lanes
        self._seen = Seen(lambda: time.time_ns() // 1_000_000)
        self._tails: dict[str, asyncio.Task[None]] = {}

    async def learn(self, info: TopicInfo) -> None:
        """Once per topic and process: learns the ids at the end of the log."""
        task = self._tails.get(info.uuid)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._tails[info.uuid] = asyncio.create_task(self._read_tail(info))
        await asyncio.shield(task)

    async def _read_tail(self, info: TopicInfo) -> None:
        tail = await self._lanes.call(info.name, lambda: read_tail(self._log, info.name, info.partitions))
        self._seen.add_tail(info.name, tail)

    async def store(self, caller: str, info: TopicInfo, incoming: list[Incoming]) -> list[Outcome]:
        """The outcome of each record; repeated ones get that of the first."""
        waits: list[Outcome | asyncio.Future[Outcome]] = []
        fresh: list[tuple[OutRecord, asyncio.Future[Outcome]]] = []
        for record, ts_id, error in incoming:
            if record is None or error is not None:
                waits.append(error or InvalidInput("The record is wrong."))
                continue
            if record.partition is not None and not 0 <= record.partition < info.partitions:
                waits.append(PartitionNotFound(f"'{info.name}' has no partition {record.partition}."))
                continue
            known = self._seen.find(caller, info.name, record.key, ts_id) if ts_id else None
            if known is None:
                known = (
                    self._seen.begin(caller, info.name, record.key, ts_id)
                    if ts_id
                    else asyncio.get_running_loop().create_future()
                )
                fresh.append((record, known))
            waits.append(known)
        if fresh:
            try:
                self._lanes.produce(info.name, fresh)
            except TwinstackError as refused:
                for _, future in fresh:
                    future.set_result(refused)
        futures = [wait for wait in waits if isinstance(wait, asyncio.Future)]
        if futures:
            # a little longer than the lane: its answer, not ours, should decide
            await asyncio.wait(futures, timeout=limits.REST_PRODUCE_TIMEOUT_MS / 1000 + 2)
        return [
            wait if not isinstance(wait, asyncio.Future) else wait.result() if wait.done() else under_way()
            for wait in waits
        ]
