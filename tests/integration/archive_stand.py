"""A stand for the archive and the outbox: an embedded log behind HTTP, a store, and the bridges as child processes."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
import uvicorn

from twinstack.bridges.topics import specs_of
from twinstack.core import timestamps
from twinstack.core.instances import load_instances
from twinstack.core.observations import encode
from twinstack.log.embedded import EmbeddedLog
from twinstack.log.http import LogService
from twinstack.log.seam import EARLIEST, Log, OutRecord, TopicPartition
from twinstack.log.topics import ensure_topics
from twinstack.sensorthings.store import NewObservation, Store, open_store, tables

CAR = "cz.icecars.iot4cps-wp5-CarFleet.Car1"
STATION = "is.iceland.iot4cps-wp5-WeatherService.Stations"
WAIT_S = 40.0


def wait_for(what, timeout_s=WAIT_S):
    end = time.monotonic() + timeout_s
    while not (answer := what()):
        assert time.monotonic() < end, f"still {answer!r} after {timeout_s} s"
        time.sleep(0.02)
    return answer


def instances(quantities):
    stream = {
        "description": "d",
        "observationType": "OM_Measurement",
        "unitOfMeasurement": {"name": "degree Celsius", "symbol": "degC", "definition": "ucum:Cel"},
        "Thing": "car",
        "Sensor": "sensor",
        "ObservedProperty": {"name": "temperature", "definition": "https://example.org/t"},
    }
    place = {
        "name": "here",
        "description": "a place",
        "encodingType": "application/geo+json",
        "location": {"type": "Point", "coordinates": [13.0, 47.8]},
    }
    sensor = {"name": "sensor", "description": "d", "encodingType": "text/html", "metadata": "m"}
    return {
        "Things": {"car": {"name": "Car1", "description": "a car", "Locations": [place]}},
        "Sensors": {"sensor": sensor},
        "Datastreams": {q: {"name": q, **stream} for q in quantities},
    }


@dataclass
class Stand:
    folder: Path
    log: Log
    address: str
    store: Store
    ids: dict[str, int]
    produced: int = 0

    def spawn(self, bridge, failpoint=""):
        environment = {**os.environ, "TWINSTACK_FAILPOINT": failpoint}
        command = [
            sys.executable,
            "-m",
            f"twinstack.bridges.{bridge}",
            "--store",
            self.store.url,
            "--log",
            self.address,
        ]
        out = (self.folder / f"{bridge}.jsonl").open("ab")
        return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=out, stderr=out)

    def key(self, quantity):
        return f"{CAR}.Car1.{quantity}"

    def value(self, quantity, number, **attributes):
        """A record whose result and time are its number."""
        return encode(
            phenomenon_time=timestamps.format_us(number * 1_000_000),
            result_time=None,
            result=float(number),
            datastream_id=self.ids[quantity],
            log_key=self.key(quantity),
            attributes=attributes,
        )

    def produce(self, n, topic=f"{CAR}.int"):
        producer = self.log.producer()
        for _ in range(n):
            self.produced += 1
            quantity = f"q{self.produced % len(self.ids)}"
            producer.send(OutRecord(topic, self.value(quantity, self.produced), self.key(quantity).encode()))
        producer.flush(10)

    def insert(self, n):
        rows = []
        for _ in range(n):
            self.produced += 1
            quantity = f"q{self.produced % len(self.ids)}"
            rows.append(NewObservation(self.ids[quantity], self.produced * 1_000_000, float(self.produced)))
        self.store.insert_observations(rows).result()

    def history(self):
        """(Datastream, time, result) of every Observation, counted."""
        o = tables.observation.c
        with self.store.reader() as connection:
            rows = connection.execute(sa.select(o.datastream_id, o.t, o.result)).all()
        return Counter((row[0], row[1], row[2]) for row in rows)

    def on_log(self, topic=f"{CAR}.int"):
        """The same of every record of a topic."""
        found = Counter()
        for _, value, _ in self.records(topic):
            record = json.loads(value)
            found[record["Datastream"]["@iot.id"], timestamps.parse_us(record["phenomenonTime"]), record["result"]] += 1
        return found

    def records(self, topic):
        admin = self.log.admin()
        tps = [TopicPartition(topic, p) for p in range(admin.describe(topic).partitions)]
        ends = admin.end_offsets(tps)
        consumer = self.log.consumer()
        consumer.assign(dict.fromkeys(tps, EARLIEST))
        records = []
        while any((consumer.position(tp) or 0) < end for tp, end in ends.items()):
            for batch in consumer.poll(0.2):
                records.extend(zip(batch.keys, batch.values, batch.headers, strict=True))
        consumer.close()
        return records

    def stat_sum(self):
        with self.store.reader() as connection:
            return connection.execute(sa.select(sa.func.sum(tables.datastream_stat.c.n))).scalar_one()

    def dead(self):
        with self.store.reader() as connection:
            return connection.execute(sa.select(tables.archive_dead).order_by(tables.archive_dead.c.id)).all()


@contextlib.contextmanager
def embedded(folder):
    """The log of this process and its address for others."""
    log = EmbeddedLog(folder / "log.sqlite")
    listening = socket.create_server(("127.0.0.1", 0))
    service = LogService(log, lambda action, topic, scope: None)
    server = uvicorn.Server(uvicorn.Config(service, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield log, f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        service.stop()
        server.should_exit = True
        thread.join(10)
        log.close()
        listening.close()


@contextlib.contextmanager
def on(log, address, folder, quantities=3):
    """A store beside a log, with two systems and the Datastreams q0, q1, ... of the first."""
    store = open_store(f"sqlite:{folder / 'store.sqlite'}")
    store.migrate()
    for name in (CAR, STATION):
        ensure_topics(log.admin(), specs_of(store.create_system(name).result()))
    names = [f"q{i}" for i in range(quantities)]
    made = store.register_instances(load_instances(instances(names), CAR), "car").result()
    ids = {q: made.datastreams[q].id for q in names}
    try:
        yield Stand(folder, log, address, store, ids)
    finally:
        store.close()


@contextlib.contextmanager
def running(process):
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait(10)
        process.stdin.close()
