"""The log over HTTP when answers are lost, the server dies, or somebody sends nonsense."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import uvicorn

from twinstack.core.errors import (
    FatalLogError,
    Fenced,
    InvalidInput,
    PermissionDenied,
    RetriableLogError,
    SettingsError,
    TransactionAborted,
    TwinstackError,
    Unavailable,
    Undelivered,
    UnknownTopic,
    Unreachable,
)
from twinstack.core.limits import BODY_BYTES_MAX, LOG_COMMIT_BYTES_MAX
from twinstack.log.embedded import EmbeddedLog
from twinstack.log.http import HttpLog, LogService, wire
from twinstack.log.http.connection import _BY_CODE, Connections
from twinstack.log.packed.format import pack
from twinstack.log.packed.transport import Membership, Part, Want
from twinstack.log.seam import EARLIEST, Consumer, Log, OutRecord, TopicPartition, TopicSpec

CHILD = Path(__file__).parent / "log_children.py"
TP = TopicPartition("t", 0)
DEATHS = (
    "log.http.after_commit:5",
    "log.writer.after_commit:9",
    "log.writer.before_commit:9",
    "log.http.after_commit:30",
)


def values_of(log: Log, topic: str = "t") -> list[bytes]:
    consumer = log.consumer()
    consumer.assign({TopicPartition(topic, 0): EARLIEST})
    values: list[bytes] = []
    while batches := consumer.poll(0):
        values += [value for batch in batches for value in batch.values]
    return values


class Guard:
    """An `authorize` whose refusals the test sets."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.refused: set[str] = set()

    def __call__(self, action: str, topic: str | None, scope) -> None:
        self.asked.append((action, topic if topic is not None else scope.get("twinstack.log.id")))
        if action in self.refused or topic in self.refused:
            raise PermissionDenied(f"no {action}", fix="ask")


