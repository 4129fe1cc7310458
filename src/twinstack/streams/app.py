"""An app's life: from a spec to a running task and its states, with back-off, reports and log lines."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from threading import Event

import msgspec

from twinstack.core import limits, timestamps
from twinstack.core.errors import (
    Fenced,
    InvalidInput,
    PositionLost,
    QueryError,
    RetriableLogError,
    TransactionAborted,
    TwinstackError,
    Unavailable,
    UnknownTopic,
)
from twinstack.log.seam import Log, OutRecord, Producer, TopicSpec
from twinstack.streams import states
from twinstack.streams.catalogue import Catalogue, MetaCatalogue
from twinstack.streams.plan import make_plan
from twinstack.streams.sample import attributes_of
from twinstack.streams.spec import AppSpec
from twinstack.streams.stages import Stages
from twinstack.streams.states import Counters, Report, State
from twinstack.streams.task import Control, Task, run_together

BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
HEALTHY_S = 60.0
"""After running this long the back-off begins anew."""
REPORT_EVERY_S = 2.0
LOG_LINE_BUDGET_S = 2.0

OnState = Callable[[Report], None]


def run_app(
    spec: AppSpec,
    log: Log,
    *,
    stop: Event,
    on_state: OnState,
    pause: Event | None = None,
    catalogue: Catalogue | None = None,
    clock: Callable[[], float] = time.monotonic,
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> str:
    """Runs the app in this thread until `stop` is set or it crashed or another owner took over; returns its last state
    (idle or crashed).

    `on_state` gets a Report for each change of state, and the counters again every 2 s and when it has caught up.
    `catalogue` None: the `<system>.meta` topics of the sources. Never raises a TwinstackError: what goes wrong is a
    state with a reason.
    """
    own_catalogue = catalogue is None
    found = MetaCatalogue(log) if catalogue is None else catalogue
    control = Control(stop=stop, pause=pause if pause is not None else Event())
    app = _App(spec, log, found, control, on_state, clock, now_us)
    try:
        return app.run()
    finally:
        app.close()
        if own_catalogue:
            found.close()


class _App:
    def __init__(
        self,
        spec: AppSpec,
        log: Log,
        catalogue: Catalogue,
        control: Control,
        on_state: OnState,
        clock: Callable[[], float],
        now_us: Callable[[], int],
    ) -> None:
        self._spec = spec
        self._log = log
        self._catalogue = catalogue
        self._control = control
        self._on_state = on_state
        self._clock = clock
        self._now_us = now_us
        self._state = State()
        self._by_stage: list[Counters] = []
        self._failures: deque[float] = deque()
        self._tries = 0
        self._started_s = 0.0
        self._lag_reported: int | None = None
        self._rate_in = 0.0
        self._notes = ""
        self._lines: Producer | None = None
        self._reported = (clock(), 0)
        control.on_turn = self._on_turn

    def run(self) -> str:
        self._to(states.INIT)
        while not self._control.stop.is_set():
            try:
                self._run_once()
            except Fenced as error:
                return self._end("worker_lost", f"Another process runs this app now: {error.message}")
            except TwinstackError as error:
                if not self._failed(error):
                    return states.CRASHED
        return self._end("user", "")

    def _run_once(self) -> None:
        """Plan, topics, task: until it is told to stop. Errors: whatever ends the task."""
        self._to(states.STARTING)
        plan = make_plan(self._spec, self._catalogue, attributes=lambda topics: attributes_of(self._log, topics))
        self._notes = " ".join(warning.message for warning in plan.checked.warnings)
        admin = self._log.admin()
        layout = {topic: admin.describe(topic).partitions for topic in plan.topics}
        stages = Stages(plan, layout, clock=self._clock)
        self._create_topics(stages, max(layout.values()))
        self._by_stage = self._by_stage or [Counters() for _ in stages.stages]
        halt = Event()
        tasks = [
            Task(
                self._log,
                self._spec,
                stage.make,
                counters,
                self._control.of_stage(halt, first=stage.number == 0),
                stage=stage.number,
                fingerprint=plan.fingerprint,
            )
            for stage, counters in zip(stages.stages, self._by_stage, strict=True)
        ]
        self._started_s = self._clock()
        run_together(tasks, halt)

    def _create_topics(self, stages: Stages, partitions: int) -> None:
        admin = self._log.admin()
        admin.describe(self._spec.target_topic)
        dead = TopicSpec(
            self._spec.dead_topic,
            partitions,
            retention_ms=limits.RETENTION_MS_DEFAULT,
            max_record_bytes=limits.DERIVED_RECORD_BYTES_MAX,
        )
        for spec in (dead, *stages.topics):
            try:
                admin.describe(spec.name)
            except UnknownTopic:
                admin.create_topics([spec])

    @property
    def _counters(self) -> Counters:
        return Counters.of_stages(self._by_stage) if self._by_stage else Counters()

    # States

    def _to(self, name: str, reason: str = "", message: str = "") -> None:
        self._state.to(name, reason, message)
        self._report("state")
        self._write_log_line()

    def _report(self, event: str) -> None:
        counters = self._counters
        now, read = self._clock(), counters.records_in
        since, read_before = self._reported
        if event == "counters":
            self._rate_in = round((read - read_before) / max(now - since, 0.001), 1)
            self._reported = (now, read)
        counters.rate_in = self._rate_in
        self._lag_reported = counters.lag
        state = self._state
        self._on_state(Report(event, state.name, state.reason, state.message, self._now_us(), asdict(counters)))

    def _on_turn(self) -> None:
        paused = self._control.pause.is_set()
        if self._state.name == states.STARTING:
            self._to(states.RUNNING, message=self._notes)
        if paused and self._state.name == states.RUNNING:
            self._to(states.PAUSED, "user")
        elif not paused and self._state.name == states.PAUSED:
            self._to(states.RUNNING)
        caught_up = self._counters.lag == 0 and self._lag_reported != 0
        if caught_up or self._clock() - self._reported[0] >= REPORT_EVERY_S:
            self._report("counters")

    def _failed(self, error: TwinstackError) -> bool:
        """Waits before the next try; False when the app crashed: 10 failures in 10 minutes, or one that no repetition
        mends. A log that does not answer is waited for without an end."""
        if self._state.name == states.PAUSED:
            self._state.to(states.RUNNING)
        self._to(states.FAILING, _reason(error), str(error))
        now = self._clock()
        momentary = isinstance(error, Unavailable | RetriableLogError | TransactionAborted)
        if not momentary:
            self._failures.append(now)
        while self._failures and now - self._failures[0] > limits.APP_CRASH_WINDOW_MS / 1000:
            self._failures.popleft()
        if isinstance(error, InvalidInput) or len(self._failures) >= limits.APP_CRASHES_MAX:
            self._to(states.CRASHED, _reason(error), str(error))
            return False
        if self._started_s and now - self._started_s > HEALTHY_S:
            self._tries = 0
        wait_s = BACK_OFF_S[min(self._tries, len(BACK_OFF_S) - 1)]
        self._tries += 1
        self._control.stop.wait(wait_s)
        return True

    def _end(self, reason: str, message: str) -> str:
        self._to(states.STOPPING, reason, message)
        self._to(states.IDLE, reason, message)
        return states.IDLE

    def _write_log_line(self) -> None:
        """The change of state as a line on `<target>.log`; a log that does not take it must not stop the app."""
        state = self._state
        line = {
            "time": timestamps.format_us(self._now_us()),
            "level": _LEVELS.get(state.name, "info"),
            "source": self._spec.source(),
            "event": "state",
            "state": state.name,
            "reason": state.reason,
            "revision": self._spec.revision,
            "message": state.message or f"The app '{self._spec.name}' is {state.name}.",
        }
        record = OutRecord(self._spec.log_topic, msgspec.json.encode(line), self._spec.uid.encode())
        with contextlib.suppress(TwinstackError):
            if self._lines is None:
                self._log.admin().describe(self._spec.log_topic)
                self._lines = self._log.producer(client_id=f"ts.{self._spec.uid}")
            self._lines.send(record)
            if state.name in _LAST_WORDS:  # the others go while the app works: records should not wait for them
                self._lines.flush(LOG_LINE_BUDGET_S)

    def close(self) -> None:
        if self._lines is not None:
            with contextlib.suppress(TwinstackError):
                self._lines.close(LOG_LINE_BUDGET_S)


_LEVELS = {states.FAILING: "warning", states.CRASHED: "error"}
_LAST_WORDS = frozenset({states.FAILING, states.CRASHED, states.IDLE})


def _reason(error: TwinstackError) -> str:
    if isinstance(error, PositionLost):
        return "position_lost"
    if isinstance(error, QueryError):
        return "does_not_compile"
    return "error"
