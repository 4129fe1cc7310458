"""What a stream app is told: its identity, its sources and target, its text; and the names that follow from it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

import msgspec

from twinstack.core import limits
from twinstack.core.errors import InvalidInput
from twinstack.core.ids import UID_ALPHABET, UID_CHARS

_UID = re.compile(f"[{UID_ALPHABET}]{{{UID_CHARS}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """One revision of one app, and which shard of it: shard k of n reads the partitions p with p % n = k.

    `start`: where the first revision begins where it never read before; a later revision goes on where the one before
    stopped. `address`: of the log, as `log.connect` takes it; `token` for a log over HTTP.
    """

    uid: str
    name: str
    target: str
    sources: tuple[str, ...]
    text: str
    revision: int = 1
    address: str = ""
    token: str | None = None
    start: Literal["earliest", "latest"] = "latest"
    shard: int = 0
    shards: int = 1
    commit_interval_ms: int = limits.TASK_COMMIT_INTERVAL_MS
    grace_us: int | None = None
    """How much out of order records may be; None: 1 minute for windows, 0 for joins."""
    idle_after_ms: int | None = limits.IDLE_AFTER_MS
    """After this silence a partition that is read to its end holds up nothing any more; None: it always does, and the
    output is a pure function of the inputs."""
    future_max_us: int = limits.FUTURE_MAX_US

    def __post_init__(self) -> None:
        if not _UID.fullmatch(self.uid):
            raise InvalidInput(f"'{self.uid}' is not an app's uid.", fix="Use 10 characters of a-z and 2-7.")
        if not self.sources:
            raise InvalidInput(f"The app '{self.name}' has no source system.", fix="Name at least one.")
        if self.revision < 1 or not 0 <= self.shard < self.shards or self.commit_interval_ms < 1:
            raise InvalidInput(
                f"The app '{self.name}' has revision {self.revision}, shard {self.shard} of {self.shards}, commit "
                f"interval {self.commit_interval_ms} ms.",
                fix="Revisions count from 1, shards from 0 below their number, the interval is at least 1 ms.",
            )

    @property
    def target_topic(self) -> str:
        return f"{self.target}.ext"

    @property
    def log_topic(self) -> str:
        return f"{self.target}.log"

    @property
    def dead_topic(self) -> str:
        return f"ts.{self.uid}.dead"

    @property
    def group(self) -> str:
        return group_of(self.uid, self.revision)

    @property
    def transactional_id(self) -> str:
        """Of the first stage."""
        return self.transactional_id_of(0)

    def transactional_id_of(self, stage: int) -> str:
        return f"ts.{self.uid}.{stage}.{self.shard}"

    def in_topic(self, stage: int) -> str:
        """What the stage reads that stands behind another one."""
        return f"ts.{self.uid}.{self.revision}.{stage}.in"

    def state_topic(self, stage: int) -> str:
        return f"ts.{self.uid}.{self.revision}.{stage}.state"

    def to_json(self) -> bytes:
        return msgspec.json.encode(asdict(self))

    @classmethod
    def from_json(cls, text: bytes | str) -> AppSpec:
        """Errors: InvalidInput."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise InvalidInput(f"This is no app: {error}.", fix="Send what AppSpec.to_json gives.") from None

    def source(self) -> dict[str, Any]:
        """Who speaks, in the lines of `<system>.log`."""
        return {"app": self.uid, "name": self.name}


def group_of(uid: str, revision: int) -> str:
    return f"ts.{uid}.{revision}"
