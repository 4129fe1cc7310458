"""From an address to a log: one place that chooses the implementation, with its libraries imported lazily.

memory path or folder   embedded  `embedded:/path/to/log.sqlite`  (only the server process opens it)
http://host:port        http      the embedded log of a running server
kafka://h:p,h:p  h:p    kafka     Apache Kafka
"""

from __future__ import annotations

from twinstack.core.errors import SettingsError
from twinstack.log.seam import Log


def connect(address: str, *, client_id: str = "twinstack", token: str | None = None) -> Log:
    """The log behind `address`. Nothing is contacted yet: `Log.ping` does. Errors: SettingsError."""
    if address.startswith("embedded:"):
        from twinstack.log.embedded import EmbeddedLog

        return EmbeddedLog(address.removeprefix("embedded:"))
    if address.startswith(("http://", "https://")):
        from twinstack.log.http import HttpLog

        return HttpLog(address, client_id=client_id, token=token)
    servers = address.removeprefix("kafka://")
    if servers and all(":" in server for server in servers.split(",")):
        from twinstack.log.kafka import KafkaLog

        return KafkaLog(servers, client_id=client_id)
    raise SettingsError(
        f"'{address}' is no address of a log.",
        fix="Use http://host:port for a server, or host:port[,host:port] for Kafka brokers.",
    )
