from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

import twinstack
from twinstack.client.announce import logger as announcer
from twinstack.client.catalogue import Catalogue, completed
from twinstack.client.consuming import decode_observation
from twinstack.client.digital_twin_client import parse_attributes
from twinstack.client.existing import full_names
from twinstack.client.http import HttpServer, parse_addresses, raise_for_answer
from twinstack.client.presence import TRANSITIONS, Presence
from twinstack.client.receipts import Receipt
from twinstack.client.rest_producer import encode_record
from twinstack.client.rest_reader import ListBatch
from twinstack.client.subscriptions import load_subscription
from twinstack.core import errors
from twinstack.core.errors import InvalidInput, InvalidInstances, InvalidRecord, SettingsError, TimedOut, Undelivered
from twinstack.core.names import parse_system
from twinstack.log.seam import Delivery

SYSTEM = parse_system("cz.icecars.fleet.Car1")


def test_the_public_door_is_exact() -> None:
    assert twinstack.__all__ == ["AsyncDigitalTwinClient", "DigitalTwinClient", "__version__"]
    for name in twinstack.__all__:
        assert getattr(twinstack, name) is not None
    with pytest.raises(AttributeError):
        _ = twinstack.KafkaLog  # type: ignore[attr-defined]
    assert (Path(twinstack.__file__).parent / "py.typed").exists()


def test_the_originals_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "compat"))
    for name in [n for n in sys.modules if n == "client" or n.startswith("client.")]:
        monkeypatch.delitem(sys.modules, name)
    from client.digital_twin_client import DigitalTwinClient  # type: ignore[import-not-found]

    assert DigitalTwinClient is twinstack.DigitalTwinClient


def test_the_printed_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    line = "init: Initialising Digital Twin Client with name '%s' on '%s'"
    announcer.info(line, "demo_car_1", "at.srfg.iot-iot4cps-wp5.CarFleet")
    expected = (
        "INFO:PR Client Logger:init: Initialising Digital Twin Client with name 'demo_car_1' "
        "on 'at.srfg.iot-iot4cps-wp5.CarFleet'\n"
    )
    assert capsys.readouterr().err == expected
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
    announcer.info(line, "a", "b")
    assert capsys.readouterr().err == ""


# Addresses and answers


def test_addresses() -> None:
    one, two = parse_addresses("x:tok%40en@host:1908, https://other/base/", "gost_servers", "default")
    assert (one.url, one.token, one.shown) == ("http://host:1908", "tok@en", "host:1908")
    assert (two.url, two.token, two.shown) == ("https://other/base", "default", "other")
    assert "tok" not in repr(one)
    (six,) = parse_addresses("[::1]:80", "a")
    assert (six.url, six.is_loopback) == ("http://[::1]:80", True)
    for wrong in ("", " , ", "host:port", "ftp://x", "a b:1", "http://"):
        with pytest.raises(SettingsError):
            parse_addresses(wrong, "gost_servers")


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (404, {"code": "unknown_system", "detail": "No such.", "fix": "Create it."}, errors.UnknownSystem, "No such."),
        (422, {"code": "invalid_instances", "detail": "Wrong."}, errors.InvalidInstances, "Wrong."),
        (401, {"title": "Unauthorized"}, errors.PermissionDenied, "token"),
        (403, {"code": "permission_denied", "detail": "No."}, errors.PermissionDenied, "No."),
        (409, {"code": "conflict", "detail": "Busy."}, errors.Conflict, "Busy."),
        (413, {}, errors.RecordTooLarge, "Too Large"),
        (429, {}, errors.Unavailable, "less often"),
        (500, "<html>", errors.Unavailable, "500"),
        (503, {"code": "storage_full", "detail": "Full."}, errors.StorageFull, "Full."),
        (400, {"error_code": 400, "message": "Bad."}, errors.InvalidInput, "Bad."),
        (422, {"code": "query_error", "detail": "made from more than a message"}, errors.InvalidInput, "more"),
        (422, {"code": "x", "detail": "D", "errors": [{"message": "line 3"}]}, errors.InvalidInput, "line 3"),
    ],
)
def test_answers_become_errors_of_the_tree(status: int, body: Any, kind: type[Exception], said: str) -> None:
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    with pytest.raises(kind, match=said) as error:
        raise_for_answer(httpx.Response(status, content=content), "host:1")
    assert type(error.value) is kind
    assert error.value.fields["status"] == status  # type: ignore[attr-defined]
    assert error.value.fields["reply"] == body  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ConnectError("x"), errors.Unreachable),
        (httpx.ConnectTimeout("x"), errors.Unreachable),
        (httpx.ReadTimeout("x"), errors.TimedOut),
        (httpx.WriteTimeout("x"), errors.TimedOut),
        (httpx.PoolTimeout("x"), errors.TimedOut),
        (httpx.ReadError("x"), errors.Unreachable),
        (httpx.RemoteProtocolError("x"), errors.Unreachable),
        (httpx.ProxyError("x"), errors.Unreachable),
        (httpx.TooManyRedirects("x"), errors.Unreachable),
        (httpx.DecodingError("x"), errors.Unreachable),
    ],
)
def test_errors_of_httpx_do_not_leak(raised: Exception, kind: type[Exception]) -> None:
    server = HttpServer(parse_addresses("host:1", "a"))

    def fail(request: httpx.Request) -> httpx.Response:
        raise raised

    server._client = httpx.Client(transport=httpx.MockTransport(fail))
    with pytest.raises(kind, match="host:1"):
        server.request("GET", "/")


