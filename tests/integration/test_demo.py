"""`twinstack demo` as `make demo` runs it: the streams flow, Ctrl+C ends all, the next start loses nothing."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from server_under_test import Server, gone, run, server, wait_until

from twinstack.log.kafka import node

ROOT = Path(__file__).resolve().parents[2]
APPS = {app["name"]: app for app in json.loads((ROOT / "demos" / "apps.json").read_text())["apps"]}
FORWARDING = {name for name, app in APPS.items() if app["text"].startswith("SELECT *")}
"""The others wait for what may take minutes: cars that come near each other, a minute that is over."""
SYSTEMS = [
    system
    for company in json.loads((ROOT / "demos" / "systems.json").read_text())["companies"]
    for system in company["systems"]
]
FLOW_S = 120


def apps(on: Server) -> dict[str, dict]:
    return {app["name"]: app for app in on.get("/api/v1/apps?limit=500")["items"]}


def flows(on: Server) -> bool:
    """Every app runs, and those that forward have put something out."""
    found = apps(on)
    return set(found) == set(APPS) and all(
        app["state"] == "running" and (name not in FORWARDING or app["counters"].get("records_out", 0) > 0)
        for name, app in found.items()
    )


def datastreams(on: Server) -> list[str]:
    return [d["name"] for d in on.get("/v1.1/Datastreams?$top=1000&$select=name")["value"]]


def records(on: Server) -> dict[str, list[tuple[str, str]]]:
    """topic -> (Datastream, phenomenonTime) of each record: what no restart may lose or double."""
    return {
        # Targets first: what stands there must be found at the source, which goes on meanwhile.
        f"{system}.{way}": [
            (r["value"]["Datastream"]["name"], r["value"]["phenomenonTime"]) for r in on.records(f"{system}.{way}")
        ]
        for way in ("ext", "int")
        for system in SYSTEMS
    }


def test_the_demo_flows_ends_and_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    with server(data, ("demo",)) as first:
        assert first.out[0] == f"ready {first.url}\n"
        assert wait_until(lambda: flows(first), FLOW_S), json.dumps(apps(first), indent=1)
        assert {s["name"] for s in first.get("/api/v1/systems")["items"]} >= set(SYSTEMS)
        page = first.call("GET", "/", headers={"Accept": "text/html"}).text
        for words in ("demo on this machine only", "Car1.Air Temperature", "Station_1.Air Temperature", "°C", *APPS):
            assert words in page
        streams = datastreams(first)
        assert max(Counter(streams).values()) == 1
        # The stations start first: Car2 may join after their first values and receive the next ones.
        assert wait_until(lambda: received(first, "car_2"), FLOW_S), first.out
        children = first.children()
        assert first.stop() == 0
        assert gone(children)
        assert_printed(first)
        assert "Traceback" not in "".join(first.err)
    with server(data, ("demo",)) as second:
        before = records(second)
        uids = {app["uid"] for app in apps(second).values()}
        assert wait_until(lambda: flows(second), FLOW_S), json.dumps(apps(second), indent=1)
        assert {app["uid"] for app in apps(second).values()} == uids
        assert sorted(datastreams(second)) == sorted(streams)
        children = second.children()
        after = records(second)
        assert second.stop() == 0
        assert gone(children)
    for topic, were in before.items():
        assert not Counter(were) - Counter(after[topic]), topic
        assert max(Counter(after[topic]).values(), default=1) == 1, topic
    assert_forwarded(after)


def received(demo: Server, program: str) -> bool:
    return any(line.startswith(f"{program} |   -> Received new external data-point of ") for line in list(demo.out))


def assert_printed(demo: Server) -> None:
    """The lines of the programs stand on stdout with their names, and whole in their logs."""
    printed = [line.rstrip("\n").partition(" | ") for line in demo.out[1:]]
    words = {"car_1": "The air temperature at the demo car 1 is ", "car_2": "  -> Received new external data-point of "}
    for name, begin in words.items():
        lines = [text for who, _, text in printed if who == name]
        assert any(text.startswith(begin) for text in lines), demo.out
        logged = (demo.data / "logs" / f"{name}.log").read_text(encoding="utf-8").splitlines()
        assert set(lines) <= set(logged)
    assert "datastack_adapter" not in {who for who, _, _ in printed}
    assert "datastack_adapter" in "".join(demo.err)


def assert_forwarded(records_by_topic: dict[str, list[tuple[str, str]]]) -> None:
    """What stands at a target stood at its source, and what the apps must forward of the first records is there."""
    for app in (APPS[name] for name in FORWARDING):
        source, target = records_by_topic[f"{app['sources'][0]}.int"], records_by_topic[f"{app['target']}.ext"]
        mine = [r for r in target if r[0].startswith(f"{app['sources'][0]}.")]
        assert mine, app["name"]
        times = {name: max(t for n, t in mine if n == name) for name, _ in mine}
        due = [r for r in source if r[0] in times and r[1] <= times[r[0]]]
        assert Counter(due) == Counter(mine), app["name"]


def test_a_folder_of_the_demo_is_begun_anew_by_reset(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    with server(data, ("demo",)) as first:
        first.post("/api/v1/systems", {"name": "cz.left.over.here"})
        first.stop()
    with server(data, ("demo", "--reset")) as second:
        assert "cz.left.over.here" not in {s["name"] for s in second.get("/api/v1/systems")["items"]}
        second.stop()


@pytest.mark.kafka
def test_on_kafka_the_first_record_can_be_waited_for_from_ready_on(tmp_path: Path) -> None:
    """At `ready` the topics are there; Kafka runs as long as the demo."""
    data = tmp_path / "demo"
    with server(data, ("demo", "--log", "kafka")) as demo:
        topic = "cz.icecars.iot4cps-wp5-CarFleet.Car1.ext"
        tailed = run(
            "tail", topic, "--from-beginning", "-n", "1", "--server", demo.url, "--timeout", "100", timeout_s=120
        )
        assert tailed.returncode == 0, tailed.stderr
        record = json.loads(tailed.stdout)
        assert record["Datastream"]["name"].startswith("is.iceland.iot4cps-wp5-WeatherService.Stations.Station_")
        children = demo.children()
        assert demo.stop() == 0
        assert gone(children)
        assert not node.status(data / "kafka").nodes[0].running
