"""Our filter app as a program that is measured like the peers: arguments servers, commit ms, records, source system,
target system, limit. Prints what `kafka_streams/Meter.java` prints."""

from __future__ import annotations

import signal
import sys
import time

from twinstack.core.ids import new_uid
from twinstack.log.kafka import KafkaLog
from twinstack.streams.catalogue import MetaCatalogue
from twinstack.streams.child import collect_rarely
from twinstack.streams.plan import make_plan
from twinstack.streams.spec import AppSpec
from twinstack.streams.states import Counters
from twinstack.streams.task import Control, Task


def main() -> None:
    servers, commit_ms, records, source, target, limit = sys.argv[1:]
    began = time.monotonic()
    collect_rarely()
    log = KafkaLog(servers)
    spec = AppSpec(
        uid=new_uid(),
        name="bench",
        target=target,
        sources=(source,),
        text=f"SELECT * FROM * WHERE result < {limit};",
        start="earliest",
        commit_interval_ms=int(commit_ms),
    )
    counters, control = Counters(), Control()
    marks = [(1, "first"), (int(records) // 2, "half"), (int(records), "end")]

    def on_turn() -> None:
        while marks and counters.records_in >= marks[0][0]:
            print(marks.pop(0)[1], f"{time.monotonic() - began:.4f} {time.process_time():.4f}", flush=True)

    control.on_turn = on_turn
    signal.signal(signal.SIGTERM, lambda *_: control.stop.set())
    plan = make_plan(spec, MetaCatalogue(log))
    Task(log, spec, plan.operator, counters, control).run()


if __name__ == "__main__":
    main()