class Server:
    def __init__(self, log: EmbeddedLog) -> None:
        self.log = log
        self.guard = Guard()
        self.service = LogService(log, self.guard)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = uvicorn.Server(uvicorn.Config(self.service, log_level="error", lifespan="off", ws="none"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def post(self, operation: str, body: bytes, method: str = "POST") -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, f"{wire.PREFIX}/{operation}", body)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, (msgspec.json.decode(content) if response.status != 200 else {})

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def server(path: Path) -> Iterator[Server]:
    log = EmbeddedLog(path)
    log.admin().create_topics([TopicSpec("t"), TopicSpec("u")])
    server = Server(log)
    yield server
    server.close()
    log.close()


@pytest.fixture
def http_log(server: Server) -> Iterator[HttpLog]:
    log = HttpLog(server.url)
    yield log
    log.close()


class LossyProxy:
    """Passes requests on; while `lossy`, cuts the connection instead of passing some answers back."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.lose = lambda: False
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        upstream = socket.create_connection(("127.0.0.1", self._target))
        threading.Thread(target=self._pump, args=(client, upstream), daemon=True).start()
        while data := _received(upstream):
            if self.lose():
                self.lost += 1
                break
            try:
                client.sendall(data)
            except OSError:
                break
        for side in (client, upstream):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)  # close alone waits for the other thread's recv
            side.close()

    @staticmethod
    def _pump(client: socket.socket, upstream: socket.socket) -> None:
        while data := _received(client):
            try:
                upstream.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self._socket.close()


def _received(side: socket.socket) -> bytes:
    try:
        return side.recv(1 << 16)
    except OSError:
        return b""


@pytest.fixture
def proxy(server: Server) -> Iterator[LossyProxy]:
    proxy = LossyProxy(server.port)
    yield proxy
    proxy.close()


def test_lost_answers_are_no_second_records(server: Server, proxy: LossyProxy) -> None:
    dice = random.Random(3)
    log = HttpLog(proxy.url)
    producer = log.producer()
    transaction = log.transaction("owner")
    proxy.lose = lambda: dice.random() < 0.3
    for n in range(40):
        producer.send(OutRecord("t", b"p%d" % n))
        producer.flush(30)
        transaction.send(OutRecord("u", b"x%d" % n))
        transaction.commit("g", {TP: n})
    proxy.lose = lambda: False
    assert proxy.lost > 10
    assert values_of(server.log, "t") == [b"p%d" % n for n in range(40)]
    assert values_of(server.log, "u") == [b"x%d" % n for n in range(40)]
    assert server.log.committed("g") == {TP: 39}
    producer.close()
    log.close()


def test_a_commit_without_answer_is_repeated_or_shut_out(server: Server, proxy: LossyProxy) -> None:
    log = HttpLog(proxy.url)
    transaction = log.transaction("owner", timeout_ms=300)
    transaction.send(OutRecord("t", b"1"))
    proxy.lose = lambda: True
    with pytest.raises(RetriableLogError):
        transaction.commit("g", {TP: 1})
    with pytest.raises(TransactionAborted):
        transaction.send(OutRecord("t", b"2"))
    proxy.lose = lambda: False
    transaction.commit("g", {TP: 1})  # the same call with the same arguments
    assert values_of(server.log) == [b"1"]
    proxy.lose = lambda: True
    transaction.send(OutRecord("t", b"2"))
    with pytest.raises(RetriableLogError):
        transaction.commit("g", {TP: 2})
    proxy.lose = lambda: False
    transaction.abort()
    transaction.send(OutRecord("t", b"3"))
    transaction.commit("g", {TP: 3})
    assert values_of(server.log) == [b"1", b"2", b"3"]  # the second had been committed: the group's offset says so
    with pytest.raises(Fenced):
        server.log.commit("owner", 1, 99, [], "g", {TP: 0})
    log.close()


def start(path: Path, port: int, failpoint: str = "") -> subprocess.Popen[bytes]:
    env = {**os.environ, "TWINSTACK_FAILPOINT": failpoint}
    child = subprocess.Popen(
        [sys.executable, str(CHILD), "serve", str(path), str(port)], stdout=subprocess.PIPE, env=env
    )
    assert child.stdout.readline() == b"ready\n"
    return child


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def test_a_server_that_dies_and_comes_back(path: Path) -> None:
    """Killed after each kind of commit again and again: producer, transaction and group go on as if nothing was."""
    port = free_port()
    log = HttpLog(f"http://127.0.0.1:{port}")
    child = start(path, port)
    log.admin().create_topics([TopicSpec("t"), TopicSpec("u")])
    stop = threading.Event()
    problems: list[Exception] = []
    numbers = {"p": 0, "x": 0}
    consumed: list[bytes] = []

    def produce() -> None:
        producer = log.producer()
        while not stop.is_set():
            for _ in range(7):
                producer.send(OutRecord("t", b"%d" % numbers["p"], b"key"))
                numbers["p"] += 1
            producer.flush(60)
        producer.close(60)

    def transact() -> None:
        transaction = log.transaction("owner", timeout_ms=60_000)
        while not stop.is_set():
            transaction.send(OutRecord("u", b"%d" % numbers["x"], b"key"))
            transaction.commit("g", {TP: numbers["x"] + 1})
            numbers["x"] += 1

    def consume() -> None:
        consumer = log.consumer(group="readers", start=EARLIEST)
        consumer.subscribe(["t"])
        while not (stop.is_set() and len(consumed) >= numbers["p"]):
            consumed.extend(value for batch in consumer.poll(0.5) for value in batch.values)
        consumer.close()

    def guarded(work) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Exception as error:
                problems.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    threads = [guarded(work) for work in (produce, transact, consume)]
    try:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        for failpoint in DEATHS:
            child = start(path, port, failpoint)
            child.wait(60)
            assert child.returncode == -signal.SIGKILL
        child = start(path, port)
        before = dict(numbers)
        end = time.monotonic() + 40
        while numbers["p"] < before["p"] + 50 or numbers["x"] < before["x"] + 20:
            assert time.monotonic() < end and not problems, problems
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join(60)
        assert not problems
        assert values_of(log, "t") == [b"%d" % n for n in range(numbers["p"])]
        assert consumed == [b"%d" % n for n in range(numbers["p"])]
        assert values_of(log, "u") == [b"%d" % n for n in range(numbers["x"])]
        assert log.admin().group_offsets("g") == {TP: numbers["x"]}
        log.close()
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) in (0, -signal.SIGTERM)
    finally:
        stop.set()
        child.kill()
        child.wait(10)


def test_a_server_that_hangs_is_unreachable_to_ping(path: Path) -> None:
    port = free_port()
    child = start(path, port)
    log = HttpLog(f"http://127.0.0.1:{port}")
    log.ping()
    child.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}"):
        log.ping(2.0)
    assert time.monotonic() - started < 2.5
    child.send_signal(signal.SIGKILL)
    child.send_signal(signal.SIGCONT)
    child.wait(10)
    log.close()
    fresh = HttpLog(f"http://127.0.0.1:{port}")
    started = time.monotonic()
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}"):
        fresh.admin().topics()
    assert time.monotonic() - started < 5.5


def test_a_consumer_says_when_the_server_stays_away(server: Server, proxy: LossyProxy) -> None:
    log = HttpLog(proxy.url)
    consumer = log.consumer()
    consumer.assign({TP: EARLIEST})
    log._connections._answered = False  # as before the first answer: 5 s instead of 30
    proxy.lose = lambda: True
    assert consumer.poll(0.2) == []
    started = time.monotonic()
    with pytest.raises(Unreachable):
        while True:
            assert consumer.poll(0.2) == []
    assert time.monotonic() - started < 10
    proxy.lose = lambda: False
    server.log.append([Part("t", 0, pack([b"v"]))], "x", 1)
    assert consumer.poll(5.0)
    log.close()


# Bodies that are no requests

REQUESTS = {
    "fetch": wire.Fetch([Want("t", 0, 0)], 0, 10, 1000),
    "append": wire.Append([Part("t", 0, pack([b"v"]))], "p", 1),
    "init": wire.Init("owner"),
    "commit": wire.Commit("owner", 1, 1, [Part("t", 0, pack([b"v"]))], "g", [("t", 0, 5)]),
    "layout": wire.Layout("t"),
    "resolve": wire.Resolve([("t", 0, "latest")]),
    "groups/join": wire.Join("g", ["t"], "m"),
    "groups/leave": wire.Leave("g", "m"),
    "groups/heartbeat": wire.Heartbeat(Membership("g", "m", 1)),
    "groups/commit": wire.CommitOffsets("h", None, [("t", 0, 1)]),
    "groups/committed": wire.Committed("g"),
    "groups/delete": wire.DeleteGroup("h"),
    "topics/create": wire.CreateTopics([wire.Spec("new", 2)]),
    "topics/delete": wire.DeleteTopics(["u"]),
    "topics": wire.Topics(),
    "offsets-at": wire.OffsetsAt([("t", 0)], 5),
    "delete-records": wire.DeleteRecords([("t", 0, 0)]),
    "ping": wire.Ping(),
}


def test_every_operation_answers_its_good_request(server: Server) -> None:
    assert set(REQUESTS) == set(wire.REQUESTS)
    for operation, request in REQUESTS.items():
        status, error = server.post(operation, wire.encode(request))
        assert status == 200, (operation, error)


def test_nonsense_is_400_never_5xx(server: Server) -> None:
    dice = random.Random(5)
    nonsense = [b"", b"\x00", b"{}", b'{"a": 1}', b"\xc1", b"\x91" * 2_000, b"\xff" * 100, wire.encode([None] * 9)]
    nonsense += [
        wire.encode([5, {"a": 1}, -5, 2**63, "\x00", b"\xff"]),
        b"\xdd\xff\xff\xff\xff",
        dice.randbytes(300),
    ]
    for operation in wire.REQUESTS:
        for body in nonsense:
            if operation == "ping" or (operation == "topics" and body == wire.encode([None] * 9)):
                continue
            status, error = server.post(operation, body)
            assert status == 400, (operation, body[:20], status, error)
            assert error["code"] == "invalid_input" and error["fix"]


def test_damaged_requests_are_4xx_or_done(server: Server) -> None:
    dice = random.Random(6)
    statuses: Counter[int] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for operation, request in REQUESTS.items():
        good = wire.encode(request)
        for _ in range(60):
            damaged = bytearray(good)
            for _ in range(dice.randint(1, 3)):
                if damaged:
                    damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            connection.request("POST", f"{wire.PREFIX}/{operation}", bytes(damaged))
            response = connection.getresponse()
            content = response.read()
            statuses[response.status] += 1
            assert response.status < 500, (operation, bytes(damaged), content)
    connection.close()
    assert statuses[400] > 200
    server.log.ping()


def test_bodies_are_bounded(server: Server) -> None:
    for operation, limit in (("fetch", BODY_BYTES_MAX), ("append", LOG_COMMIT_BYTES_MAX)):
        status, error = server.post(operation, b"\x00" * (limit + 1))
        assert (status, error["code"]) == (413, "invalid_input"), error
    bomb = pack([b"\x00" * 20_000_000] * 1)
    request = wire.Append([Part("t", 0, pack([b"\x00" * 100_000] * 200))] * 2, "p", 1)
    assert len(wire.encode(request)) < 100_000 < len(bomb)
    status, error = server.post("append", wire.encode(request))
    assert (status, error["code"]) == (413, "record_too_large")


def test_other_methods_and_operations(server: Server) -> None:
    assert server.post("fetch", b"", "GET")[0] == 405
    assert server.post("no/such", b"")[0] == 404
    assert server.post("../admin", b"")[0] == 404


def test_values_of_others_limits(server: Server, http_log: HttpLog) -> None:
    for request in (
        wire.Fetch([], 10**9, 1, 1),
        wire.Fetch([Want("t", 0, 0)], 0, 0, 1),
        wire.CommitOffsets("g", None, [("t", 0, 1 << 41)]),
        wire.CommitOffsets("g", Membership("other", "m", 1), [("t", 0, 1)]),
        wire.Append([], "p", 1),
        wire.Append([Part("t", 0, pack([b"a"]))], "", 1),
    ):
        status, _ = server.post(wire.OPERATIONS[type(request)], wire.encode(request))
        assert status == 400
    for where in (Want("t", -1, 0), Want("t", 7, 0), Want("t", 1 << 62, 0)):
        assert server.post("fetch", wire.encode(wire.Fetch([where], 0, 1, 1)))[0] == 404


# Authorisation


def test_everything_is_asked(server: Server) -> None:
    wanted = {
        "fetch": {("read", "t")},
        "append": {("write", "t")},
        "init": {("transact", "owner")},
        "commit": {("transact", "owner"), ("write", "t"), ("read", "t")},
        "layout": {("describe", "t")},
        "resolve": {("read", "t")},
        "groups/join": {("group", "g"), ("read", "t")},
        "groups/leave": {("group", "g")},
        "groups/heartbeat": {("group", "g")},
        "groups/commit": {("group", "h"), ("read", "t")},
        "groups/committed": {("group", "g")},
        "groups/delete": {("group", "h")},
        "topics/create": {("create", "new")},
        "topics/delete": {("delete", "u")},
        "offsets-at": {("read", "t")},
        "delete-records": {("alter", "t")},
        "ping": {("ping", None)},
    }
    for operation, request in REQUESTS.items():
        if operation == "topics":
            continue
        server.guard.asked.clear()
        server.post(operation, wire.encode(request))
        assert set(server.guard.asked) == wanted[operation], operation


def test_what_is_refused_is_not_done(server: Server, http_log: HttpLog) -> None:
    for operation, request in REQUESTS.items():
        if operation == "topics":
            continue
        server.guard.refused = {"read", "write", "transact", "describe", "group", "create", "delete", "alter", "ping"}
        status, error = server.post(operation, wire.encode(request))
        assert (status, error["code"], error["fix"]) == (403, "permission_denied", "ask"), operation
    assert set(server.log.admin().topics()) == {"t", "u"}
    assert values_of(server.log) == []
    server.guard.refused = {"u"}
    assert set(http_log.admin().topics()) == {"t"}
    with pytest.raises(PermissionDenied, match="no describe"):
        http_log.admin().describe("u")
    producer = http_log.producer()
    producer.send(OutRecord("u", b"v"))
    with pytest.raises(Undelivered, match="no"):
        producer.flush(10)
    producer.send(OutRecord("t", b"v"))
    producer.flush(10)
    transaction = http_log.transaction("owner")
    transaction.send(OutRecord("t", b"w"))
    server.guard.refused = {"write"}
    with pytest.raises(TransactionAborted, match="no write"):
        transaction.commit()
    server.guard.refused = set()
    transaction.abort()
    transaction.commit()
    assert values_of(server.log) == [b"v"]


def test_the_token_is_sent(server: Server) -> None:
    seen: list[bytes] = []
    server.service._authorize = lambda action, topic, scope: seen.append(dict(scope["headers"]).get(b"authorization"))
    HttpLog(server.url, token="secret").ping()
    HttpLog(server.url).ping()
    assert seen == [b"Bearer secret", None]


# Errors


def test_errors_keep_their_class_and_fields(server: Server, http_log: HttpLog) -> None:
    with pytest.raises(UnknownTopic) as unknown:
        http_log.resolve({TopicPartition("missing", 0): "latest"})
    assert unknown.value.fields == {"topic": "missing"}
    assert unknown.value.fix
    assert set(_BY_CODE) >= {"fenced", "unknown_topic", "storage_full", "conflict", "record_too_large", "position_lost"}


class _Canned(threading.Thread):
    """A server that gives one answer to everything."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(daemon=True)
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        while True:
            client, _ = self._socket.accept()
            client.recv(1 << 16)
            client.sendall(self._answer)
            client.close()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops", Unavailable),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", PermissionDenied),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>", SettingsError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", SettingsError),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Unreachable),
        (b"", Unreachable),
        (b'HTTP/1.1 500 X\r\nContent-Length: 27\r\n\r\n{"error":"m","code":"fresh"}'[:-1], Unavailable),
    ],
)
def test_no_error_of_http_leaks(answer: bytes, kind: type[TwinstackError]) -> None:
    with pytest.raises(kind) as raised:
        Connections(_Canned(answer).url, "test", None).request(wire.Ping(), None, 5.0)
    assert raised.value.fix


