from __future__ import annotations

import json
from pathlib import Path

import pytest

from twinstack.core.errors import InvalidInstances
from twinstack.core.instances import load_instances

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = "cz.icecars.iot4cps-wp5-CarFleet.Car1"
CAR1 = ROOT / "demos" / "CarFleet" / "Car1" / "instances.json"


def test_names_are_qualified_and_links_are_full_names() -> None:
    instances = load_instances(CAR1, SYSTEM)
    temperature = instances.datastreams["temperature"]
    assert temperature.name == f"{SYSTEM}.Car1.Air Temperature"
    assert temperature.thing == f"{SYSTEM}.Car1"
    assert temperature.sensor == f"{SYSTEM}.Thermometer"
    assert temperature.observed_property["name"] == f"{SYSTEM}.Air Temperature"
    assert temperature.entity["observationType"].endswith("/OM_Measurement")


def test_loading_what_was_loaded_changes_nothing() -> None:
    document = json.loads(CAR1.read_text(encoding="utf-8"))
    document["Things"]["car_1"]["name"] = f"{SYSTEM}.Car1"
    assert load_instances(document, SYSTEM) == load_instances(CAR1, SYSTEM)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("Sensors"), "Datastreams.temperature.Sensor names 'thermometer'"),
        (lambda d: d["Datastreams"]["temperature"].pop("ObservedProperty"), "has no 'ObservedProperty'"),
        (lambda d: d["Datastreams"]["temperature"].update(observationType="OM_Wrong"), "OM_Wrong"),
        (lambda d: d["Things"].update(car_1=[1]), "Things.car_1 is no object"),
        (lambda d: d.update(Thing={}), "unknown section 'Thing'"),
        (lambda d: d["Things"]["car_1"].update(name=""), "Things.car_1.name"),
        (lambda d: d["Things"]["car_1"].update(description="\ud800"), "surrogate"),
        (lambda d: d["Datastreams"].update(copy=d["Datastreams"]["temperature"]), "twice"),
    ],
)
def test_each_problem_is_named_by_its_place(change, said: str) -> None:
    document = json.loads(CAR1.read_text(encoding="utf-8"))
    change(document)
    with pytest.raises(InvalidInstances) as caught:
        load_instances(document, SYSTEM)
    assert said in str(caught.value)
    assert caught.value.fix


def test_a_file_that_is_no_json_says_where(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text('{"Things": {\n  "a": }')
    with pytest.raises(InvalidInstances, match="line 2, column 8"):
        load_instances(path, SYSTEM)
    with pytest.raises(InvalidInstances, match="cannot be read"):
        load_instances(tmp_path / "missing.json", SYSTEM)


@pytest.mark.parametrize("path", sorted((ROOT / "demos").rglob("instances.json")), ids=lambda p: p.parent.name)
def test_the_demos_files_are_right(path: Path) -> None:
    assert load_instances(path, SYSTEM).datastreams
