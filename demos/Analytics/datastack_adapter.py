"""The adapter of the analytics provider: consumes everything that was shared with it, one JSON document a line.

The documents have the shape that a search index wants (flat, with unit and names), so that
`datastack_adapter.py | jq` or any shipper can take them from standard output.
"""

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from simulator.program import Program, iso, main  # noqa: E402

SYSTEM = "at.datahouse.iot4cps-wp5-Analytics.RoadAnalytics"
INTERVAL_S = 10


class Adapter:
    def __init__(self) -> None:
        self._received = 0

    def run(self) -> None:
        with Program(HERE, "datastack_adapter", SYSTEM) as program:
            self._client = program.client
            program.every(INTERVAL_S, self.count, self.receive)

    def receive(self, record: Any) -> None:
        self._received += 1
        stream = record["Datastream"]
        document = {
            "@timestamp": record["phenomenonTime"],
            "result": record["result"],
            "unit": stream["unitOfMeasurement"]["symbol"],
            "datastream": stream["name"],
            "thing": stream["Thing"]["name"],
            "observed_property": stream["ObservedProperty"]["name"],
        }
        for key in ("longitude", "latitude", "attitude"):
            if key in record:
                document[key] = record[key]
        print(json.dumps(document, ensure_ascii=False))

    def count(self, epoch_s: float) -> None:
        self._client.produce(quantity="records", result=self._received, timestamp=iso(epoch_s))


if __name__ == "__main__":
    main(Adapter().run)
