"""A weather station: measures the air temperature every 10 seconds."""

from __future__ import annotations

from pathlib import Path

from simulator.program import Program, iso
from simulator.weather import AirTemperature

SYSTEM = "is.iceland.iot4cps-wp5-WeatherService.Stations"
INTERVAL_S = 10


class Station:
    def __init__(self, number: int, folder: Path, altitude_m: float) -> None:
        self._number = number
        self._folder = folder
        self._air = AirTemperature(seed=100 + number, altitude_m=altitude_m)

    def run(self) -> None:
        with Program(self._folder, f"demo_station_{self._number}", SYSTEM) as program:
            self._client = program.client
            program.every(INTERVAL_S, self.measure)

    def measure(self, epoch_s: float) -> None:
        temperature = self._air.at(epoch_s)
        timestamp = iso(epoch_s)
        self._client.produce(quantity="temperature", result=temperature, timestamp=timestamp)
        print(f"The air temperature at the demo station {self._number} is {temperature} °C at {timestamp}")
