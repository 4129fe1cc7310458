"""What an app makes has a Datastream of its own at the target: with unit, place in the model, and history."""

from __future__ import annotations

from pathlib import Path

from server_under_test import Server, instances, produce, server, wait_until

SOURCE = "is.iceland.iot4cps-wp5-WeatherService.Stations"
TARGET = "cz.icecars.iot4cps-wp5-CarFleet.Car1"
MADE = f"{TARGET}.warmer.result"


def datastream(on: Server, name: str) -> list[dict]:
    return on.get(f"/v1.1/Datastreams?$filter=name eq '{name}'&$expand=Thing,ObservedProperty,Observations")["value"]


def test_observations_of_an_app_are_history_of_its_datastream(tmp_path: Path) -> None:
    with server(tmp_path / "data") as up:
        up.post(f"/api/v1/systems/{SOURCE}/instances", {"client": "c", "instances": instances()}, status=200)
        up.post("/api/v1/systems", {"name": TARGET})
        text = "SELECT result + 1 AS result, result AS plain FROM * WHERE result < 10;"
        up.post("/api/v1/apps", {"name": "warmer", "target": TARGET, "sources": [SOURCE], "text": text})
        count = "SELECT COUNT(*) FROM * GROUP BY name, TUMBLE(time, 1 MINUTE);"
        up.post("/api/v1/apps", {"name": "counts", "target": TARGET, "sources": [SOURCE], "text": count})
        (made,) = datastream(up, MADE)
        assert (made["Thing"]["name"], made["unitOfMeasurement"]["symbol"]) == (f"{TARGET}.warmer", "")
        assert made["ObservedProperty"]["name"].startswith(f"{TARGET}.warmer.")
        assert len(made["properties"]["derivedFrom"]) == 2
        assert datastream(up, f"{TARGET}.counts.Station_1.Road Temperature")[0]["observationType"].endswith(
            "OM_CountObservation"
        )
        produce(up, SOURCE, "Station_1.Air Temperature", [3.0, 50.0, -1.0])

        def results() -> list[float]:
            return sorted(o["result"] for o in datastream(up, MADE)[0]["Observations"])

        assert wait_until(lambda: results() == [0.0, 4.0], 60), results()
        assert {o["parameters"]["plain"] for o in datastream(up, MADE)[0]["Observations"]} == {3.0, -1.0}
        # No copy of the source's Datastreams: what the app does not show stays where it is.
        assert datastream(up, f"{SOURCE}.Station_1.Air Temperature")[0]["Thing"]["name"] == f"{SOURCE}.Station_1"
        assert len(up.get("/v1.1/Datastreams")["value"]) == 5
        assert up.stop() == 0
