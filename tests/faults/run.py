"""One fault run on one log: produce, kill, wait for the end of the line, compare."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.ledger import Ledger, Place, compare, keep, size, total
from tests.faults.stand import Stand, running

from twinstack import DigitalTwinClient
from twinstack.core import failpoints
from twinstack.core.observations import decode
from twinstack.log.connect import connect
from twinstack.log.seam import TopicPartition

SOURCE = "cz.faults.plant.source"
TARGET = "at.faults.plant.target"
STREAMS = 6
CHUNK = 20
KINDS = ("server", "app", "archive", "outbox")
SETTLE_S = 120
FAILPOINT_S = 30
EVERY_POST = 40
"""One of so many observations goes through the SensorThings API, so that the outbox has work too."""


@dataclass(frozen=True)
class Plan:
    log: str
    seed: int
    kills: int
    observations: int
    failpoints: bool = True
    kinds: tuple[str, ...] = KINDS
    """Each kind is killed equally often, in random order."""
    names: tuple[str, ...] = field(default_factory=lambda: tuple(sorted(failpoints.NAMES)))
    """The failpoints, each run into once if the run can reach it."""

    @property
    def wanted_failpoints(self) -> list[str]:
        """The embedded log's background comes last: it needs many rows."""
        if not self.failpoints:
            return []
        wanted = reachable(self.log).intersection(self.names)
        return sorted(wanted, key=lambda name: (name.startswith("log.housekeeping"), name))


def reachable(log: str) -> set[str]:
    """The failpoints of a run: the embedded log's own places are not on Kafka, and the stand's app is stateless
    (`tests/contract/streams/test_stateful.py` kills at those of stages)."""
    elsewhere = ("streams.stage.",) if log == "embedded" else ("streams.stage.", "log.")
    return {name for name in failpoints.NAMES if not name.startswith(elsewhere)}


def passes(n: int) -> bool:
    return n % 3 != 0


QUERY = "SELECT * FROM * WHERE result % 3 <> 0;"


def instances() -> dict[str, Any]:
    prop = {"name": "Count", "description": "A count", "definition": "http://example.org/count"}
    streams = {
        f"count_{i}": {
            "name": f"Count {i}",
            "description": "Counts 0, 1, 2, ...",
            "observationType": "OM_CountObservation",
            "unitOfMeasurement": {"name": "one", "symbol": "1", "definition": "http://example.org/one"},
            "Thing": "counter",
            "Sensor": "counting",
            "ObservedProperty": prop,
        }
        for i in range(2 * STREAMS)  # the second half is written through the API
    }
    where = {"type": "Point", "coordinates": [13.05, 47.8]}
    place = {"name": "Hall", "description": "Hall", "encodingType": "application/vnd.geo+json", "location": where}
    return {
        "Things": {"counter": {"name": "Counter", "description": "A counter", "Locations": [place]}},
        "Sensors": {"counting": {"name": "Counting", "description": "-", "encodingType": "text/html", "metadata": "-"}},
        "Datastreams": streams,
    }


