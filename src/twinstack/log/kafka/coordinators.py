"""What a new Kafka does only when it is asked for the first time: its topics for groups and for transactions.

Each takes one to two seconds, in which the one who asked first waits: with this somebody asks before anybody waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from twinstack.core.errors import TwinstackError
from twinstack.log.kafka.log import KafkaLog
from twinstack.log.seam import TopicPartition

_NAME = "ts.first-use"


def ask_early(servers: str) -> None:
    """Returns at once; what goes wrong is told to the next one who asks."""
    for ask in (_for_groups, _for_transactions):
        threading.Thread(target=_quietly, args=(ask, servers), name=_NAME, daemon=True).start()


def _quietly(ask: Callable[[KafkaLog], None], servers: str) -> None:
    log = KafkaLog(servers, client_id=_NAME)
    with suppress(TwinstackError):
        ask(log)
    with suppress(TwinstackError):
        log.close()


def _for_groups(log: KafkaLog) -> None:
    consumer = log.consumer(group=_NAME)
    try:
        consumer.committed([TopicPartition(_NAME, 0)])
    finally:
        consumer.close()


def _for_transactions(log: KafkaLog) -> None:
    log.transaction(_NAME).close()
