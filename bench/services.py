"""Services that benchmarks start for themselves, on free ports and in temporary folders."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from twinstack.log.kafka import node


@contextlib.contextmanager
def kafka() -> Iterator[str]:
    """One node set up for throughput; gives `host:port`. Installs Kafka at the first use (Java 17, Maven)."""
    node.install()
    with tempfile.TemporaryDirectory(prefix="twinstack-bench-") as folder:
        cluster = node.start(1, Path(folder), node.free_ports(1), profile="throughput")
        try:
            yield cluster.bootstrap
        finally:
            node.stop(Path(folder))
