"""A client whose server goes away, comes back, or loses answers: nothing acknowledged is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.doors import DoorsServer, free_port
from services.proxy import Proxy
from twinstack import AsyncDigitalTwinClient, DigitalTwinClient
from twinstack.client import Record
from twinstack.client.local import LocalStore, make_topics
from twinstack.core import limits
from twinstack.core.errors import InvalidName, SettingsError, TimedOut, Undelivered, UnknownTopic, Unreachable
from twinstack.core.ids import new_uid
from twinstack.core.names import parse_system

DATASTREAM = {
    "name": "Counter",
    "observationType": "OM_CountObservation",
    "unitOfMeasurement": {"name": "", "symbol": "1", "definition": ""},
    "Thing": "thing",
    "Sensor": "sensor",
    "ObservedProperty": {"name": "Count"},
}
INSTANCES: dict[str, Any] = {
    "Things": {"thing": {"name": "Thing", "description": ""}},
    "Sensors": {"sensor": {"name": "Sensor", "description": "", "encodingType": "x", "metadata": ""}},
    "Datastreams": {"counter": DATASTREAM},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    store = LocalStore(tmp_path)
    yield store
    store.log.close()


@pytest.fixture
def server(store: LocalStore) -> Iterator[DoorsServer]:
    server = DoorsServer(store)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def system(store: LocalStore) -> str:
    name = f"cz.icecars.faults.{new_uid()}"
    make_topics(store.log, parse_system(name))
    return name


def collect(client: DigitalTwinClient, count: int, timeout_s: float = 20.0) -> list[Record]:
    records: list[Record] = []
    until_s = time.monotonic() + timeout_s
    while len(records) < count and time.monotonic() < until_s:
        records += client.consume(timeout=0.3)
    return records


def test_a_lost_answer_is_no_second_record(server: DoorsServer, system: str) -> None:
    proxy = Proxy(server.port)
    with DigitalTwinClient("writer", system, server.address, kafka_rest_server=f"127.0.0.1:{proxy.port}") as client:
        client.register(INSTANCES)
        client.produce("counter", 0).wait()
        for i in range(1, 9):
            proxy.lose_answers = 1
            assert client.produce("counter", i).wait().done
        server.fail_after_storing = 2
        client.produce_many("counter", list(range(9, 500))).wait()
        assert proxy.lost >= 8
        assert server.fail_after_storing == 0
        client.subscribe([f"{system}.Thing.Counter"], start="earliest")
        assert [r.result for r in collect(client, 500)] == list(range(500))
        assert client.consume(0.3) == []
    proxy.close()


def test_a_restarted_server(store: LocalStore, system: str) -> None:
    port = free_port()
    server = DoorsServer(store, port=port)
    server.start()
    states: list[str] = []
    client = DigitalTwinClient(
        "writer", system, server.address, kafka_rest_server=server.address, on_state=states.append
    )
    client.register(INSTANCES)
    client.subscribe([f"{system}.Thing.Counter"])
    client.produce_many("counter", list(range(100))).wait()
    got = collect(client, 50)
    server.stop()
    client.produce_many("counter", list(range(100, 200)))  # waits in the buffer
    with pytest.raises(TimedOut):
        client.produce("counter", 200).wait(0.2)
    assert client.consume(0.3) == []  # waits for the server, raises nothing
    until_s = time.monotonic() + 15
    while client.state != "offline" and time.monotonic() < until_s:
        time.sleep(0.05)
    assert client.state == "offline"
    server = DoorsServer(store, port=port)
    server.start()
    client.flush(20)
    until_s = time.monotonic() + 20
    while len({r.id for r in got}) < 201 and time.monotonic() < until_s:
        got += client.consume(0.3)
    in_order = list({r.id: r.result for r in got}.values())
    assert in_order == list(range(201))
    while client.state != "online" and time.monotonic() < until_s:
        time.sleep(0.05)
    client.disconnect()
    assert states == ["online", "offline", "online", "closed"]
    server.stop()


def test_consuming_through_lost_answers_skips_nothing(server: DoorsServer, system: str) -> None:
    proxy = Proxy(server.port)
    with (
        DigitalTwinClient("writer", system, server.address, kafka_rest_server=server.address) as writer,
        DigitalTwinClient("reader", system, server.address, kafka_rest_server=f"127.0.0.1:{proxy.port}") as reader,
    ):
        writer.register(INSTANCES)
        reader.subscribe([f"{system}.Thing.Counter"])
        got: list[Record] = []
        for i in range(5):
            writer.produce_many("counter", list(range(i * 20, i * 20 + 20))).wait()
            proxy.lose_answers = 1
            got += reader.consume(0.5)
        until_s = time.monotonic() + 20
        while len({r.id for r in got}) < 100 and time.monotonic() < until_s:
            got += reader.consume(0.3)
        assert list({r.id: r.result for r in got}.values()) == list(range(100))
        assert proxy.lost >= 3
    proxy.close()


def test_what_is_not_delivered_is_counted(store: LocalStore, system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELIVERY_TIMEOUT_MS", 500)
    server = DoorsServer(store)
    server.start()
    client = DigitalTwinClient("writer", system, server.address, kafka_rest_server=server.address)
    client.register(INSTANCES)
    server.stop()
    receipt = client.produce("counter", 1)
    batch = client.produce_many("counter", [2, 3])
    with pytest.raises(Undelivered) as error:
        client.flush(10)
    assert error.value.count == 3
    with pytest.raises(Undelivered):
        receipt.wait()
    with pytest.raises(Undelivered):
        batch.wait()
    client.produce("counter", 4)
    with pytest.raises(Undelivered, match="1 record was not delivered"), client:
        pass
    assert client.state == "closed"
    client.disconnect()


def test_the_first_error_is_not_hidden_by_lost_records(
    store: LocalStore, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DELIVERY_TIMEOUT_MS", 300)
    server = DoorsServer(store)
    server.start()
    client = DigitalTwinClient("writer", system, server.address, kafka_rest_server=server.address)
    client.register(INSTANCES)
    server.stop()
    with pytest.raises(ZeroDivisionError), client:
        client.produce("counter", 1)
        raise ZeroDivisionError


def test_a_topic_that_is_gone(server: DoorsServer, store: LocalStore, system: str) -> None:
    client = DigitalTwinClient("writer", system, server.address, kafka_rest_server=server.address)
    client.register(INSTANCES)
    store.log.admin().delete_topics([f"{system}.int"])
    receipt = client.produce("counter", 1)
    with pytest.raises(Undelivered) as error:
        receipt.wait()
    assert isinstance(error.value.__cause__, UnknownTopic)
    with pytest.raises(Undelivered):
        client.disconnect()


def test_nobody_answers(server: DoorsServer, system: str) -> None:
    """Within 5 s, naming host:port; for a broker also what to use instead."""
    nobody = f"127.0.0.1:{free_port()}"
    for arguments, fix in (
        ({"gost_servers": nobody, "kafka_rest_server": server.address}, "twinstack up"),
        ({"gost_servers": server.address, "kafka_rest_server": nobody}, "twinstack up"),
        ({"gost_servers": server.address, "kafka_bootstrap_servers": nobody}, "kafka_rest_server="),
    ):
        began_s = time.monotonic()
        with pytest.raises(Unreachable, match=nobody) as error:
            DigitalTwinClient("writer", system, **arguments)  # type: ignore[arg-type]
        assert time.monotonic() - began_s < 6
        assert fix in error.value.fix


def test_a_port_that_speaks_no_kafka(server: DoorsServer, system: str) -> None:
    """The address of the server given as a broker: the usual mistake on the embedded log."""
    began_s = time.monotonic()
    with pytest.raises(Unreachable, match="No Kafka broker answers") as error:
        DigitalTwinClient("writer", system, server.address, kafka_bootstrap_servers=server.address)
    assert time.monotonic() - began_s < 6
    assert "kafka_rest_server" in error.value.fix


def test_a_server_that_hangs(system: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began_s = time.monotonic()
        with pytest.raises((TimedOut, Unreachable), match=str(port)):
            DigitalTwinClient("writer", system, f"127.0.0.1:{port}", kafka_rest_server=f"127.0.0.1:{port}")
        assert time.monotonic() - began_s < 7


async def test_a_failed_enter_leaves_nothing_open(system: str) -> None:
    threads = threading.active_count()
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable):
        async with AsyncDigitalTwinClient("writer", system, nobody, kafka_rest_server=nobody):
            raise AssertionError("entered")
    await asyncio.sleep(0.2)
    assert threading.active_count() <= threads


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"system": "cz.ice cars.fleet.Car1"}, InvalidName, "a blank"),
        ({"system": "cz.icecars.fleet"}, InvalidName, "3 levels"),
        ({"client_name": "car 1"}, InvalidName, "client name"),
        ({"gost_servers": "host:port"}, SettingsError, "gost_servers"),
        ({"gost_servers": ""}, SettingsError, "gost_servers is empty"),
        ({"kafka_rest_server": "ftp://x"}, SettingsError, "kafka_rest_server"),
        ({"kafka_rest_server": None}, SettingsError, "kafka_bootstrap_servers"),
        ({"kafka_rest_server": None, "kafka_bootstrap_servers": "localhost"}, SettingsError, "localhost:9092"),
        ({"kafka_bootstrap_servers": "a:1"}, SettingsError, "one of"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], said: str) -> None:
    good = {
        "client_name": "car_1",
        "system": "cz.icecars.fleet.Car1",
        "gost_servers": "localhost:1",
        "kafka_rest_server": "localhost:1",
    }
    with pytest.raises(error, match=said):
        DigitalTwinClient(**{**good, **arguments})  # type: ignore[arg-type]


def test_tokens_are_sent_and_never_shown(store: LocalStore, system: str) -> None:
    seen: set[str] = set()

    def authorize(scope: dict, action: str, name: str) -> Any:
        from twinstack.bridges.kafka_rest import Caller

        seen.add(dict(scope["headers"]).get(b"authorization", b"").decode())
        return Caller("x")

    server = DoorsServer(store, authorize=authorize)
    server.start()
    client = DigitalTwinClient("w", system, f"x:s3cret@{server.address}", kafka_rest_server=server.address)
    client.register(INSTANCES)
    client.produce("counter", 1).wait()
    client.disconnect()
    assert seen == {"Bearer s3cret"}
    server.stop()
    with pytest.raises(Unreachable) as error:
        DigitalTwinClient("w", system, f"x:s3cret@{server.address}", kafka_rest_server=server.address)
    assert "s3cret" not in str(error.value) + repr(error.value.fields)
