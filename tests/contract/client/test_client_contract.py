"""What a user of the client may rely on, whatever the transport."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from client_backends import Backend

from twinstack import DigitalTwinClient
from twinstack.client import Record
from twinstack.core.errors import (
    Conflict,
    InvalidInput,
    InvalidInstances,
    InvalidResult,
    InvalidTimestamp,
    NotFound,
    RecordTooLarge,
    UnknownQuantity,
)
from twinstack.log.seam import OutRecord


def collect(client: DigitalTwinClient, count: int, timeout_s: float = 15.0) -> list[Record]:
    records: list[Record] = []
    until_s = time.monotonic() + timeout_s
    while len(records) < count and time.monotonic() < until_s:
        records += client.consume(timeout=0.5)
    return records


def write(backend: Backend, topic: str, value: dict[str, Any], key: str | None = None, **headers: str) -> None:
    """As somebody else would: a stream app, a client of the original platform."""
    producer = backend.log.producer()
    sent = tuple((name.replace("_", "-"), text.encode()) for name, text in headers.items())
    producer.send(OutRecord(topic, json.dumps(value).encode(), key.encode() if key else None, sent))
    producer.close()


def test_the_seeds_snippet(backend: Backend, system: str, instances: dict[str, Any], tmp_path: Path) -> None:
    name = f"{system}.Car1.Air Temperature"
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    (tmp_path / "subscriptions.json").write_text(json.dumps({"subscribed_datastreams": [name]}))
    client = backend.client(client_name="car_1", system=system)
    client.register(instance_file=str(tmp_path / "instances.json"))
    client.subscribe(subscription_file=str(tmp_path / "subscriptions.json"))
    client.produce(quantity="temperature", result=23.4)

    (record,) = collect(client, 1)

    assert record["result"] == 23.4
    stream = record["Datastream"]
    assert stream["name"] == name
    assert stream["unitOfMeasurement"]["symbol"] == "degC"
    assert stream["Thing"]["name"] == f"{system}.Car1"
    assert stream["Sensor"]["name"] == f"{system}.Probe"
    assert stream["ObservedProperty"]["name"] == f"{system}.Air Temperature"
    assert record["topic"] == f"{system}.int"
    assert record["partition"] in (0, 1, 2)
    assert (record.result, record.name, record.unit, record.thing) == (23.4, name, "degC", f"{system}.Car1")


def test_registering_twice_changes_nothing(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    client = backend.client(client_name="car_1", system=system)
    first = client.register(instances)
    assert first.count("created") == len(first.statuses) == 7
    ids = {q: d["@iot.id"] for q, d in first.datastreams.items()}
    again = backend.client(client_name="car_2", system=system).register_new(instances)
    assert again.count("unchanged") == 7
    assert {q: d["@iot.id"] for q, d in again.datastreams.items()} == ids
    instances["Things"]["car_1"]["description"] = "Another car"
    assert client.register(instances).statuses["Things.car_1"] == "changed"


def test_register_existing(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    backend.client(client_name="car_1", system=system).register(instances)
    other = backend.client(client_name="car_2", system=system)
    other.register_existing({"Datastreams": {"t": {"Thing": "Car1", "name": "Air Temperature"}}})
    other.produce("t", 1.0).wait()
    with pytest.raises(NotFound, match=r"Car9\.Nothing"):
        other.register_existing({"Datastreams": {"x": {"Thing": "Car9", "name": "Nothing"}}})


@pytest.mark.parametrize(
    ("quantity", "result"),
    [
        ("temperature", 21),
        ("temperature", -0.5),
        ("doors", 2**60),
        ("moving", True),
        ("gear", 'R "ückwärts"\n'),
        ("status", {"oil": [1, None, "x"]}),
        ("status", None),
    ],
)
def test_results_arrive_as_they_are(
    backend: Backend, system: str, instances: dict[str, Any], quantity: str, result: Any
) -> None:
    client = backend.client(client_name="car_1", system=system)
    streams = client.register(instances).datastreams
    client.subscribe([streams[quantity]["name"]])
    client.produce(quantity, result, timestamp="2026-11-24T13:00:00.5+01:00").wait()
    (record,) = collect(client, 1)
    assert record.result == result
    assert type(record.result) is (float if quantity == "temperature" else type(result))
    assert record["phenomenonTime"] == "2026-11-24T12:00:00.5Z"
    assert record.time.isoformat() == "2026-11-24T12:00:00.500000+00:00"


@pytest.mark.parametrize(
    ("timestamp", "wire"),
    [
        (1_800_000_000, "2027-01-15T08:00:00Z"),
        (1_800_000_000_250, "2027-01-15T08:00:00.25Z"),
        (1_800_000_000_000_001, "2027-01-15T08:00:00.000001Z"),
        (1_800_000_000_000_001_000, "2027-01-15T08:00:00.000001Z"),
        (1_800_000_000.5, "2027-01-15T08:00:00.5Z"),
        ("2027-01-15T08:00:00Z/2027-01-15T09:00:00Z", "2027-01-15T08:00:00Z/2027-01-15T09:00:00Z"),
    ],
)
def test_timestamps(backend: Backend, system: str, instances: dict[str, Any], timestamp: Any, wire: str) -> None:
    client = backend.client(client_name="car_1", system=system)
    client.register(instances)
    client.subscribe([f"{system}.Car1.Air Temperature"])
    client.produce("temperature", 1.0, timestamp)
    (record,) = collect(client, 1)
    assert record["phenomenonTime"] == wire


def test_produce_many_in_order_with_attributes(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    client = backend.client(client_name="car_1", system=system, additional_attributes="longitude, latitude,attitude")
    client.register(instances)
    client.subscribe([f"{system}.Car1.Air Temperature"])
    n = 5_000
    receipt = client.produce_many(
        "temperature",
        [i / 4 for i in range(n)],
        timestamps=[1_800_000_000 + i for i in range(n)],
        longitude=[float(i) for i in range(n)],
        latitude=47.8,
    )
    assert receipt.wait().done
    assert receipt.count == len(set(receipt.ids)) == n
    records = collect(client, n)
    assert [r.result for r in records] == [i / 4 for i in range(n)]
    assert [r["longitude"] for r in records] == [float(i) for i in range(n)]
    assert {r["latitude"] for r in records} == {47.8}
    assert [r.id for r in records] == receipt.ids
    assert all("attitude" not in r for r in records)


def test_a_receipt_knows_where_the_record_is(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    client = backend.client(client_name="car_1", system=system)
    client.register(instances)
    client.subscribe([f"{system}.Car1.Gear"])
    receipts = [client.produce("gear", str(i)) for i in range(3)]
    places = [receipt.wait().delivery for receipt in receipts]
    records = collect(client, 3)
    assert [(p.topic, p.partition, p.offset) for p in places if p] == [
        (r.topic, r.partition, r.offset) for r in records
    ]
    assert [r.id for r in records] == [receipt.ids[0] for receipt in receipts]
    assert all(abs(r.produced_ms - time.time() * 1000) < 60_000 for r in records)


def test_only_subscribed_datastreams_arrive(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    client = backend.client(client_name="car_1", system=system)
    client.register(instances)
    client.subscribe([f"{system}.Car1.Gear"])
    for i in range(3):
        client.produce("temperature", float(i))
        client.produce("gear", str(i))
    client.flush()
    records = collect(client, 3)
    assert [r.result for r in records] == ["0", "1", "2"]
    assert client.consume(0.3) == []


def test_star_is_everything_that_is_shared(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    client = backend.client(client_name="car_1", system=system)
    client.register(instances)
    foreign = "is.iceland.weather.Stations.Station_1.Air Temperature"
    shared = {"@iot.id": 7, "name": foreign, "unitOfMeasurement": {"name": "x", "symbol": "degF", "definition": ""}}
    write(backend, f"{system}.meta", shared, foreign)
    client.subscribe({"subscribed_datastreams": ["*"]})
    client.produce("temperature", 1.0).wait()
    time_ = "2026-01-01T00:00:00Z"
    write(
        backend,
        f"{system}.ext",
        {"phenomenonTime": time_, "resultTime": None, "result": -3.5, "Datastream": {"@iot.id": 99, "name": foreign}},
        foreign,
        ts_id="first",
    )
    (record,) = collect(client, 1)
    assert (record.name, record.result, record.unit, record.id) == (foreign, -3.5, "degF", "first")
    # what the grant hides is empty, so that programs which print it go on
    assert record["Datastream"]["Thing"]["name"] == "is.iceland.weather.Stations.Station_1"
    assert record["Datastream"]["ObservedProperty"]["name"] == ""


def test_records_of_the_original_platform(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    """Keyed by the Thing, with the id alone."""
    client = backend.client(client_name="car_1", system=system)
    streams = client.register(instances).datastreams
    client.subscribe([streams["temperature"]["name"]])
    for quantity in ("gear", "temperature"):
        value = {
            "phenomenonTime": "2018-12-04T14:18:11.376306+00:00",
            "resultTime": "2018-12-04T14:18:11.376503+00:00",
            "result": 50.05934369894213,
            "Datastream": {"@iot.id": streams[quantity]["@iot.id"]},
        }
        write(backend, f"{system}.int", value, json.dumps({"name": "car_1"}))
    (record,) = collect(client, 1)
    assert record.name == streams["temperature"]["name"]
    assert record.time_us == 1543933091376306
    assert client.consume(0.3) == []


def test_poison_does_not_stop_a_consumer(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    client = backend.client(client_name="car_1", system=system)
    client.register(instances)
    client.subscribe([f"{system}.Car1.Gear"])
    producer = backend.log.producer()
    for value in (b"no json", b"[]", b'{"result": NaN}', b'{"result": 1, "result": 2}', b"\xff"):
        producer.send(OutRecord(f"{system}.int", value))
    producer.close()
    client.produce("gear", "1").wait()
    assert [r.result for r in collect(client, 1)] == ["1"]


def test_at_least_once(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    """Offsets are committed when the next consume begins, and not before."""
    name = f"{system}.Car1.Doors"
    instances["Datastreams"]["doors"]["name"] = "Doors"
    first = backend.client(client_name="car_1", system=system)
    first.register(instances)
    first.subscribe([name])
    first.produce_many("doors", [1, 2]).wait()
    before = collect(first, 2)
    first.disconnect()

    second = backend.client(client_name="car_1", system=system)
    second.register(instances)
    second.subscribe([name])
    again = collect(second, 2)
    assert [r.id for r in again] == [r.id for r in before]
    assert second.consume(0.2) == []  # commits the two
    second.produce("doors", 3).wait()
    second.disconnect()

    third = backend.client(client_name="car_1", system=system)
    third.subscribe([name])
    assert [r.result for r in collect(third, 1)] == [3]


def test_nothing_between_subscribe_and_consume_is_missed(
    backend: Backend, system: str, instances: dict[str, Any]
) -> None:
    name = f"{system}.Car1.Gear"
    client = backend.client(client_name="car_1", system=system)
    client.register(instances)
    client.produce("gear", "too early").wait()
    client.subscribe([name])
    client.produce("gear", "1").wait()
    client.disconnect()  # without any consume
    again = backend.client(client_name="car_1", system=system)
    again.subscribe([name])
    assert [r.result for r in collect(again, 1)] == ["1"]
    early = backend.client(client_name="historian", system=system)
    early.subscribe([name], start="earliest")
    assert [r.result for r in collect(early, 2)] == ["too early", "1"]


def test_iteration_can_be_left_and_taken_up(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    client = backend.client(client_name="car_1", system=system)
    client.register(instances)
    client.subscribe([f"{system}.Car1.Gear"])
    client.produce_many("gear", ["a", "b", "c", "d", "e"]).wait()
    seen = []
    for record in client.records(timeout=5):
        seen.append(record.result)
        if len(seen) == 2:
            break
    seen += [r.result for r in client.consume()]
    seen += [r.result for r in client.records(timeout=0.5)]
    assert seen == ["a", "b", "c", "d", "e"]


def test_logs_tell_presence(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    watcher = backend.client(client_name="watcher", system=system)
    lines = watcher.logs(timeout=3)
    client = backend.client(client_name="car_1", system=system)
    client.register(instances)
    client.produce("logging", "engine is warm", level="warning", rpm=900).wait()
    client.disconnect()
    told = []
    for line in lines:
        told.append((line.event, line.level, line.source))
        if line.event == "message":
            assert (line.message, line["rpm"]) == ("engine is warm", 900)
        if line.event == "disconnected":
            break
    assert sorted(told) == sorted(
        [
            ("connected", "INFO", "car_1"),
            ("registered", "INFO", "car_1"),
            ("message", "WARNING", "car_1"),
            ("disconnected", "INFO", "car_1"),
        ]
    )


def test_bad_input_is_refused_and_nothing_is_sent(
    backend: Backend, system: str, instances: dict[str, Any], tmp_path: Path
) -> None:
    client = backend.client(client_name="car_1", system=system, additional_attributes="longitude")
    with pytest.raises(UnknownQuantity, match=r"register\("):
        client.produce("temperature", 1.0)
    client.register(instances)
    client.subscribe([f"{system}.Car1.Air Temperature"])
    with pytest.raises(UnknownQuantity, match="'temperature'"):
        client.produce("temperatur", 1.0)
    with pytest.raises(InvalidResult, match="is text, this Datastream takes a number"):
        client.produce("temperature", "21,4")
    with pytest.raises(InvalidResult, match="record 2 of 3"):
        client.produce_many("temperature", [1.0, float("inf"), 3.0])
    with pytest.raises(InvalidResult):
        client.produce("doors", True)
    with pytest.raises(InvalidResult):
        client.produce("status", {"x": float("nan")})
    with pytest.raises(InvalidResult):
        client.produce("status", object())
    with pytest.raises(InvalidTimestamp):
        client.produce("temperature", 1.0, "yesterday")
    with pytest.raises(InvalidInput, match="additional_attributes"):
        client.produce("temperature", 1.0, longitud=1)
    with pytest.raises(InvalidInput, match="2 values for 3 results"):
        client.produce_many("temperature", [1.0, 2.0, 3.0], longitude=[1, 2])
    with pytest.raises(RecordTooLarge):
        client.produce("temperature", 1.0, longitude="x" * 2 * 1024 * 1024)
    with pytest.raises(RecordTooLarge):
        client.produce("status", "x" * 2 * 1024 * 1024)
    with pytest.raises(Conflict, match="subscribe"):
        backend.client(client_name="car_2", system=system).consume()
    bad = tmp_path / "instances.json"
    bad.write_text('{"Things": {,}}')
    with pytest.raises(InvalidInput, match=r"instances\.json"):
        client.register(bad)
    with pytest.raises(InvalidInstances, match="no 'Thing'"):
        del instances["Datastreams"]["gear"]["Thing"]
        client.register(instances)
    with pytest.raises(InvalidInput, match="its system is missing"):
        client.subscribe(["Air Temperature"])
    client.produce("temperature", 7.0).wait()
    assert [r.result for r in collect(client, 1)] == [7.0]


def test_closing_is_repeatable_and_final(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    states: list[str] = []
    with backend.client(client_name="car_1", system=system, on_state=states.append) as client:
        client.register(instances)
        assert client.state == "online"
    client.disconnect()
    client.close()
    assert (client.state, states) == ("closed", ["online", "closed"])
    with pytest.raises(Conflict):
        client.produce("temperature", 1.0)


async def test_asyncio_twin(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    async with backend.connect_async(client_name="car_1", system=system) as client:
        await client.register(instances)
        await client.subscribe([f"{system}.Car1.Gear"])
        receipt = await client.produce("gear", "1")
        assert (await receipt).done
        await client.produce_many("gear", ["2", "3"])
        seen = []
        async for record in client.records(timeout=5):
            seen.append(record.result)
            if len(seen) == 3:
                break
        assert seen == ["1", "2", "3"]
    assert client.state == "closed"
    await client.disconnect()


def test_an_empty_subscription_receives_nothing(backend: Backend, system: str, instances: dict[str, Any]) -> None:
    client = backend.client(client_name="car_1", system=system)
    client.register(instances)
    client.subscribe({"subscribed_datastreams": []})
    client.produce("gear", "1").wait()
    shared = {"result": 1, "Datastream": {"@iot.id": 9, "name": "is.iceland.weather.Stations.S1.Air"}}
    write(backend, f"{system}.ext", shared, "is.iceland.weather.Stations.S1.Air")
    assert client.consume(0.3) == []
