"""Which columns exist, of which kinds, and what was meant by a name that does not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from twinstack.query import tree
from twinstack.query.streamsql.catalogue import METADATA, Catalogue, kinds_by_name
from twinstack.query.streamsql.checked import ColumnRef
from twinstack.query.streamsql.kinds import ANY, NUMBER, STRINGS, TIMES, Kinds
from twinstack.query.tokens import Source

_FIXED: dict[str, Kinds] = {
    **dict.fromkeys(METADATA, STRINGS),
    "time": TIMES,
    "result_time": TIMES,
    "longitude": NUMBER,
    "latitude": NUMBER,
    "altitude": NUMBER,
}
_SPELLINGS = {
    "attitude": "altitude",  # the wire's spelling of the first clients
}
_MEANT = {
    "phenomenontime": "time",
    "timestamp": "time",
    "resulttime": "result_time",
    "value": "result",
    "quantity": "datastream",
    "observedproperty": "observed_property",
    "lat": "latitude",
    "lon": "longitude",
    "lng": "longitude",
    "fullname": "full_name",
}


class Columns:
    """The columns of one side: the fixed ones, `parameters.x` and the attributes of the catalogue."""

    def __init__(self, source: Source, catalogue: Catalogue, alias: str) -> None:
        self._source = source
        self._alias = alias
        self._kinds: dict[str, Kinds] = dict(_FIXED)
        results: Kinds = frozenset()
        for datastream in catalogue.datastreams:
            results |= datastream.result_kinds
            for name, kind in datastream.attributes.items():
                # A fixed column of the same name wins: an attribute must not change what `time` means.
                if name not in _FIXED:
                    self._kinds[name] = self._kinds.get(name, frozenset()) | kinds_by_name(kind)
        self._kinds["result"] = results or ANY

    def resolve(self, path: tree.Path) -> ColumnRef:
        """The column that the path names. Errors: QueryError with a suggestion."""
        parts = path.parts
        if self._alias and len(parts) > 1 and parts[0] == self._alias:
            parts = parts[1:]
        name = ".".join(parts)
        if len(parts) == 2 and parts[0] == "parameters":
            return ColumnRef(ANY, path.span, name)
        if len(parts) == 1:
            name = _SPELLINGS.get(name, name)
            if name in self._kinds:
                return ColumnRef(self._kinds[name], path.span, name)
        raise self._source.error(f"There is no column '{name[:80]}'.", path.span, fix=self._fix(path, name))

    def _fix(self, path: tree.Path, name: str) -> str:
        if path.quoted:
            return f"Write text in single quotes: '{name[:80]}'."
        meant = _MEANT.get(name.lower().replace("_", "")) or closest(name, self._kinds)
        if meant:
            return f"Did you mean {meant}?"
        return f"Columns are {', '.join(sorted(self._kinds))} and parameters.<name>; text stands in single quotes."


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was meant, first by letters alone, then by likeness."""
    by_folded = {candidate.lower().replace("_", "").replace(" ", ""): candidate for candidate in known}
    folded = name.lower().replace("_", "").replace(" ", "")
    if folded in by_folded:
        return by_folded[folded]
    near = difflib.get_close_matches(folded[:100], by_folded, n=1, cutoff=0.6)
    return by_folded[near[0]] if near else None
