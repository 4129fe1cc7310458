"""From the arguments of a client to its metadata service and its transport, each reached once before it is used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from twinstack.client.http import Address, HttpServer, parse_addresses
from twinstack.client.local import LocalMetadata, make_topics, open_store
from twinstack.client.metadata import HttpMetadata, Metadata
from twinstack.client.transport import LogTransport, Transport
from twinstack.core import limits
from twinstack.core.errors import SettingsError, Unavailable, Unreachable
from twinstack.core.names import SystemName

# the error is due within BROKER_PROBE_MS_MAX, with some of it left for everything else
_PROBE_S = 0.8 * limits.BROKER_PROBE_MS_MAX / 1000


class Wiring(NamedTuple):
    metadata: Metadata
    transport: Transport

    def close(self) -> None:
        try:
            self.transport.close()
        finally:
            self.metadata.close()


def connect(
    client_name: str,
    system: SystemName,
    gost_servers: str,
    kafka_bootstrap_servers: str | None,
    kafka_rest_server: str | None,
    token: str | None,
) -> Wiring:
    """Reaches both servers. Errors: SettingsError, Unreachable with host:port within 5 s each; nothing stays open."""
    if bool(kafka_bootstrap_servers) == bool(kafka_rest_server):
        raise SettingsError(
            "Give one of kafka_bootstrap_servers and kafka_rest_server.",
            fix="kafka_rest_server='localhost:1908' for a server with the embedded log, else the brokers of Kafka.",
        )
    gost = parse_addresses(gost_servers, "gost_servers", token)
    gost, version = _without_version(gost)
    metadata = HttpMetadata(HttpServer(gost), str(system), version)
    transport: Transport | None = None
    try:
        if kafka_rest_server:
            from twinstack.client.rest import RestTransport

            rest = parse_addresses(kafka_rest_server, "kafka_rest_server", token)
            # one server, one token: it need not be written twice
            tokens = {a.url: a.token for a in gost}
            rest = [a if a.token else type(a)(a.url, tokens.get(a.url)) for a in rest]
            transport = RestTransport(rest, client_name)
        else:
            assert kafka_bootstrap_servers is not None
            transport = _kafka(kafka_bootstrap_servers, client_name)
        metadata.ping(_PROBE_S)
        _probe(transport, kafka_bootstrap_servers)
    except BaseException:
        if transport is not None:
            transport.close()
        metadata.close()
        raise
    return Wiring(metadata, transport)


def _without_version(addresses: list[Address]) -> tuple[list[Address], str]:
    """The addresses up to `/v1.0` or `/v1.1`, with which people name SensorThings servers; the version they name."""
    bare = [Address(re.sub(r"/v1\.[01]$", "", a.url), a.token) for a in addresses]
    return bare, "v1.0" if addresses[0].url.endswith("/v1.0") else "v1.1"


def _kafka(servers: str, client_name: str) -> Transport:
    from twinstack.log.connect import connect as connect_log

    servers = servers.strip().removeprefix("kafka://")
    if not all(server.rpartition(":")[2].isdigit() for server in servers.split(",")):
        raise SettingsError(
            f"kafka_bootstrap_servers='{servers}' is no address.",
            fix="Write host:port[,host:port], e.g. localhost:9092.",
        )
    return LogTransport(connect_log(f"kafka://{servers}", client_id=client_name), client_name, owns_log=True)


def _probe(transport: Transport, kafka_bootstrap_servers: str | None) -> None:
    try:
        transport.ping(_PROBE_S)
    except Unavailable as error:
        if kafka_bootstrap_servers is None:
            raise
        raise Unreachable(
            f"No Kafka broker answers at {kafka_bootstrap_servers}: {error.message}",
            fix="Start Kafka or correct the address; a server with the embedded log (`twinstack up`) is reached by "
            "kafka_rest_server='host:port' instead.",
        ) from None


def connect_local(client_name: str, system: SystemName, folder: Path) -> Wiring:
    store = open_store(folder)
    try:
        make_topics(store.log, system)
        return Wiring(LocalMetadata(store, str(system)), LogTransport(store.log, client_name, owns_log=False))
    except BaseException:
        from twinstack.client.local import close_store

        close_store(store)
        raise
