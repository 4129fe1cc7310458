"""Weather station 1: produces the air temperature every 10 seconds."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from simulator.program import main  # noqa: E402
from simulator.station import Station  # noqa: E402

if __name__ == "__main__":
    main(Station(1, HERE, altitude_m=430).run)
