"""The client against bare confluent-kafka: `python -m bench.client [--json] [--quick]`.

The peer sends records that are ready: value, key and header `ts-id` as bytes, nothing encoded or checked; for consume
it takes values out of messages without reading them. Both sides have the same settings of librdkafka and put the same
records on the wire. The lines `..., peer without header` have a peer that leaves the header out (a header costs
librdkafka's Python layer as much again as the record); they only inform. What is compared is CPU time of the process
with all its threads, per record, from the call to the acknowledgement. One Kafka node of this machine serves both.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import confluent_kafka

from bench.report import Line, main
from twinstack import DigitalTwinClient
from twinstack.client.digital_twin_client import parse_attributes
from twinstack.client.local import LocalMetadata, LocalStore, make_topics
from twinstack.client.transport import LogTransport
from twinstack.client.wiring import Wiring
from twinstack.core.ids import new_uid, uuid7_batch_ascii
from twinstack.core.names import parse_system
from twinstack.log.kafka import KafkaLog, node
from twinstack.log.kafka.consumer import SETTINGS as CONSUMER_SETTINGS
from twinstack.log.kafka.producer import SETTINGS as PRODUCER_SETTINGS

SYSTEM = "cz.icecars.bench.Car1"
QUANTITY = "temperature"
GOAL_MANY, GOAL_ONE, GOAL_CONSUME = 0.5, 0.3, 0.3
BATCH = 5_000
BASE_S = 1_800_000_000
INSTANCES = {
    "Things": {"car": {"name": "Car1", "description": "A car"}},
    "Sensors": {"probe": {"name": "Probe", "description": "", "encodingType": "text/html", "metadata": ""}},
    "Datastreams": {
        QUANTITY: {
            "name": "Air Temperature",
            "observationType": "OM_Measurement",
            "unitOfMeasurement": {"name": "degree Celsius", "symbol": "degC", "definition": ""},
            "Thing": "car",
            "Sensor": "probe",
            "ObservedProperty": {"name": "Air Temperature"},
        }
    },
}
KEY = f"{SYSTEM}.Car1.Air Temperature".encode()
TOPIC = f"{SYSTEM}.int"


@contextlib.contextmanager
def kafka() -> Iterator[str]:
    node.install()
    folder = Path(tempfile.mkdtemp(prefix="twinstack-bench-"))
    cluster = node.start(1, folder, node.free_ports(1))
    try:
        yield cluster.bootstrap
    finally:
        node.stop(folder)


def client(servers: str, folder: Path) -> DigitalTwinClient:
    """The client on Kafka, its metadata in a file: no other process takes part."""
    log = KafkaLog(servers, client_id="bench")
    wired = Wiring(LocalMetadata(LocalStore(folder, log), SYSTEM), LogTransport(log, "bench", owns_log=False))
    made = DigitalTwinClient.__new__(DigitalTwinClient)
    made._open("bench", parse_system(SYSTEM), wired, parse_attributes("longitude"), f"bench-{new_uid()}", None)
    made.register(INSTANCES)
    return made


def cpu_us(works: list[Callable[[], int]], rounds: int) -> list[float]:
    """CPU microseconds of this process per record, for each of the works: the least of some rounds, in turns, since
    what else the machine does only adds, and to all."""
    least = [float("inf")] * len(works)
    for _ in range(rounds):
        for place, work in enumerate(works):
            began_s = time.process_time()
            count = work()
            least[place] = min(least[place], (time.process_time() - began_s) / count * 1e6)
    return least


def produce_many(ours: DigitalTwinClient, count: int) -> Callable[[], int]:
    results = [20 + n % 97 / 8 for n in range(BATCH)]
    times = [BASE_S + 0.25 + n for n in range(BATCH)]

    def work() -> int:
        for _ in range(count // BATCH):
            ours.produce_many(QUANTITY, results, timestamps=times)
        ours.flush()
        return count // BATCH * BATCH

    return work


def produce(ours: DigitalTwinClient, count: int) -> Callable[[], int]:
    def work() -> int:
        for n in range(count):
            ours.produce(QUANTITY, 20.5 + n % 97, BASE_S + 0.25 + n)
        ours.flush()
        return count

    return work


def peer_produce(servers: str, values: list[bytes], count: int, *, header: bool) -> Callable[[], int]:
    settings = {"bootstrap.servers": servers, "linger.ms": 5, **PRODUCER_SETTINGS}
    producer = confluent_kafka.Producer({**settings, "delivery.report.only.error": True})
    headers = [[("ts-id", id_)] for id_ in uuid7_batch_ascii(len(values))]

    def work() -> int:
        send, n = producer.produce, 0
        while n < count:
            for at in range(0, len(values), 500):
                if header:
                    for value, own in zip(values[at : at + 500], headers[at : at + 500], strict=True):
                        send(TOPIC, value, KEY, headers=own)
                else:
                    for value in values[at : at + 500]:
                        send(TOPIC, value, KEY)
                producer.poll(0)
            n += len(values)
        assert producer.flush(60) == 0
        return n

    return work


def consume(ours: DigitalTwinClient, count: int) -> Callable[[], int]:
    ours.subscribe([KEY.decode()], start="earliest")

    def work() -> int:
        n = 0
        while n < count:
            n += len(ours.consume(timeout=5))
        return n

    return work


def peer_consume(servers: str, count: int) -> Callable[[], int]:
    own = {"bootstrap.servers": servers, "group.id": f"bench-{new_uid()}", "auto.offset.reset": "earliest"}
    consumer = confluent_kafka.Consumer({**CONSUMER_SETTINGS, **own, "enable.partition.eof": False})
    consumer.subscribe([TOPIC])

    def work() -> int:
        n = 0
        while n < count:
            n += len([message.value() for message in consumer.consume(5_000, 5)])
        return n

    return work


def measure(quick: bool) -> Iterator[Line]:
    count, rounds = (50_000, 2) if quick else (200_000, 4)
    with kafka() as servers, tempfile.TemporaryDirectory() as folder:
        log = KafkaLog(servers, client_id="bench")
        make_topics(log, parse_system(SYSTEM))
        many = client(servers, Path(folder) / "many")
        encoder = many._producing._encoders[QUANTITY][0]
        values = encoder.encode([20 + n % 97 / 8 for n in range(BATCH)], range(BASE_S, BASE_S + BATCH), 0, {})
        ready = peer_produce(servers, values, count, header=True)
        bare = peer_produce(servers, values, count, header=False)
        ours, peer, less = cpu_us([produce_many(many, count), ready, bare], rounds)
        yield Line("produce_many", "us CPU", ours, peer, GOAL_MANY)
        yield Line("produce_many, peer without header", "us CPU", ours, less)
        many.disconnect()
        one = client(servers, Path(folder) / "one")
        ours, peer, less = cpu_us([produce(one, count // 2), ready, bare], rounds)
        yield Line("produce", "us CPU", ours, peer, GOAL_ONE)
        yield Line("produce, peer without header", "us CPU", ours, less)
        one.disconnect()
        reader = client(servers, Path(folder) / "reader")
        ours, peer = cpu_us([consume(reader, count), peer_consume(servers, count)], rounds)
        yield Line("consume", "us CPU", ours, peer, GOAL_CONSUME)
        reader.disconnect()
        log.close()


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", measure))
