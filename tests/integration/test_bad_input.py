"""Bad input and bad luck on a real server: a clear error each, and nothing lost that was acknowledged."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from server_under_test import Server, instances, produce, server, wait_until

from twinstack import DigitalTwinClient
from twinstack.core.errors import (
    InvalidInput,
    InvalidName,
    InvalidResult,
    RecordTooLarge,
    TwinstackError,
    UnknownQuantity,
    Unreachable,
)
from twinstack.sensorthings.store import open_store, tables

SYSTEM = "cz.badinput.plant.source"


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("bad") / "data") as running:
        yield running


def client(on: Server, kind: str = "OM_Measurement") -> DigitalTwinClient:
    made = DigitalTwinClient("tester", SYSTEM, on.url, kafka_rest_server=on.url)
    made.register(instances(kind))
    return made


def test_each_mistake_of_a_program_is_named_and_the_next_record_goes_through(on: Server) -> None:
    with client(on) as twin:
        with pytest.raises(UnknownQuantity, match="temperatur"):
            twin.produce("temperatur", 1.0)
        with pytest.raises(InvalidResult, match="21,4"):
            twin.produce("temperature", "21,4")
        with pytest.raises(InvalidResult):
            twin.produce("temperature", float("nan"))
        twin.produce("temperature", 21.4).wait(10)
    results = [r["value"]["result"] for r in on.records(f"{SYSTEM}.int")]
    assert results == [21.4]


def test_a_record_of_2_mib_is_refused_by_client_and_doors(on: Server) -> None:
    system = "cz.badinput.plant.large"
    with DigitalTwinClient("tester", system, on.url, kafka_rest_server=on.url) as twin:
        twin.register(instances("OM_CategoryObservation"))
        with pytest.raises(RecordTooLarge) as caught:
            twin.produce("temperature", "x" * (2 << 20))
        assert caught.value.fix
        twin.produce("temperature", "small").wait(10)
    value = {"phenomenonTime": "2026-11-24T12:00:00Z", "result": "x" * (2 << 20), "Datastream": {"@iot.id": 1}}
    headers = {"Content-Type": "application/vnd.kafka.json.v2+json"}
    answer = on.call("POST", f"/topics/{system}.int", json={"records": [{"value": value}]}, headers=headers)
    refused = answer.status_code == 413 or answer.json()["offsets"][0]["error_code"] is not None
    assert refused, answer.text
    assert len(on.records(f"{system}.int")) == 1


MALFORMED = {
    "no JSON": ('{"Things": {', "JSON"),
    "no object": ("[1, 2]", "object"),
    "a thing that is not there": ({"Thing": "nobody"}, "nobody"),
    "a sensor that is not there": ({"Sensor": "nothing"}, "nothing"),
    "an observationType that is none": ({"observationType": "OM_Nonsense"}, "OM_Nonsense"),
    "no name": ({"name": None}, "name"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_instance_file_is_refused_and_nothing_of_it_is_registered(
    on: Server, tmp_path: Path, case: str
) -> None:
    change, told = MALFORMED[case]
    document = instances()
    if isinstance(change, dict):
        document["Datastreams"]["temperature"] |= change
    text = change if isinstance(change, str) else json.dumps(document)
    file = tmp_path / "instances.json"
    file.write_text(text)
    system = "cz.badinput.plant.malformed"
    with DigitalTwinClient("tester", system, on.url, kafka_rest_server=on.url) as twin:
        with pytest.raises(InvalidInput, match=told) as caught:
            twin.register(file)
        assert caught.value.fix
    body = f'{{"client": "tester", "instances": {text}}}'
    answer = on.call("POST", f"/api/v1/systems/{system}/instances", content=body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["fix"]
    names = [d["name"] for d in on.get("/v1.1/Datastreams?$top=1000")["value"]]
    assert not [name for name in names if name.startswith(system)]


@pytest.mark.parametrize("system", ["cz.bad input.plant.a", "cz.badinput.plant", "cz.badinput.plant.", "", "ts.a.b.c"])
def test_a_system_that_is_no_system_is_refused_by_client_and_server(on: Server, system: str) -> None:
    with pytest.raises(InvalidName) as caught:
        DigitalTwinClient("tester", system, on.url, kafka_rest_server=on.url)
    assert caught.value.fix
    answer = on.call("POST", "/api/v1/systems", json={"name": system})
    assert answer.status_code == 422
    assert answer.json()["fix"]


def test_no_server_is_said_with_its_address_in_five_seconds() -> None:
    with pytest.raises(Unreachable, match="localhost:9"):
        DigitalTwinClient("tester", SYSTEM, "localhost:9", kafka_rest_server="localhost:9").register(instances())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 48 MB of its own."""
    if os.geteuid() != 0:
        pytest.skip("a full disk needs root, to mount a small tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a full disk needs mount: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_nothing_acknowledged_is_lost(small_disk: Path) -> None:
    acknowledged: list[str] = []
    refused: list[Exception] = []
    with server(small_disk / "data") as on, client(on, "OM_CategoryObservation") as twin:
        twin.produce("temperature", "first").wait(10)
        filler = small_disk / "filler"
        _fill(filler, small_disk, leave_bytes=3 << 20)
        for n in range(400):
            result = f"{n} {os.urandom(20_000).hex()}"
            try:
                twin.produce("temperature", result).wait(10)
                acknowledged.append(result)
            except TwinstackError as error:
                refused.append(error)
                break
        assert refused, "a disk of 48 MB took it all"
        assert on.call("GET", "/healthz").status_code == 200
        filler.unlink()

        def goes_on() -> bool:
            try:
                twin.produce("temperature", "last").wait(5)
            except TwinstackError:
                return False
            return True

        assert wait_until(goes_on, 60)
        found = [r["value"]["result"] for r in on.records(f"{SYSTEM}.int")]
    assert found[0] == "first"
    assert found[-1] == "last"
    assert [r for r in found if r in set(acknowledged)] == acknowledged


def _fill(filler: Path, folder: Path, leave_bytes: int) -> None:
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with filler.open("wb") as file:
        file.write(b"\0" * max(0, free - leave_bytes))


def test_what_comes_right_after_a_power_loss_is_in_history(tmp_path: Path) -> None:
    """The log may have lost its last seconds and the store not: what is produced next stands at offsets that the
    archive has passed already."""
    with server(tmp_path / "data") as on:
        with client(on) as twin:
            twin.produce("temperature", 1.0).wait(10)
        assert wait_until(lambda: _history(on) == [1.0], 20)
    store = open_store(f"sqlite:///{tmp_path / 'data' / 'store.sqlite'}")
    try:
        c = tables.archive_offset.c
        lost = sa.update(tables.archive_offset).where(c.topic == f"{SYSTEM}.int").values(next_offset=c.next_offset + 5)
        store.write(lambda tx: tx.connection.execute(lost)).result()
    finally:
        store.close()
    with server(tmp_path / "data") as on:
        produce(on, SYSTEM, "Station_1.Air Temperature", [2.0, 3.0])
        assert wait_until(lambda: _history(on) == [1.0, 2.0, 3.0], 20), _history(on)


def _history(on: Server) -> list[float]:
    return sorted(o["result"] for o in on.get("/v1.1/Observations")["value"])
