from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).resolve().parents[3] / "demos"
sys.path.insert(0, str(DEMOS))

from simulator.track import Track, distance_m  # noqa: E402
from simulator.weather import AirTemperature  # noqa: E402


@pytest.mark.parametrize("name", ["car_1", "car_2"])
def test_a_track_has_many_vertices_in_salzburg(name: str) -> None:
    vertices = json.loads((DEMOS / "simulator" / "tracks.json").read_text())[name]
    assert len(vertices) >= 50
    assert all(47.7 < lat < 47.9 and 12.9 < lon < 13.2 and 400 < m < 1300 for lat, lon, m in vertices)


def test_a_car_never_jumps_and_turns_at_the_end() -> None:
    track = Track.load("car_2")
    steps = [track.position(m) for m in range(0, int(3 * track.length_m), 10)]
    assert max(distance_m(a, b) for a, b in itertools.pairwise(steps)) < 12
    assert distance_m(track.position(0), track.position(2 * track.length_m)) < 1


def test_the_cars_come_close_now_and_then() -> None:
    one, two = Track.load("car_1"), Track.load("car_2")
    near = sum(distance_m(one.position(s * 13.9), two.position(s * 13.9)) < 1230 for s in range(0, 20_000, 5))
    assert 50 < near < 3_000


def test_the_temperature_is_repeatable_plausible_and_crosses_zero() -> None:
    values = [AirTemperature(1).at(1e9)] + [
        v for a in [AirTemperature(1)] for v in [a.at(1e9 + 60 * i) for i in range(5000)]
    ]
    assert values[0] == values[1]
    assert -30 < min(values) < 0 < max(values) < 35
    assert AirTemperature(1, altitude_m=1270).at(1e9) < AirTemperature(1).at(1e9)


def test_each_demo_app_names_systems_of_the_demo() -> None:
    systems = {s for c in json.loads((DEMOS / "systems.json").read_text())["companies"] for s in c["systems"]}
    apps = json.loads((DEMOS / "apps.json").read_text())["apps"]
    assert len(apps) >= 8
    for app in apps:
        assert {*app["sources"], app["target"]} <= systems
        if app["text"].startswith("SELECT *"):
            assert "result" not in app["text"]  # a filter on a random value might forward nothing for minutes
