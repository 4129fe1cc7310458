"""The central forecast service: consumes what both stations measure and expects the next ten minutes from it."""

import sys
from collections import deque
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from simulator.program import Program, iso, main  # noqa: E402

SYSTEM = "is.iceland.iot4cps-wp5-WeatherService.Services"
INTERVAL_S = 10
AHEAD_S = 600
SLOPE_S = 60


class ForecastService:
    def __init__(self) -> None:
        self._last: deque[tuple[float, float]] = deque(maxlen=60)

    def run(self) -> None:
        with Program(HERE, "forecast_service", SYSTEM) as program:
            self._client = program.client
            program.every(INTERVAL_S, self.forecast, self.receive)

    def receive(self, record: Any) -> None:
        stream = record["Datastream"]
        print(
            f"  -> Received new external data-point of {record['phenomenonTime']}: "
            f"'{stream['name']}' = {record['result']} {stream['unitOfMeasurement']['symbol']}."
        )
        self._last.append((record.time.timestamp(), record["result"]))

    def forecast(self, epoch_s: float) -> None:
        if not self._last:
            return
        expected = round(_line(list(self._last), epoch_s + AHEAD_S), 2)
        self._client.produce(quantity="forecast", result=expected, timestamp=iso(epoch_s))
        print(f"The air temperature in ten minutes is expected to be {expected} °C, at {iso(epoch_s)}")


def _line(points: list[tuple[float, float]], at_s: float) -> float:
    """The least-squares line through the points, at `at_s`; its slope is damped, since weather turns.

    Without a minute of points to take a slope from, the mean: two stations differ more than one does in a second.
    """
    mean_s = sum(s for s, _ in points) / len(points)
    mean = sum(v for _, v in points) / len(points)
    spread = sum((s - mean_s) ** 2 for s, _ in points)
    long_enough = points[-1][0] - points[0][0] >= SLOPE_S
    slope = sum((s - mean_s) * (v - mean) for s, v in points) / spread if long_enough else 0.0
    return mean + 0.1 * slope * (at_s - mean_s)


if __name__ == "__main__":
    main(ForecastService().run)