class Traffic:
    """Produces through client and API at once, and remembers what was acknowledged and what had no answer."""

    def __init__(self, stand: Stand, observations: int) -> None:
        self.stand = stand
        self.stop = threading.Event()
        self.acknowledged: Place = {}
        self.unanswered: Place = {}
        self.errors: list[str] = []
        self._observations = observations
        self._allowed = threading.Condition()
        self._share = 0.0
        posts = observations // EVERY_POST
        address = (
            {"kafka_bootstrap_servers": stand.log_address} if stand.log_address else {"kafka_rest_server": stand.url}
        )
        self.client = DigitalTwinClient("counter", SOURCE, stand.url, **address)
        self.client.register(instances())
        self.ids = {d["name"]: d["@iot.id"] for d in datastreams(stand, SOURCE)}
        self._threads = [
            threading.Thread(target=self._guard, args=(self._produce, observations - posts), daemon=True),
            threading.Thread(target=self._guard, args=(self._post, posts), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def allow(self, share: float) -> None:
        """Lets the traffic run until this share of all observations is sent: each fault meets its part of it."""
        with self._allowed:
            self._share = max(self._share, share)
            self._allowed.notify_all()

    def _await_leave(self, sent: int, of: int) -> None:
        with self._allowed:
            self._allowed.wait_for(lambda: sent < self._share * of or self._share >= 1)

    @property
    def done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def _guard(self, work: Callable[[int], None], n: int) -> None:
        try:
            work(n)
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")
            raise

    def _produce(self, observations: int) -> None:
        counts = [0] * STREAMS
        sent = 0
        while sent < observations and not self.stop.is_set():
            self._await_leave(sent, observations)
            receipts = []
            for i in range(STREAMS):
                numbers = list(range(counts[i], counts[i] + CHUNK))
                receipts.append((i, numbers, self.client.produce_many(f"count_{i}", numbers)))
                counts[i] += CHUNK
                sent += CHUNK
            for i, numbers, receipt in receipts:
                receipt.wait(timeout=120)
                self.acknowledged.setdefault(name(i), []).extend(numbers)
        self.client.disconnect()

    def _post(self, observations: int) -> None:
        for n in range(observations):
            i = STREAMS + n % STREAMS
            number = n // STREAMS
            self._await_leave(n, observations)
            self._post_one(i, number)
            if self.stop.is_set():
                return

    def _post_one(self, i: int, number: int) -> None:
        """Repeats only where the server surely did not take it: a refused connection."""
        while not self.stop.is_set():
            try:
                self.stand.post(f"/v1.1/Datastreams({self.ids[name(i)]})/Observations", {"result": number})
            except ConnectionRefusedError:
                time.sleep(0.05)
            except OSError as error:
                if isinstance(getattr(error, "reason", None), ConnectionRefusedError):
                    time.sleep(0.05)
                    continue
                if getattr(error, "code", 0) in (503, 507):
                    time.sleep(0.2)
                    continue
                self.unanswered.setdefault(name(i), []).append(number)
                return
            except Exception:  # a connection cut in the middle of an answer has many faces
                self.unanswered.setdefault(name(i), []).append(number)
                return
            else:
                self.acknowledged.setdefault(name(i), []).append(number)
                return


def name(i: int) -> str:
    return f"{SOURCE}.Counter.Count {i}"


def datastreams(stand: Stand, system: str) -> list[dict[str, Any]]:
    """The system's Datastreams; at a target these are its received copies."""
    request = urllib.request.Request(f"{stand.url}/v1.1/Datastreams?$top=1000", headers={"Twinstack-System": system})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return [d for d in json.load(answer)["value"] if d["name"].startswith(f"{SOURCE}.")]


def run(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> Ledger:
    """Runs the plan in `folder` (empty). The ledger says what differs."""
    started = time.monotonic()
    rng = random.Random(plan.seed)
    with log_service(plan.log, folder) as address, running(folder, address) as stand:
        for system in (SOURCE, TARGET):
            stand.post("/api/v1/systems", {"name": system})
        stand.post("/api/v1/apps", {"name": "forward", "target": TARGET, "sources": [SOURCE], "text": QUERY})
        wait(lambda: _app_state(stand) == "running", SETTLE_S, lambda: f"the app runs: {stand.tail()}")
        traffic = Traffic(stand, plan.observations)
        killed, reached = _break(plan, stand, traffic, rng, say)
        say(f"{plan.log}: {len(killed)} kills, waiting for the end of the line")
        wait(lambda: traffic.done, SETTLE_S, lambda: f"traffic goes on: {size(traffic.acknowledged)} acknowledged")
        if traffic.errors:
            raise RuntimeError(f"The producer failed: {traffic.errors}; {stand.tail()}")
        places = _settle(stand, traffic, say)
    missed = [n for n in plan.wanted_failpoints if n not in reached]
    on_log = places["int"]
    differences = {
        "int": compare(on_log, traffic.acknowledged, traffic.unanswered),
        "ext": compare(places["ext"], keep(on_log, passes)),
        "history_source": compare(places["history_source"], on_log, ordered=False),
        "history_target": compare(places["history_target"], places["ext"], ordered=False),
    }
    return Ledger(
        log=plan.log,
        seed=plan.seed,
        kills=total(killed),
        failpoints_reached=reached,
        failpoints_missed=missed,
        acknowledged=size(traffic.acknowledged),
        unanswered=size(traffic.unanswered),
        counts={key: size(place) for key, place in places.items()},
        differences=differences,
        seconds=time.monotonic() - started,
    )


def _app_state(stand: Stand) -> str:
    return str(stand.get("/api/v1/apps")["items"][0]["state"])


def _break(
    plan: Plan, stand: Stand, traffic: Traffic, rng: random.Random, say: Callable[[str], None]
) -> tuple[list[str], list[str]]:
    """Random kills spread over the traffic, then one run-up for each failpoint; each meets its own part of it."""
    killed: list[str] = []
    reached: list[str] = []
    kinds = [plan.kinds[i % len(plan.kinds)] for i in range(plan.kills)]
    rng.shuffle(kinds)
    steps = (plan.kills + len(plan.wanted_failpoints)) * 4 // 3 + 1  # a quarter is left for the last step
    for step, kind in enumerate(kinds):
        traffic.allow((step + 1) / steps)
        _wait_for_progress(traffic, (step + rng.random()) / steps * plan.observations)
        if wait_true(lambda kind=kind: stand.kill(kind), 20):
            killed.append(kind)
            say(f"{plan.log}: kill {len(killed)}: {kind} after {size(traffic.acknowledged)}")
        if kind == "server":
            stand.start()
    for step, failpoint in enumerate(plan.wanted_failpoints, plan.kills):
        stand.stop()
        stand.start(failpoint)
        last = failpoint == plan.wanted_failpoints[-1]
        traffic.allow(1 if last else (step + 1) / steps)
        if wait_true(stand.marker(failpoint).exists, FAILPOINT_S):
            reached.append(failpoint)
            killed.append(f"failpoint {failpoint}")
        say(f"{plan.log}: failpoint {failpoint}: {'reached' if failpoint in reached else 'NOT reached'}")
        if wait_true(lambda: not stand.alive(), 0.5):
            stand.start()
    traffic.allow(1)
    return killed, reached


def _wait_for_progress(traffic: Traffic, observations: float) -> None:
    """Until so many are acknowledged, or nothing more comes for a while."""
    deadline_s = time.monotonic() + 10
    while size(traffic.acknowledged) < observations and not traffic.done and time.monotonic() < deadline_s:
        time.sleep(0.01)


def _settle(stand: Stand, traffic: Traffic, say: Callable[[str], None]) -> dict[str, Place]:
    """Reads all four places again and again until nothing more comes, or they hold what they must."""
    deadline_s = time.monotonic() + SETTLE_S
    places: dict[str, Place] = {}
    sizes: dict[str, int] = {}
    while time.monotonic() < deadline_s:
        before, sizes = sizes, {}
        on_log = read_topic(stand, f"{SOURCE}.int")
        places = {
            "int": on_log,
            "ext": read_topic(stand, f"{TARGET}.ext"),
            "history_source": read_history(stand, SOURCE),
            "history_target": read_history(stand, TARGET),
        }
        sizes = {key: size(place) for key, place in places.items()}
        say(f"{sizes} of {size(traffic.acknowledged)} acknowledged")
        whole = sizes["int"] >= size(traffic.acknowledged) and sizes["history_source"] >= sizes["int"]
        whole = whole and sizes["ext"] >= size(keep(on_log, passes)) and sizes["history_target"] >= sizes["ext"]
        if whole and sizes == before:
            return places
        time.sleep(1)
    say(f"not settled; apps: {stand.get('/api/v1/apps')}; server: {stand.tail()}")
    return places


def read_topic(stand: Stand, topic: str) -> Place:
    """Everything that is committed on a topic, by Datastream, in order."""
    log = connect(stand.log_address or stand.url, client_id="ledger")
    try:
        admin = log.admin()
        tps = [TopicPartition(topic, p) for p in range(admin.describe(topic).partitions)]
        ends = {tp: end for tp, end in admin.end_offsets(tps).items() if end > 0}
        consumer = log.consumer(client_id="ledger")
        consumer.assign(dict.fromkeys(tps, "earliest"))
        place: Place = {}
        deadline_s = time.monotonic() + 60
        while ends and time.monotonic() < deadline_s:
            for batch in consumer.poll(0.5, 10_000):
                for value in batch.values:
                    record = decode(value or b"")
                    place.setdefault(record["Datastream"]["name"], []).append(int(record["result"]))
            ends = {tp: end for tp, end in ends.items() if (consumer.position(tp) or 0) < end}
        consumer.close()
        return place
    finally:
        log.close()


def read_history(stand: Stand, system: str) -> Place:
    return {d["name"]: [int(o["result"]) for o in stand.observations(d["@iot.id"])] for d in datastreams(stand, system)}


def wait_true(check: Callable[[], bool], timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if check():
            return True
        time.sleep(0.02)
    return False


def wait(check: Callable[[], bool], timeout_s: float, why: Callable[[], str]) -> None:
    if not wait_true(check, timeout_s):
        raise RuntimeError(f"Not within {timeout_s} s: {why()}")


@contextmanager
def log_service(log: str, folder: Path) -> Iterator[str | None]:
    """None for the embedded log (the server has it), the address of a real Kafka node otherwise."""
    if log == "embedded":
        yield None
        return
    from tests.services.kafka import running_node

    with running_node(folder / "kafka") as address:
        yield address
