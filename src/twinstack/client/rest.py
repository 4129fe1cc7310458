"""The transport over HTTP: the Kafka REST API v2 of the platform (docs/http-doors.md)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from twinstack.client.http import Address, HttpServer
from twinstack.client.rest_producer import RestProducer
from twinstack.client.rest_reader import RestReader
from twinstack.client.transport import Reader
from twinstack.core.errors import TwinstackError
from twinstack.core.ids import new_uid
from twinstack.log.seam import LATEST, Producer, Start, TopicPartition


class RestTransport:
    """Each producer and reader has a connection of its own."""

    def __init__(self, addresses: list[Address], client_id: str) -> None:
        self._addresses = addresses
        self._client_id = client_id
        self._probe_lock = threading.Lock()
        self._probe = HttpServer(addresses)

    def producer(self) -> Producer:
        return RestProducer(HttpServer(self._addresses))

    def subscribed(self, topics: Sequence[str], group: str, start: Start) -> Reader:
        reader = RestReader(HttpServer(self._addresses), group, start)
        reader.subscribe(topics)
        return reader

    def assigned(self, positions: Mapping[TopicPartition, int | Start]) -> Reader:
        reader = RestReader(HttpServer(self._addresses), f"{self._client_id}.{new_uid()}", LATEST)
        reader.assign(positions)
        return reader

    def ping(self, timeout_s: float) -> None:
        try:
            with self._probe_lock:
                self._probe.request("GET", "/brokers", timeout_s=timeout_s)
        except TwinstackError as error:
            if error.fields.get("status", 503) >= 500:
                raise
            # it answered: what this client may do is decided call by call

    def close(self) -> None:
        with self._probe_lock:
            self._probe.close()
