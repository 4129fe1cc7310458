"""The one place where requests are decided: `decide(actor, action, object)`, deny by default.

Every page, API call, SensorThings request and log call asks here before anything else. Until accounts exist there is
one rule: in the modes `open` and `demo` whoever speaks from this machine is `lab` and may do everything. lab exists in
these two modes alone and cannot be configured elsewhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from twinstack.core.errors import PermissionDenied


class Mode(StrEnum):
    """How a server was started: `up` (accounts), `up --open`, `demo`."""

    UP = "up"
    OPEN = "open"
    DEMO = "demo"

    @property
    def lab(self) -> bool:
        return self is not Mode.UP


class Action(StrEnum):
    """What an actor wants to do to an object; the object's kind says to what."""

    SEE = "see"
    READ = "read"
    WRITE = "write"
    REGISTER = "register"
    CREATE = "create"
    DELETE = "delete"
    PRODUCE = "produce"
    CONSUME = "consume"
    DEPLOY = "deploy"
    OPERATE = "operate"


ActorKind = Literal["anonymous", "lab", "worker"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. `address` is the peer's IP address as the socket says it, never a forwarded header."""

    kind: ActorKind
    id: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Object:
    """What is asked about: `kind` is system, topic, datastream, app, page ...; `id` names it, `system` owns it."""

    kind: str
    id: str = ""
    system: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    rule: str
    reason: str = ""


Rule = Callable[[Actor, Action, Object], bool]


def _lab_on_this_machine(actor: Actor, action: Action, target: Object) -> bool:
    return actor.kind == "lab" and is_loopback(actor.address)


def _worker_of_this_server(actor: Actor, action: Action, target: Object) -> bool:
    """A child process with this server's token: it moves records and history, and manages nothing."""
    return (
        actor.kind == "worker"
        and is_loopback(actor.address)
        and target.kind in ("request", "topic", "group", "transaction", "datastream", "system")
    )


RULES: tuple[tuple[str, Rule], ...] = (
    ("lab on this machine", _lab_on_this_machine),
    ("worker of this server", _worker_of_this_server),
)


def decide(actor: Actor, action: Action, target: Object) -> Decision:
    """The decision about one request; a request that no rule allows is denied."""
    for name, rule in RULES:
        if rule(actor, action, target):
            return Decision(True, name)
    return Decision(False, "deny by default", f"{actor.kind} may not {action} {target.kind} {target.id}".rstrip())


def require(actor: Actor, action: Action, target: Object) -> None:
    """Errors: PermissionDenied with the reason."""
    decision = decide(actor, action, target)
    if not decision.allowed:
        raise PermissionDenied(
            f"This is not allowed: {decision.reason}.",
            fix="The server answers requests from this machine only; start it there with `twinstack up --open`.",
        )


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