@pytest.mark.parametrize("url", ["", "ftp://host", "host:80", "http://"])
def test_addresses_are_checked(url: str) -> None:
    with pytest.raises(SettingsError):
        HttpLog(url)


def test_names_that_do_not_resolve() -> None:
    with pytest.raises(Unreachable, match=r"no-such-host\.invalid:80"):
        HttpLog("http://no-such-host.invalid").ping()


# Long polls


def test_long_polls_of_many_wake_at_once(server: Server) -> None:
    readers = [HttpLog(server.url) for _ in range(20)]
    consumers = [log.consumer() for log in readers]
    for consumer in consumers:
        consumer.assign({TP: EARLIEST, TopicPartition("u", 0): EARLIEST})
    seen: list[float] = []

    def wait(consumer: Consumer) -> None:
        if consumer.poll(10.0):
            seen.append(time.monotonic())

    threads = [threading.Thread(target=wait, args=(consumer,)) for consumer in consumers]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    committed = time.monotonic()
    server.log.append([Part("u", 0, pack([b"v"]))], "x", 1)
    for thread in threads:
        thread.join(10)
    assert len(seen) == 20
    assert max(seen) - committed < 2.0
    for log in readers:
        log.close()


def test_a_stopping_service_lets_nobody_wait(server: Server, http_log: HttpLog) -> None:
    consumer = http_log.consumer()
    consumer.assign({TP: EARLIEST})
    consumer.poll(0)
    done = threading.Event()

    def read() -> None:
        http_log.fetch([Want("t", 0, 0)], 20_000, 1, 1, None)
        done.set()

    threading.Thread(target=read, daemon=True).start()
    time.sleep(0.3)
    assert not done.is_set()
    on_loop = server.service._on_loop
    on_loop._loop.call_soon_threadsafe(server.service.stop)
    assert done.wait(5)


