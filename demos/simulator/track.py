"""A track: vertices [latitude, longitude, metres above the sea]; a car drives it to and fro at constant speed."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

EARTH_RADIUS_M = 6_371_008.8


@dataclass(frozen=True)
class Position:
    latitude: float
    longitude: float
    altitude_m: float


class Track:
    def __init__(self, vertices: list[list[float]]) -> None:
        if len(vertices) < 2:
            raise ValueError("A track has at least two vertices.")
        self._vertices = [Position(*vertex) for vertex in vertices]
        steps = [distance_m(a, b) for a, b in zip(self._vertices, self._vertices[1:], strict=False)]
        self._at_m = [0.0, *accumulate(steps)]

    @classmethod
    def load(cls, name: str) -> Track:
        return cls(json.loads((Path(__file__).parent / "tracks.json").read_text(encoding="utf-8"))[name])

    @property
    def length_m(self) -> float:
        return self._at_m[-1]

    def position(self, driven_m: float) -> Position:
        """Where a car is that has driven so far; at the end it turns round."""
        there = driven_m % (2 * self.length_m)
        along = min(there, 2 * self.length_m - there)
        i = min(bisect_right(self._at_m, along), len(self._at_m) - 1)
        a, b = self._vertices[i - 1], self._vertices[i]
        step_m = self._at_m[i] - self._at_m[i - 1]
        share = (along - self._at_m[i - 1]) / step_m if step_m else 0.0
        return Position(
            round(a.latitude + share * (b.latitude - a.latitude), 6),
            round(a.longitude + share * (b.longitude - a.longitude), 6),
            round(a.altitude_m + share * (b.altitude_m - a.altitude_m), 1),
        )


def distance_m(a: Position, b: Position) -> float:
    """Great-circle distance (haversine, mean radius of the WGS 84 ellipsoid)."""
    lat_a, lat_b = math.radians(a.latitude), math.radians(b.latitude)
    half = (
        math.sin((lat_b - lat_a) / 2) ** 2
        + math.cos(lat_a) * math.cos(lat_b) * math.sin(math.radians(b.longitude - a.longitude) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(half))
