"""Which Datastream each record of a batch belongs to, as codes into a dictionary; metadata are read once a Datastream.

A record names its Datastream by `Datastream.name` (its log key), else by `Datastream.@iot.id` among the Datastreams of
the topic's system, else by the record's key. What fits none of them is foreign. On `.int` only the system's own
Datastreams count; on `.ext` also those that it received.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from twinstack.core import limits
from twinstack.streams.catalogue import Datastream, SystemCatalogue
from twinstack.streams.decode import Decoded
from twinstack.streams.headers import source_prefix

FOREIGN = -1
NAME_PATH, ID_PATH = ("Datastream", "name"), ("Datastream", "@iot.id")
Codes = npt.NDArray[np.intp]
Keys = Callable[[], Sequence[bytes | None]]


class _Known(dict[Any, int]):
    """A dictionary whose unknown keys are FOREIGN, so that a whole column is looked up in C."""

    def __missing__(self, key: Any) -> int:
        return FOREIGN


class SourceContext:
    """The Datastreams of one topic. `needed`: the plan reads metadata, so a log key alone is not enough where it says
    nothing (a record with an id only, of a system without a catalogue)."""

    def __init__(self, topic: str, catalogue: SystemCatalogue, *, needed: bool) -> None:
        self.topic = topic
        self._catalogue = catalogue
        self._own_only = topic.endswith(".int")
        self._needed = needed
        self.rebuild()

    @property
    def can_grow(self) -> bool:
        """Whether a Datastream that is unknown now may be known after a refresh."""
        return self._catalogue.exists or self._needed

    def rebuild(self) -> None:
        """Takes over what the catalogue knows now; codes given before are void."""
        self.datastreams: list[Datastream] = []
        self.keys: list[bytes] = []
        self.source_prefixes: list[bytes] = []
        self._by_name = _Known()
        self._by_id = _Known()
        self._by_key = _Known()
        self._columns: dict[str, npt.NDArray[Any]] = {}
        for datastream in self._catalogue.by_key.values():
            if self._own_only and datastream.system != self._catalogue.system:
                continue
            self._add(datastream)

    def _add(self, datastream: Datastream) -> int:
        code = len(self.datastreams)
        key = datastream.log_key.encode()
        self.datastreams.append(datastream)
        self.keys.append(key)
        self.source_prefixes.append(source_prefix(datastream.log_key))
        self._by_name.setdefault(datastream.full_name, code)
        self._by_name[datastream.log_key] = code
        self._by_key[key] = code
        for number in datastream.ids:
            self._by_id.setdefault(number, code)
        self._columns.clear()
        return code

    def column(self, name: str) -> npt.NDArray[Any]:
        """The metadata column `name` of all Datastreams, the dictionary behind the codes; FOREIGN (-1) finds the NULL
        at its end."""
        found = self._columns.get(name)
        if found is None:
            found = np.empty(len(self.datastreams) + 1, dtype=object)
            found[:-1] = [getattr(d, name) for d in self.datastreams]
            self._columns[name] = found
        return found

    def resolve(self, decoded: Decoded, keys: Keys) -> Codes:
        """A code for each record, FOREIGN where there is no such Datastream (and for poison, which was told before).

        Without a catalogue each log key of the system becomes a Datastream of its own.
        """
        if len(self.datastreams) >= limits.APP_LOG_KEYS_MAX and not self._catalogue.exists:
            self.rebuild()
        named = decoded.column(NAME_PATH)
        if not decoded.strings(NAME_PATH):
            named = [name if type(name) is str else None for name in named]
        codes = np.fromiter(map(self._by_name.__getitem__, named), np.intp, decoded.n)
        if codes.min(initial=0) == FOREIGN:
            self._resolve_rest(decoded, keys, named, codes)
        return codes

    def _resolve_rest(self, decoded: Decoded, keys: Keys, named: list[Any], codes: Codes) -> None:
        """The records whose name is missing or unknown: by name, id or key, one by one."""
        poison = {p.place for p in decoded.poison}
        ids = decoded.column(ID_PATH)
        for i in np.flatnonzero(codes == FOREIGN).tolist():
            if i in poison:
                continue
            name, number = named[i], ids[i]
            if name is not None:
                codes[i] = self._by_name[name]
                if codes[i] == FOREIGN:
                    codes[i] = self._without_catalogue(name)
            elif isinstance(number, int) and not isinstance(number, bool) and self._by_id[number] != FOREIGN:
                codes[i] = self._by_id[number]
            elif number is None or not self._catalogue.exists:
                codes[i] = self._of_key(keys()[i], known_only=number is not None and self._needed)

    def _of_key(self, key: bytes | None, *, known_only: bool) -> int:
        if key is None:
            return FOREIGN
        code = self._by_key[key]
        if code != FOREIGN or known_only:
            return code
        try:
            return self._without_catalogue(key.decode(), any_key=not self._needed)
        except UnicodeDecodeError:
            return FOREIGN

    def _without_catalogue(self, log_key: str, *, any_key: bool = False) -> int:
        """A system without a catalogue: a log key of this system is a Datastream. `any_key`: also a key of another
        scheme (the original's clients), which is passed on as it is."""
        system = self._catalogue.system
        if self._catalogue.exists or not log_key or len(log_key) > limits.RECORD_KEY_BYTES_MAX:
            return FOREIGN
        if self._own_only and not any_key and not log_key.startswith(f"{system}."):
            return FOREIGN
        return self._add(Datastream.of_key(log_key, system))