def test_a_rebalance_wakes_a_waiting_member(server: Server) -> None:
    server.log.admin().create_topics([TopicSpec("wide", partitions=4)])
    one, two = (HttpLog(server.url) for _ in range(2))
    first = one.consumer(group="g", start=EARLIEST)
    first.subscribe(["wide"])
    first.poll(0)
    shares: list[int] = []

    def wait() -> None:
        first.poll(5.0)
        shares.append(len(first.assignment()))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    second = two.consumer(group="g", start=EARLIEST)
    second.subscribe(["wide"])
    time.sleep(0.3)
    server.log.append([Part("wide", p, pack([b"v"])) for p in range(4)], "x", 1)
    thread.join(10)
    assert shares == [2]
    second.close()
    for log in (one, two):
        log.close()


def test_a_dead_member_loses_its_partitions_after_a_session(server: Server, http_log: HttpLog) -> None:
    dead = HttpLog(server.url)
    member = dead.consumer(group="g", start=EARLIEST)
    member.subscribe(["t"])
    dead._heartbeats.close()  # its process is gone
    alive = http_log.consumer(group="g", start=EARLIEST)
    alive.subscribe(["t"])
    started = time.monotonic()
    while not alive.assignment():
        alive.poll(0.2)
        assert time.monotonic() - started < 15
    assert alive.assignment() == [TP]


def test_a_closed_log_behind_the_service(server: Server, http_log: HttpLog) -> None:
    server.log.close()
    with pytest.raises(FatalLogError):
        http_log.ping()


def test_requests_of_the_same_member_name_join_once(server: Server, http_log: HttpLog) -> None:
    first = http_log.join("g", ["t"], "same")
    again = http_log.join("g", ["t"], "same")
    assert (first.member, again.member) == ("same", "same")
    assert again.partitions == [TP]
    http_log.leave("g", "same")
    http_log.leave("g", "same")


def test_input_errors_come_back_as_they_are(http_log: HttpLog) -> None:
    with pytest.raises(InvalidInput):
        http_log.append([Part("t", 0, b"nonsense")], "p", 1)
