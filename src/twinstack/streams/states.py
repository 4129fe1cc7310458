"""The states of an app as a table of legal transitions (platform model: app)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twinstack.core.errors import Conflict

if TYPE_CHECKING:
    from twinstack.streams.operator import Output  # numpy comes with it: the server reads states and has no use for it

IDLE, INIT, STARTING, RUNNING, PAUSED = "idle", "init", "starting", "running", "paused"
FAILING, CRASHED, STOPPING = "failing", "crashed", "stopping"

TRANSITIONS: dict[str, frozenset[str]] = {
    IDLE: frozenset({INIT}),
    INIT: frozenset({STARTING, FAILING, STOPPING}),
    STARTING: frozenset({RUNNING, FAILING, STOPPING}),
    RUNNING: frozenset({PAUSED, FAILING, STOPPING}),
    PAUSED: frozenset({RUNNING, STOPPING}),
    FAILING: frozenset({STARTING, CRASHED, STOPPING}),
    CRASHED: frozenset({INIT, STOPPING}),
    STOPPING: frozenset({IDLE}),
}

REASONS = frozenset(
    {
        "",
        "user",
        "no_grant",
        "grant_suspended",
        "does_not_compile",
        "position_lost",
        "custom",
        "limit",
        "worker_lost",
        "error",
    }
)


@dataclass(slots=True)
class Counters:
    """What the app did since it started; only what was committed is counted. Rates are records a second."""

    records_in: int = 0
    records_out: int = 0
    dead: int = 0
    arithmetic: int = 0
    """Values that were NULL because of an overflow or a division by zero."""
    null_keys: int = 0
    """Records whose key is NULL: they pair with nothing."""
    null_results: int = 0
    """Results that were NULL: they make no Observation."""
    commits: int = 0
    aborts: int = 0
    rate_in: float = 0.0
    lag: int | None = None
    """Records of the sources (of a later stage: between the stages) that are not read yet; None before it was asked for
    the first time."""
    watermark_us: int | None = None
    state_rows: int = 0
    state_bytes: int = 0

    def add(self, output: Output) -> None:
        self.records_in += output.taken
        self.records_out += len(output.values)
        self.dead += len(output.letters)
        self.arithmetic += output.arithmetic
        self.null_keys += output.null_keys
        self.null_results += output.null_results

    def take(self, other: Counters) -> None:
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @classmethod
    def of_stages(cls, stages: Sequence[Counters]) -> Counters:
        """The app's: inputs are those of the first stage, lag that of all, the watermark that of the last."""
        total = cls()
        for each in stages:
            total.take(each)
            total.commits += each.commits
            total.aborts += each.aborts
            total.state_rows += each.state_rows
            total.state_bytes += each.state_bytes
        lags = [each.lag for each in stages]
        total.records_in = stages[0].records_in
        total.lag = None if None in lags else sum(lag for lag in lags if lag is not None)
        total.watermark_us = stages[-1].watermark_us
        return total


_SUMS = ("records_in", "records_out", "dead", "arithmetic", "null_keys", "null_results")


@dataclass(frozen=True, slots=True)
class Report:
    """A change of state (`event` 'state'), or the counters of the same state again ('counters')."""

    event: str
    state: str
    reason: str
    message: str
    at_us: int
    counters: dict[str, Any] = field(default_factory=dict)


class State:
    """The current state; `to` refuses what the table does not have."""

    def __init__(self) -> None:
        self.name = IDLE
        self.reason = ""
        self.message = ""

    def to(self, name: str, reason: str = "", message: str = "") -> None:
        """Errors: Conflict that names the legal transitions."""
        if name not in TRANSITIONS[self.name]:
            legal = ", ".join(sorted(TRANSITIONS[self.name]))
            raise Conflict(
                f"An app in the state {self.name} cannot become {name}.",
                fix=f"From {self.name} it can become: {legal}.",
                state=self.name,
                allowed=sorted(TRANSITIONS[self.name]),
            )
        assert reason in REASONS, reason
        self.name, self.reason, self.message = name, reason, message
