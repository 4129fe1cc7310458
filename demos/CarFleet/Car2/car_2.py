"""Demo car 2: produces every 5 seconds and receives the weather that was shared with it."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from simulator.car import Car  # noqa: E402
from simulator.program import main  # noqa: E402

if __name__ == "__main__":
    main(Car(2, HERE, interval_s=5).run)
