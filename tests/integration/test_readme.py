"""The README's client example and the seed's client snippet, run against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.stand import Stand, running

ROOT = Path(__file__).resolve().parents[2]
SEED_SNIPPET = """
from client.digital_twin_client import DigitalTwinClient

config = {"client_name": "car_1",
      "system": "at.srfg.iot-iot4cps-wp5.CarFleet",
      "gost_servers": "localhost:%(port)s",
      "kafka_rest_server": "localhost:%(port)s"}
client = DigitalTwinClient(**config)

client.register(instance_file="instances.json")
client.produce(quantity="temperature", result=23.4)

client.subscribe(subscription_file="subscriptions.json")
received_quantities = client.consume(timeout=1.0)
client.disconnect()
"""


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("readme"), None) as stand:
        yield stand


def run(code: str, folder: Path, **env: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def values(stand: Stand, name: str) -> list[object]:
    wanted = name.replace("'", "''").replace(" ", "%20")
    path = f"/v1.1/Datastreams?$filter=name%20eq%20'{wanted}'&$expand=Observations"
    for _ in range(100):
        found = stand.get(path)["value"]
        if found and found[0]["Observations"]:
            return [o["result"] for o in found[0]["Observations"]]
    return []


def test_the_readme_s_example(stand: Stand) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = next(c for c in re.findall(r"(?s)```python\n(.*?)```", text) if "DigitalTwinClient(**config)" in c)
    run(code.replace("1908", str(stand.port)), ROOT)
    assert values(stand, "cz.icecars.iot4cps-wp5-CarFleet.Car1.Car1.Air Temperature") == [23.4]


def test_the_original_s_snippet_runs_through_the_old_import_path(stand: Stand) -> None:
    code = SEED_SNIPPET % {"port": stand.port}
    run(code, ROOT / "demos" / "CarFleet" / "Car1", PYTHONPATH=str(ROOT / "compat"))
    assert values(stand, "at.srfg.iot-iot4cps-wp5.CarFleet.Car1.Air Temperature") == [23.4]
