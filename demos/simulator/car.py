"""A demo car: drives its track, measures, and prints what it receives."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from simulator.program import Program, iso
from simulator.track import Track
from simulator.weather import AirTemperature

ATTRIBUTES = "longitude,latitude,attitude"
SPEED_M_PER_S = 13.9


class Car:
    def __init__(self, number: int, folder: Path, interval_s: float) -> None:
        self._number = number
        self._interval_s = interval_s
        self._track = Track.load(f"car_{number}")
        self._air = AirTemperature(seed=number)
        self._system = f"cz.icecars.iot4cps-wp5-CarFleet.Car{number}"
        self._folder = folder

    def run(self) -> None:
        with Program(self._folder, f"demo_car_{self._number}", self._system, ATTRIBUTES) as program:
            self._client = program.client
            program.every(self._interval_s, self.measure, self.receive)

    def measure(self, epoch_s: float) -> None:
        # The place depends on the clock alone, so a car that is started again goes on where it would be by now.
        place = self._track.position(epoch_s * SPEED_M_PER_S)
        where = {"longitude": place.longitude, "latitude": place.latitude, "attitude": place.altitude_m}
        temperature = self._air.at(epoch_s, place.altitude_m)
        acceleration = round(1.5 * math.sin(epoch_s / 7) + 0.5 * math.sin(epoch_s / 1.7), 4)
        timestamp = iso(epoch_s)
        self._client.produce(quantity="temperature", result=temperature, timestamp=timestamp, **where)
        self._client.produce(quantity="acceleration", result=acceleration, timestamp=timestamp, **where)
        for quantity, result in where.items():
            self._client.produce(quantity=quantity, result=result, timestamp=timestamp, **where)
        print(f"The air temperature at the demo car {self._number} is {temperature} °C at {timestamp}")

    def receive(self, record: Any) -> None:
        stream = record["Datastream"]
        symbol = stream["unitOfMeasurement"]["symbol"]
        print(
            f"  -> Received new external data-point of {record['phenomenonTime']}: "
            f"'{stream['name']}' = {record['result']} {symbol}."
        )
        if symbol == "degC" and record["result"] < 0:
            print("    WARNING, the road could be slippery, see external temperature!")
