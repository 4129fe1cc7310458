"""Names of companies, systems, topics and entities.

A system is `domain.enterprise.workcenter.station`, four levels of `[A-Za-z0-9_-]+`. Two systems collide when they are
equal after lower-casing and reading `_` as `.`: Kafka's own collision rule for topics (metrics names).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from twinstack.core import limits
from twinstack.core.errors import InvalidName

LEVELS = (
    ("domain", limits.DOMAIN_CHARS_MAX),
    ("enterprise", limits.ENTERPRISE_CHARS_MAX),
    ("workcenter", limits.WORKCENTER_CHARS_MAX),
    ("station", limits.STATION_CHARS_MAX),
)
SUFFIXES = ("int", "ext", "log", "meta")
RESERVED_DOMAINS = frozenset({"ts", "lab", "test"})
DEFAULT_SYSTEM = "lab.open.default.system"
"""Where unnamed entities go in lab mode; the one system of a reserved domain."""

CONTROL_TOPIC, STATUS_TOPIC, OUTBOX_TOPIC = "ts.control", "ts.status", "ts.outbox"

_LEVEL = re.compile(r"[A-Za-z0-9_-]+")
_EXAMPLE = "cz.icecars.iot4cps-wp5-CarFleet.Car1"


@dataclass(frozen=True, slots=True)
class SystemName:
    """A well-formed system name; `str()` gives it back as written."""

    domain: str
    enterprise: str
    workcenter: str
    station: str

    def __str__(self) -> str:
        return f"{self.domain}.{self.enterprise}.{self.workcenter}.{self.station}"

    @property
    def company(self) -> str:
        return f"{self.domain}.{self.enterprise}"

    @property
    def collision_key(self) -> str:
        return collision_key(str(self))

    def topic(self, suffix: str) -> str:
        return f"{self}.{suffix}"

    @property
    def topics(self) -> tuple[str, str, str, str]:
        """The four topics: `.int`, `.ext`, `.log`, `.meta`."""
        return (self.topic("int"), self.topic("ext"), self.topic("log"), self.topic("meta"))


def collision_key(name: str) -> str:
    return name.lower().replace("_", ".")


def parse_system(text: str, *, allow_reserved: bool = False) -> SystemName:
    """The system named by `text`. Errors: InvalidName that says which level is wrong and why."""
    parts = text.split(".")
    if len(parts) != 4:
        raise InvalidName(
            f"'{text}' is not a system: it has {len(parts)} level{'s' if len(parts) != 1 else ''}, a system has 4.",
            fix=f"Write domain.enterprise.workcenter.station, for example {_EXAMPLE}.",
            name=text,
        )
    for part, (level, chars_max) in zip(parts, LEVELS, strict=True):
        _check_level(text, part, level, chars_max)
    if parts[0].lower() in RESERVED_DOMAINS and not allow_reserved and text != DEFAULT_SYSTEM:
        raise InvalidName(
            f"'{text}' begins with the reserved domain '{parts[0]}'.",
            fix=f"Use another domain than {', '.join(sorted(RESERVED_DOMAINS))}.",
            name=text,
        )
    return SystemName(*parts)


def _check_level(text: str, part: str, level: str, chars_max: int) -> None:
    if not part:
        raise InvalidName(f"'{text}' is not a system: its {level} is empty.", fix=f"Example: {_EXAMPLE}.", name=text)
    if not _LEVEL.fullmatch(part):
        bad = next(c for c in part if not re.fullmatch(r"[A-Za-z0-9_-]", c))
        shown = "a blank" if bad.isspace() else repr(bad)
        raise InvalidName(
            f"'{text}' is not a system: its {level} '{part}' holds {shown}.",
            fix="Use letters A-Z a-z, digits, '_' and '-' only.",
            name=text,
        )
    if len(part) > chars_max:
        raise InvalidName(
            f"'{text}' is not a system: its {level} '{part}' has {len(part)} characters, at most {chars_max} fit.",
            fix=f"Shorten the {level}.",
            name=text,
        )


def split_topic(topic: str) -> tuple[str, str] | None:
    """`(system, suffix)` of a system's topic, or None for any other topic."""
    system, _, suffix = topic.rpartition(".")
    return (system, suffix) if suffix in SUFFIXES and system.count(".") == 3 else None


def check_topic(topic: str) -> str:
    if (
        not topic
        or len(topic) > limits.TOPIC_CHARS_MAX
        or topic in (".", "..")
        or not re.fullmatch(r"[A-Za-z0-9._-]+", topic)
    ):
        raise InvalidName(
            f"'{topic[:80]}' is not a topic name.",
            fix=f"Use at most {limits.TOPIC_CHARS_MAX} of the characters A-Z a-z 0-9 . _ -",
            name=topic,
        )
    return topic


def qualify(system: str, name: str) -> str:
    """`name` with the system in front, unless it stands there already (registration may run twice)."""
    return name if name.startswith(f"{system}.") else f"{system}.{name}"


def unqualify(system: str, name: str) -> str:
    return name.removeprefix(f"{system}.")


def datastream_name(system: str, thing: str, name: str) -> str:
    """The full name `<system>.<Thing>.<Datastream>`: the log key at creation. Parts may be qualified already."""
    thing_full = qualify(system, thing)
    local = name.removeprefix(f"{thing_full}.").removeprefix(f"{system}.")
    local = local.removeprefix(f"{unqualify(system, thing_full)}.")
    return f"{thing_full}.{local}"


def system_of(full_name: str) -> str | None:
    """The first four levels of a full entity name, when they form a system."""
    parts = full_name.split(".", 4)
    if len(parts) < 5 or not all(_LEVEL.fullmatch(p) for p in parts[:4]):
        return None
    return ".".join(parts[:4])


def check_client_name(name: str) -> str:
    if not name or len(name) > limits.CLIENT_NAME_CHARS_MAX or not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise InvalidName(
            f"'{name[:80]}' is not a client name.",
            fix=f"Use 1 to {limits.CLIENT_NAME_CHARS_MAX} of the characters A-Z a-z 0-9 . _ -",
            name=name,
        )
    return name
