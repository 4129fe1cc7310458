"""One suite, every transport of the client: `pytest tests/contract/client -k http`."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))

from client_backends import BACKENDS, Backend, prepare

from twinstack.core.ids import new_uid

INSTANCES: dict[str, Any] = {
    "Things": {"car_1": {"name": "Car1", "description": "A car"}},
    "Sensors": {
        "probe": {"name": "Probe", "description": "A probe", "encodingType": "text/html", "metadata": "made up"}
    },
    "Datastreams": {
        quantity: {
            "name": name,
            "description": name,
            "observationType": kind,
            "unitOfMeasurement": {"name": unit, "symbol": unit, "definition": ""},
            "Thing": "car_1",
            "Sensor": "probe",
            "ObservedProperty": {"name": name, "description": name, "definition": "none"},
        }
        for quantity, name, kind, unit in (
            ("temperature", "Air Temperature", "OM_Measurement", "degC"),
            ("doors", "Open Doors", "OM_CountObservation", "1"),
            ("moving", "Moving", "OM_TruthObservation", ""),
            ("gear", "Gear", "OM_CategoryObservation", ""),
            ("status", "Status", "OM_Observation", ""),
        )
    },
}


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.kafka) if name == "kafka" else name for name in BACKENDS],
)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with BACKENDS[request.param](tmp_path_factory.mktemp(request.param)) as backend:
        yield backend


@pytest.fixture
def backend(running: Backend) -> Iterator[Backend]:
    yield running
    running.close_clients()


@pytest.fixture
def system(backend: Backend) -> str:
    """A fresh system with its four topics."""
    name = f"cz.icecars.contract.{new_uid()}"
    prepare(backend.log, name)
    return name


@pytest.fixture
def instances() -> dict[str, Any]:
    return copy.deepcopy(INSTANCES)