def test_the_next_server_is_asked_when_one_is_away() -> None:
    server = HttpServer(parse_addresses("one:1,two:2", "a"))
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "one":
            raise httpx.ConnectError("x")
        return httpx.Response(200)

    server._client = httpx.Client(transport=httpx.MockTransport(answer))
    server.request("GET", "/")
    server.request("GET", "/")
    assert asked == ["one", "two", "two"]


# Files


def test_subscriptions(tmp_path: Path) -> None:
    own, foreign = f"{SYSTEM}.Car1.Speed", "is.iceland.weather.Stations.S1.Air"
    path = tmp_path / "subscriptions.json"
    path.write_text(json.dumps({"subscribed_datastreams": [foreign, "*"]}))
    subscription = load_subscription(path, SYSTEM)
    assert (subscription.names, subscription.everything) == (frozenset({foreign}), True)
    assert subscription.topics == [f"{SYSTEM}.ext"]
    assert subscription.takes_all_of(f"{SYSTEM}.ext")
    both = load_subscription([own, foreign], SYSTEM)
    assert both.topics == [f"{SYSTEM}.ext", f"{SYSTEM}.int"]
    assert not both.takes_all_of(f"{SYSTEM}.ext")
    # a producer may bring a file that subscribes nothing
    nothing = load_subscription({"subscribed_datastreams": []}, SYSTEM)
    assert (nothing.names, nothing.everything) == (frozenset(), False)
    for wrong in ({}, {"subscribed_datastreams": "x"}, {"subscribed_datastreams": [1]}):
        with pytest.raises(InvalidInput, match="subscribed_datastreams"):
            load_subscription(wrong, SYSTEM)
    path.write_text("{")
    with pytest.raises(InvalidInput, match=r"subscriptions\.json is not a JSON object"):
        load_subscription(str(path), SYSTEM)
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_subscription(tmp_path / "missing.json", SYSTEM)


def test_mappings() -> None:
    document = {"Datastreams": {"t": {"Thing": "S1", "name": "Air"}, "u": {"Thing": f"{SYSTEM}.S1", "name": "Air"}}}
    assert full_names(str(SYSTEM), document) == dict.fromkeys(("t", "u"), f"{SYSTEM}.S1.Air")
    for wrong in ({}, {"Datastreams": {}}, {"Datastreams": {"t": 1}}, {"Datastreams": {"t": {"Thing": "S1"}}}):
        with pytest.raises(InvalidInstances):
            full_names(str(SYSTEM), wrong)


def test_additional_attributes() -> None:
    assert parse_attributes("longitude, latitude,attitude,") == {"longitude", "latitude", "attitude"}
    assert parse_attributes("") == frozenset()
    with pytest.raises(InvalidInput):
        parse_attributes("a b")


# Records


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"[]",
        b"NaN",
        b'{"a":1}{"b":2}',
        b'{"result":1,"result":2}',
        b'{"result":1e999}',
        b"\xff",
        b"[" * 10**5,
    ],
)
def test_poison_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidRecord):
        decode_observation(value)


def test_observations_are_read_with_and_without_a_schema_id() -> None:
    value = b'{"result":{"result":1},"Datastream":{"@iot.id":1}}'
    assert decode_observation(value) == decode_observation(b"\0\0\0\0\x05" + value) == json.loads(value)


def test_records_for_http_keep_the_bytes_of_the_value() -> None:
    body = encode_record(b'{"result":1.50}', b'k"1', (("ts-id", b"x"),), 2)
    assert b'{"value":{"result":1.50},' in body
    assert json.loads(body) == {
        "value": {"result": 1.5},
        "key": 'k"1',
        "headers": [{"name": "ts-id", "value": "eA=="}],
        "partition": 2,
    }


class Sender:
    """Settles what a test says."""

    def __init__(self) -> None:
        self.known: bool | Undelivered = False
        self.flushes = 0

    def fate(self, number: int) -> bool | Undelivered:
        return self.known

    def poll(self) -> None:
        pass

    def flush(self, timeout_s: float) -> None:
        self.flushes += 1
        self.known = True


