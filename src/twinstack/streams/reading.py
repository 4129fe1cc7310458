"""Reading a topic to an end that was asked for: not to the first silence, which is a slow log's too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from twinstack.core.errors import TimedOut
from twinstack.log.seam import Batch, Consumer, TopicPartition

PATIENCE_S = 10.0
_POLL_S = 0.2


def read_to(
    consumer: Consumer,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Batch]:
    """Batches of a consumer that was assigned at `starts`, until its positions have reached `ends`; gaps before the end
    (compaction, markers of transactions) move a position without a batch.

    Errors: TimedOut after PATIENCE_S without anything; those of the log.
    """
    heard_s = clock()
    while any(_position(consumer, tp, starts[tp]) < end for tp, end in ends.items()):
        batches = consumer.poll(_POLL_S)
        if batches:
            heard_s = clock()
        elif clock() - heard_s > PATIENCE_S:
            raise TimedOut(
                f"The log gave nothing for {PATIENCE_S:.0f} s before the end of {', '.join(tp.topic for tp in ends)}.",
                fix="Check that the log answers, then repeat.",
            )
        yield from batches


def _position(consumer: Consumer, tp: TopicPartition, start: int) -> int:
    position = consumer.position(tp)
    return start if position is None else position
