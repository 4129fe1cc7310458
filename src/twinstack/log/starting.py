"""Joining a group so that nothing between the call and the first poll is missed.

A consumer that starts at `latest` learns its position when it is assigned, which on a cluster is seconds after
`subscribe`: what was written meanwhile would never be seen, and a crash before the first commit would move the start
again. So the end of each partition is taken at the call, and committed for partitions without an offset.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from twinstack.core.errors import Fenced
from twinstack.log.seam import LATEST, Consumer, Log, Start, TopicPartition

JOIN_TIMEOUT_S = 10.0
_POLL_S = 0.05


def subscribe_pinned(
    log: Log, consumer: Consumer, topics: Sequence[str], start: Start, *, timeout_s: float = JOIN_TIMEOUT_S
) -> None:
    """Subscribes, waits for the assignment, and fixes the start of partitions that the group never committed.

    Returns also when the group gives this member no partition within the time-out (others have them all): then it
    takes part in later assignments with their committed offsets. Errors: UnknownTopic.
    """
    admin = log.admin()
    tps = [TopicPartition(t, p) for t in topics for p in range(admin.describe(t).partitions)]
    ends = admin.end_offsets(tps) if start == LATEST else {}
    consumer.subscribe(topics)
    if start != LATEST:
        return
    deadline_s = time.monotonic() + timeout_s
    while not (mine := consumer.assignment()) and time.monotonic() < deadline_s:
        # records that come with the assignment are read again after the seek below
        if any(len(batch) for batch in consumer.poll(_POLL_S, records_max=1)):
            mine = consumer.assignment()
            break
    committed = consumer.committed(mine) if mine else {}
    fresh = {tp: ends[tp] for tp in mine if tp in ends and tp not in committed}
    for tp in mine:
        consumer.seek(tp, committed.get(tp, ends.get(tp, LATEST)))
    if fresh:
        try:
            consumer.commit(fresh)
        except Fenced:
            # rebalanced meanwhile: the member that has the partition now pins it
            return
