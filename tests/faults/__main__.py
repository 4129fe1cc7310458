"""`make faults`: kills of server, app, archive and outbox, and a ledger of what came of it.

    python -m tests.faults --seed 1 --kills 50 --observations 200000 --logs embedded,kafka

Prints one JSON object per log: what was acknowledged, what is on the log, at the target and in history, and every
difference (missing, extra, duplicate, order). Exit code 1 on any difference, or if a failpoint was never reached.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.faults.run import Plan, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=50, help="kills at random moments, on each log")
    parser.add_argument("--observations", type=int, default=200_000, help="on each log")
    parser.add_argument("--logs", default="embedded,kafka")
    parser.add_argument("--no-failpoints", action="store_true", help="random moments only")
    options = parser.parse_args()
    clean = True
    for log in options.logs.split(","):
        plan = Plan(log, options.seed, options.kills, options.observations, failpoints=not options.no_failpoints)
        with tempfile.TemporaryDirectory(prefix="twinstack-faults-") as folder:
            ledger = run(plan, Path(folder), say=lambda line: print(line, file=sys.stderr, flush=True))
        print(json.dumps(ledger.as_dict()), flush=True)
        clean = clean and ledger.clean
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
