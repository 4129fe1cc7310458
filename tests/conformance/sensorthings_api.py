"""Requests to the API under test, and bodies to send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

OM = "http://www.opengis.net/def/observationType/OGC-OM/2.0/"


@dataclass
class Lab:
    kind: str = "lab"


@dataclass
class Clock:
    """2026-01-01T00:00:00Z, and a microsecond more at each look."""

    us: int = 1_767_225_600_000_000

    def __call__(self) -> int:
        self.us += 1
        return self.us


@dataclass
class Api:
    """Requests to one version of the API; `asked` is what the policy was asked."""

    client: httpx.AsyncClient
    version: str = "v1.1"
    asked: list[tuple[str, str]] = field(default_factory=list)

    def old(self) -> Api:
        return Api(self.client, "v1.0", self.asked)

    def url(self, path: str) -> str:
        if path.startswith("http"):
            return path
        return f"http://twin.example:1908/{self.version}{path}"

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.client.request(method, self.url(path), **options)

    async def get(self, path: str, status: int = 200) -> Any:
        answer = await self.send("GET", path)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def values(self, path: str) -> list[Any]:
        value = (await self.get(path))["value"]
        assert isinstance(value, list)
        return value

    async def ids(self, path: str) -> list[int]:
        return [entity["@iot.id"] for entity in await self.values(path)]

    async def every(self, path: str) -> list[Any]:
        """All entities of a set, page after page."""
        found: list[Any] = []
        for _ in range(1000):
            page = await self.get(path)
            found += page["value"]
            if "@iot.nextLink" not in page:
                return found
            path = page["@iot.nextLink"]
        raise AssertionError("the pages have no end")

    async def post(self, path: str, body: Any, status: int = 201) -> int:
        answer = await self.send("POST", path, json=body)
        assert answer.status_code == status, answer.text
        return int(answer.headers["location"].split("(")[-1][:-1]) if status == 201 else 0

    async def patch(self, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        answer = await self.send("PATCH", path, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        assert answer.status_code == status, answer.text
        return answer.json()

    async def put(self, path: str, body: Any, status: int = 200) -> Any:
        answer = await self.send("PUT", path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def delete(self, path: str, status: int = 200) -> None:
        answer = await self.send("DELETE", path)
        assert answer.status_code == status, answer.text


# --- bodies ---------------------------------------------------------------------------------------------------------
def thing(name: str = "Oven", **more: Any) -> dict[str, Any]:
    return {"name": name, "description": "A thing.", **more}


def location(name: str = "Kitchen", lon: float = 16.4, lat: float = 48.2, **more: Any) -> dict[str, Any]:
    point = {"type": "Point", "coordinates": [lon, lat]}
    return {
        "name": name,
        "description": "A place.",
        "encodingType": "application/geo+json",
        "location": point,
        **more,
    }


def sensor(name: str = "DS18B20", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": "A sensor.",
        "encodingType": "application/pdf",
        "metadata": "https://example.org/ds18b20.pdf",
        **more,
    }


def observed_property(name: str = "Temperature", **more: Any) -> dict[str, Any]:
    return {"name": name, "definition": "https://example.org/temperature", "description": "How hot.", **more}


def feature(name: str = "Room", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": "A feature.",
        "encodingType": "application/geo+json",
        "feature": {"type": "Point", "coordinates": [1.0, 2.0]},
        **more,
    }


def datastream(name: str = "Oven temperature", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": "The heat of it.",
        "observationType": f"{OM}OM_Measurement",
        "unitOfMeasurement": {"name": "degree Celsius", "symbol": "°C", "definition": "ucum:Cel", "abbreviation": "C"},
        **more,
    }


def whole_thing(name: str = "Oven", observations: int = 0, **more: Any) -> dict[str, Any]:
    """A Thing with a Location and a Datastream with `observations` at 2026-01-01T00:00:0<n>Z, results n / 2."""
    return thing(
        name,
        Locations=[location(f"{name} place")],
        Datastreams=[
            datastream(
                f"{name} temperature",
                Sensor=sensor(f"{name} sensor"),
                ObservedProperty=observed_property(f"{name} property"),
                Observations=[
                    {"phenomenonTime": f"2026-01-01T00:{n // 60:02d}:{n % 60:02d}Z", "result": n / 2}
                    for n in range(observations)
                ],
            )
        ],
        **more,
    )
