"""Kafka's own console tools, run from the same jars: what a suspicious user trusts more than our word."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from types import MappingProxyType

from twinstack.core.errors import SettingsError, TimedOut
from twinstack.log.kafka.install import load

TOOLS: Mapping[str, str] = MappingProxyType(
    {
        "acls": "org.apache.kafka.tools.AclCommand",
        "broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
        "configs": "org.apache.kafka.tools.ConfigCommand",
        "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
        "console-producer": "org.apache.kafka.tools.ConsoleProducer",
        "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        "consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
        "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
        "dump-log": "org.apache.kafka.tools.DumpLogSegments",
        "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
        "leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
        "metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
        "producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
        "storage": "kafka.tools.StorageTool",
        "topics": "org.apache.kafka.tools.TopicCommand",
        "transactions": "org.apache.kafka.tools.TransactionsCommand",
    }
)
"""Names as of Kafka's scripts, without `kafka-` and `.sh`."""


def tool(
    name: str, *args: str, stdin: bytes | None = None, timeout_s: float = 60.0
) -> subprocess.CompletedProcess[bytes]:
    """Runs one of TOOLS to its end and gives its exit code and output, for example
    `tool("transactions", "--bootstrap-server", "127.0.0.1:9092", "find-hanging", "--broker-id", "1")`.

    Errors: SettingsError (unknown tool; no Java), TimedOut.
    """
    main = TOOLS.get(name)
    if main is None:
        raise SettingsError(f"Kafka has no tool '{name}' here.", fix=f"One of: {', '.join(TOOLS)}.")
    try:
        return load().run(main, args, stdin=stdin, timeout_s=timeout_s)
    except subprocess.TimeoutExpired:
        raise TimedOut(f"Kafka's tool '{name}' did not end within {timeout_s:.0f} s.", fix="Repeat it.") from None