def test_receipts() -> None:
    sender = Sender()
    single = Receipt(["id"], sender)
    assert not single.done
    with pytest.raises(TimedOut):
        single.wait(0.01)
    single.settle(Delivery("t", 1, 5))
    assert single.wait().delivery == Delivery("t", 1, 5)
    lost = Receipt(["id"], sender)
    lost.settle(errors.UnknownTopic("gone"))
    with pytest.raises(Undelivered, match="gone"):
        lost.wait()
    batch = Receipt(["a", "b"], sender, mark=2)
    assert not batch.done
    assert batch.wait().done
    assert sender.flushes == 1
    sender.known = Undelivered(2, "why")
    with pytest.raises(Undelivered, match="why"):
        Receipt(["a", "b"], sender, mark=2).wait()
    assert Receipt([], sender, mark=0).done


# The cache of Datastreams, and presence


class Meta:
    """`.meta` and the metadata service in one: what a test puts in comes out."""

    def __init__(self) -> None:
        self.batches: list[ListBatch] = []
        self.entities: dict[str, Any] = {}
        self.asked: list[object] = []
        self.now_s = 0.0

    def put(self, key: str, entity: Mapping[str, Any] | None) -> None:
        batch = ListBatch(f"{SYSTEM}.meta", 0)
        batch.keys, batch.offsets = [key.encode()], [0]
        batch.values = [None if entity is None else json.dumps(entity).encode()]
        self.batches.append(batch)

    def assigned(self, positions: object) -> Meta:
        return self

    def poll(self, timeout_s: float, records_max: int = 5_000) -> list[ListBatch]:
        self.now_s += timeout_s
        batches, self.batches = self.batches, []
        return batches

    def find(self, names: Sequence[str]) -> dict[str, Any]:
        self.asked += names
        return {n: self.entities[n] for n in names if n in self.entities}

    def get(self, identity: int) -> Any:
        self.asked.append(identity)
        return self.entities.get(str(identity))

    def close(self) -> None:
        pass


def make_catalogue() -> tuple[Catalogue, Meta]:
    meta = Meta()
    catalogue = Catalogue(SYSTEM, meta, meta, lambda: meta.now_s)  # type: ignore[arg-type]
    catalogue.open()
    return catalogue, meta


def test_a_cached_datastream_costs_no_question() -> None:
    catalogue, meta = make_catalogue()
    key = f"{SYSTEM}.T.S"
    meta.put(key, {"@iot.id": 3, "name": f"{SYSTEM}.T.Renamed", "copy_of": 99})
    assert catalogue.resolve({"@iot.id": 3, "name": key}, own=True)["name"] == f"{SYSTEM}.T.Renamed"
    assert catalogue.resolve({"@iot.id": 99}, own=False)["@iot.id"] == 3
    assert key in catalogue.by_key
    assert meta.asked == []
    meta.put(key, None)
    meta.now_s += 10
    assert catalogue.refresh()
    assert key not in catalogue.by_key


def test_an_unknown_datastream_is_asked_for_now_and_then() -> None:
    catalogue, meta = make_catalogue()
    key = f"{SYSTEM}.T.S"
    for _ in range(3):
        entity = catalogue.resolve({"@iot.id": 5, "name": key}, own=False)
    assert entity["name"] == key
    assert entity["Thing"]["name"] == f"{SYSTEM}.T"
    assert entity["unitOfMeasurement"]["symbol"] == ""
    assert meta.asked == [key]  # once; and the source's id says nothing on .ext
    meta.now_s += 60
    meta.entities[key] = {"@iot.id": 5, "name": key, "unitOfMeasurement": {"symbol": "K"}}
    assert catalogue.resolve({"@iot.id": 5, "name": key}, own=False)["unitOfMeasurement"]["symbol"] == "K"
    assert catalogue.resolve({}, own=True)["name"] == ""
    assert catalogue.resolve({"@iot.id": True}, own=True)["@iot.id"] is True


def test_hidden_fields_are_empty() -> None:
    entity = completed({"name": "x", "Thing": None, "description": None}, "a.b.c.d.T.S")
    assert entity["Thing"] == {"name": "a.b.c.d.T"}
    assert entity["description"] is None


def test_states_follow_their_table() -> None:
    seen: list[str] = []
    presence = Presence(None, None, counts=dict, monotonic_s=lambda: 0.0, on_state=seen.append)  # type: ignore[arg-type]
    for state in ("online", "online", "offline", "online", "closed", "online", "offline"):
        presence.move(state)  # type: ignore[arg-type]
    assert seen == ["online", "offline", "online", "closed"]
    assert TRANSITIONS["closed"] == frozenset()


def test_a_failing_on_state_breaks_nothing() -> None:
    def fail(state: str) -> None:
        raise ValueError(state)

    presence = Presence(None, None, counts=dict, monotonic_s=lambda: 0.0, on_state=fail)  # type: ignore[arg-type]
    presence.move("online")
    assert presence.state == "online"
