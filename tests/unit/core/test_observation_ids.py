from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from twinstack.core.ids import observation_id, uuid7_batch, uuid7_batch_ascii


def test_ids_are_version_7_and_increase() -> None:
    began_ms = time.time_ns() // 1_000_000
    ids = [observation_id(), *uuid7_batch(10_000), *(i.decode() for i in uuid7_batch_ascii(5))]
    ids += [observation_id() for _ in range(5_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    for text in ids[:: len(ids) // 50]:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        # a burst borrows from the milliseconds to come: 4,096 ids each
        assert began_ms <= parsed.int >> 80 <= time.time_ns() // 1_000_000 + 5
    assert uuid7_batch(0) == uuid7_batch_ascii(0) == []


def test_ids_of_all_threads_differ() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = [i for batch in pool.map(lambda n: [*uuid7_batch(n), observation_id()], [300] * 64) for i in batch]
    assert len(set(ids)) == len(ids)
