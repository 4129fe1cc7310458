"""Air temperature: a yearly and a daily cosine plus a random walk.

The curve runs 100 times faster than the clock, so that a visitor sees days pass; the timestamps are the clock's.
"""

from __future__ import annotations

import math
import random

SPEED_UP = 100
DAY_S = 86_400.0
YEAR_S = 365.25 * DAY_S
LAPSE_DEGC_PER_M = -0.0065  # standard atmosphere: it gets colder uphill


class AirTemperature:
    def __init__(self, seed: int, *, mean_degc: float = 4.0, altitude_m: float = 424.0) -> None:
        self._random = random.Random(seed)
        self._walk_degc = 0.0
        self._mean_degc = mean_degc
        self._altitude_m = altitude_m

    def at(self, epoch_s: float, altitude_m: float | None = None) -> float:
        """degC at the wall clock's instant; each call is a step of the random walk, which is drawn back to zero."""
        self._walk_degc = 0.98 * self._walk_degc + self._random.gauss(0, 0.1)
        curve_s = epoch_s * SPEED_UP
        yearly = -9 * math.cos(2 * math.pi * (curve_s % YEAR_S) / YEAR_S - 0.35)
        daily = -4 * math.cos(2 * math.pi * (curve_s % DAY_S) / DAY_S - 0.8)
        height_m = (self._altitude_m if altitude_m is None else altitude_m) - 424.0
        return round(self._mean_degc + yearly + daily + LAPSE_DEGC_PER_M * height_m + self._walk_degc, 4)
