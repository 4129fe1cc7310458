"""What a client subscribed: full Datastream names, or `*` for everything that is shared with its system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinstack.core.errors import InvalidInput, InvalidRecord
from twinstack.core.names import SystemName, system_of
from twinstack.core.observations import decode

EVERYTHING = "*"
_FIX = 'Write {"subscribed_datastreams": ["<domain.enterprise.workcenter.station.Thing.Datastream>", "*"]}.'


@dataclass(frozen=True, slots=True)
class Subscription:
    """`names` are full Datastream names; `everything` takes all of `.ext`, whatever the names say."""

    system: SystemName
    names: frozenset[str]
    everything: bool

    @property
    def topics(self) -> list[str]:
        """`.ext`, and `.int` when a Datastream of the own system is named."""
        own = any(system_of(name) == str(self.system) for name in self.names)
        return [self.system.topic("ext"), *([self.system.topic("int")] if own else [])]

    def takes_all_of(self, topic: str) -> bool:
        return self.everything and topic == self.system.topic("ext")


def load_mapping(source: str | Path | Mapping[str, Any], what: str, fix: str) -> Mapping[str, Any]:
    """A small JSON file of the user, or its content. Errors: InvalidInput with path, line and column."""
    if isinstance(source, Mapping):
        return source
    path = Path(source)
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"The {what} {path} cannot be read: {error.strerror}.", fix=fix) from None
    except InvalidRecord as error:
        raise InvalidInput(f"The {what} {path} is not a JSON object: {error.message}", fix=fix) from None


def load_subscription(source: str | Path | Mapping[str, Any] | Sequence[str], system: SystemName) -> Subscription:
    """Reads `{"subscribed_datastreams": [...]}` from a path or mapping, or takes the names themselves.

    An empty list is fine: nothing is received. Errors: InvalidInput for a malformed file, or a name without its system.
    """
    if isinstance(source, Sequence) and not isinstance(source, str):
        listed: Any = list(source)
    else:
        document = load_mapping(source, "subscription file", _FIX)
        if "subscribed_datastreams" not in document:
            raise InvalidInput("The subscription file has no 'subscribed_datastreams'.", fix=_FIX)
        listed = document["subscribed_datastreams"]
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise InvalidInput("'subscribed_datastreams' is no list of names.", fix=_FIX)
    names = frozenset(name for name in listed if name != EVERYTHING)
    for name in sorted(names):
        if system_of(name) is None:
            raise InvalidInput(f"'{name}' is no full name of a Datastream: its system is missing.", fix=_FIX, name=name)
    return Subscription(system, names, EVERYTHING in listed)
