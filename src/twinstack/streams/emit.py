"""From settled pairs and closed windows to Observations, and from rows that leave the state to dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from twinstack.core.errors import InvalidTimestamp
from twinstack.core.timestamps import format_interval_us, format_us
from twinstack.log.seam import Headers, TopicPartition
from twinstack.query.streamsql import CheckedQuery, Column, Columns, compile_columns, compile_condition
from twinstack.query.streamsql.checked import CheckedAggregate, key_column
from twinstack.query.streamsql.kinds import TIMES
from twinstack.streams.derived import Targets, entity_key, single_group, with_keys
from twinstack.streams.headers import TS_ID, TS_SOURCE, app_header, source_prefix
from twinstack.streams.letters import DeadLetters
from twinstack.streams.making import MADE_BYTES_MAX, Items, TimeTexts, ident_maker, observation
from twinstack.streams.operator import Output
from twinstack.streams.operators.keys import decode_key
from twinstack.streams.operators.seam import Array, Block, Integers, Letters, Pairs, Windows
from twinstack.streams.rows import take
from twinstack.streams.spec import AppSpec
from twinstack.streams.split import AT, ID, KEY
from twinstack.streams.view import View

MESSAGES = {
    "late": "It came after the watermark had passed it.",
    "unpaired": "It left the state, which was full, before it could pair.",
    "fan_out": "It pairs with more records than one transaction takes.",
}


@dataclass(frozen=True, slots=True)
class Origins:
    """Where rows come from: by source code the partition and the view."""

    places: Mapping[int, TopicPartition]
    views: Mapping[str, View]

    def view(self, source: int) -> View:
        return self.views[self.places[source].topic]

    def granted(self, *sources: int) -> list[tuple[str, bytes]]:
        """The grants of all these sources, each once."""
        return list(dict.fromkeys(header for source in sources for header in self.view(source).headers))


class _Common:
    def __init__(
        self, spec: AppSpec, checked: CheckedQuery, targets: Targets, letters: DeadLetters, origins: Origins
    ) -> None:
        assert checked.output is not None
        self._app = app_header(spec.uid, spec.revision)
        self._ident = ident_maker(spec.uid)
        self._items = Items(checked.output if checked.group is None else with_keys(checked))
        self._targets = targets
        self._letters = letters
        self._origins = origins
        self._prefixes: dict[bytes, bytes] = {}

    def bury(self, letters: Sequence[Letters], output: Output) -> None:
        for each in letters:
            block = each.block
            make = self._letter if ID in block.values else self._pane_letter
            for i in range(len(block)):
                output.letters.append(self._letters.letter(*make(block, i, each.reason)))

    def _letter(self, block: Block, i: int, reason: str) -> tuple[bytes, bytes, dict[str, object], bytes]:
        source, key = int(block.sources[i]), value_at(block.values, KEY, i) or b""
        facts: dict[str, object] = {"error": reason, "message": MESSAGES[reason]}
        if self._origins.view(source).own:
            tp = self._origins.places[source]
            facts |= {"topic": tp.topic, "partition": tp.partition, "offset": int(block.offsets[i])}
        shown = {name: value_at(block.values, name, i) for name in block.values if not name.startswith("#")}
        row = {"phenomenonTime": times_text(int(block.times_us[i])), **shown, "Datastream": {"name": key.decode()}}
        return msgspec.json.encode(row), key, facts, value_at(block.values, ID, i) or b""

    def _pane_letter(self, block: Block, i: int, reason: str) -> tuple[bytes, bytes, dict[str, object], bytes]:
        """A part of a window that left the state: its records are counted there and gone."""
        key = block.keys[i] or b""
        facts: dict[str, object] = {"error": reason, "message": "A part of a window left the state, which was full."}
        row = {"phenomenonTime": times_text(int(block.times_us[i])), "key": list(decode_key(key)) if key else []}
        return msgspec.json.encode(row), key, facts, b""

    def _add(self, output: Output, key: bytes, value: bytes, headers: Headers) -> None:
        output.keys.append(key)
        output.values.append(value)
        output.headers.append(headers)


class PairMaker(_Common):
    """WHERE and SELECT over pairs. phenomenonTime is the later of the two, resultTime the greatest."""

    def __init__(
        self, spec: AppSpec, checked: CheckedQuery, targets: Targets, letters: DeadLetters, origins: Origins
    ) -> None:
        super().__init__(spec, checked, targets, letters, origins)
        assert checked.join is not None
        self._condition = compile_columns(checked) if checked.where is not None else None
        self._aliases = [side.alias for side in checked.join.sides]
        self._texts = TimeTexts()
        self._grants: dict[tuple[int, int], list[tuple[str, bytes]]] = {}
        self._group = single_group(checked)

    def make(self, settled: Pairs, output: Output) -> None:
        sides = (settled.left, settled.right)
        columns = Columns(
            len(settled),
            {
                f"{alias}.{name}": column_of(name, values)
                for alias, side in zip(self._aliases, sides, strict=True)
                for name, values in side.values.items()
                if not name.startswith("#")
            },
        )
        chosen = list(range(len(settled)))
        if self._condition is not None:
            passed, arithmetic = self._condition(columns)
            output.arithmetic += arithmetic
            chosen = np.flatnonzero(passed).tolist()
            columns = take(columns, chosen)
        if not chosen:
            return
        results, parameters, arithmetic = self._items(columns)
        output.arithmetic += arithmetic
        known = [place for place, result in enumerate(results) if result is not None]
        output.null_results += len(results) - len(known)
        if known:
            rows = np.array(chosen, np.intp)[known]
            values = self._values(settled, rows, [results[i] for i in known], [parameters[i] for i in known])
            self._send(settled, rows, values, output)

    def _values(
        self, settled: Pairs, rows: Integers, results: list[Any], parameters: Sequence[dict[str, Any] | None]
    ) -> list[bytes]:
        _, datastream = self._targets.of(self._group)
        text = self._texts.__getitem__
        times = np.maximum(settled.left.times_us[rows], settled.right.times_us[rows]).tolist()
        at = _greatest(settled.left.values[AT][rows], settled.right.values[AT][rows])
        return [
            observation(text(time), text(when), result, datastream, told)
            for time, when, result, told in zip(times, at, results, parameters, strict=True)
        ]

    def _send(self, settled: Pairs, rows: Integers, values: list[bytes], output: Output) -> None:
        key, _ = self._targets.of(self._group)
        left, right = settled.left, settled.right
        ids = [side.values[ID][rows].tolist() for side in (left, right)]
        prefixes = [map(self._prefix, side.values[KEY][rows].tolist()) for side in (left, right)]
        grants = map(self._granted, left.sources[rows].tolist(), right.sources[rows].tolist())
        ident, app = self._ident, self._app
        for i, value, a, b, from_a, from_b, granted in zip(rows.tolist(), values, *ids, *prefixes, grants, strict=True):
            if len(value) > MADE_BYTES_MAX:
                self._too_large(settled, i, output)
                continue
            source = b"".join((b"[", from_a, a, b'"],', from_b, b, b'"]]'))
            output.values.append(value)
            output.keys.append(key)
            output.headers.append([(TS_ID, ident(a, b)), app, (TS_SOURCE, source), *granted])

    def _granted(self, a: int, b: int) -> list[tuple[str, bytes]]:
        found = self._grants.get((a, b))
        if found is None:
            found = self._grants[a, b] = self._origins.granted(a, b)
        return found

    def _prefix(self, log_key: bytes) -> bytes:
        found = self._prefixes.get(log_key)
        if found is None:
            found = self._prefixes[log_key] = source_prefix(log_key.decode())[1:]
        return found

    def _too_large(self, settled: Pairs, i: int, output: Output) -> None:
        value, key, facts, ident = self._letter(settled.left, i, "fan_out")
        facts |= {"error": "size", "message": f"What was made of the pair is too large: {MADE_BYTES_MAX} bytes fit."}
        output.letters.append(self._letters.letter(value, key, facts, ident))


def _greatest(a: Array, b: Array) -> list[int | None]:
    """Of two columns of instants the later ones; NULL beside an instant is none."""
    if a.dtype == np.int64 and b.dtype == np.int64:
        return np.maximum(a, b).tolist()  # type: ignore[no-any-return]
    return [
        y if x is None or x != x else x if y is None or y != y else int(max(x, y))
        for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]


class WindowMaker(_Common):
    """HAVING and SELECT over closed windows. phenomenonTime is the interval, resultTime the greatest of its inputs'."""

    def __init__(
        self, spec: AppSpec, checked: CheckedQuery, targets: Targets, letters: DeadLetters, origins: Origins
    ) -> None:
        super().__init__(spec, checked, targets, letters, origins)
        assert checked.group is not None
        assert checked.output is not None
        having = checked.group.having
        self._condition = compile_condition(having) if having is not None else None
        self._entity = entity_key(checked)
        self._group = single_group(checked)
        self._keys = checked.group.keys
        self._times = frozenset(a.column for a in checked.group.aggregates if a.args and _gives_time(a))
        views = {view for topic, view in origins.views.items()}
        self._granted = list(dict.fromkeys(header for view in views for header in view.headers))

    def make(self, settled: Windows, output: Output) -> None:
        keys = [decode_key(key) for key in settled.keys]
        columns = Columns(
            len(settled),
            {name: column_of(name, values, self._times) for name, values in settled.values.items()}
            | {
                key_column(i): Column([key[i] for key in keys], None, "time" if term.kinds == {"time"} else "any")
                for i, term in enumerate(self._keys)
            },
        )
        chosen = list(range(len(settled)))
        if self._condition is not None:
            passed, arithmetic = self._condition(columns)
            output.arithmetic += arithmetic
            chosen = np.flatnonzero(passed).tolist()
            columns = take(columns, chosen)
        if not chosen:
            return
        results, parameters, arithmetic = self._items(columns)
        output.arithmetic += arithmetic
        for place, i in enumerate(chosen):
            if results[place] is None:
                output.null_results += 1
                continue
            key, datastream = self._targets.of(self._group_of(keys[i]))
            start, end = int(settled.starts_us[i]), int(settled.ends_us[i])
            at = value_at(settled.values, AT, i)
            value = observation(
                format_interval_us(start, end),
                times_text(int(at)) if at is not None else None,
                results[place],
                datastream,
                parameters[place],
            )
            if len(value) > MADE_BYTES_MAX:
                facts: dict[str, object] = {"error": "size", "message": f"A window's result has {len(value)} bytes."}
                output.letters.append(self._letters.letter(value, key, facts, b""))
                continue
            ident = self._ident(settled.keys[i], str(start).encode())
            self._add(output, key, value, [(TS_ID, ident), self._app, *self._granted])

    def _group_of(self, key: tuple[Any, ...]) -> str:
        named = key[self._entity] if self._entity is not None else None
        return str(named) if named else self._group


def _gives_time(aggregate: CheckedAggregate) -> bool:
    return aggregate.function in ("MIN", "MAX", "FIRST", "LAST") and aggregate.args[0].kinds == TIMES


def column_of(name: str, values: Array, times: frozenset[str] = frozenset({"time", "result_time"})) -> Column:
    """A column of rows as the evaluators have it: NaN is NULL among floats. `times`: the columns that hold times."""
    if values.dtype == np.float64:
        return Column(values, None, "float")
    is_time = name in times
    if values.dtype == np.int64:
        return Column(values, None, "time" if is_time else "int")
    return Column(values.tolist(), None, "time" if is_time else "any")


def value_at(values: Mapping[str, Array], name: str, i: int) -> Any:
    """The value in row `i`, None for NULL and for a column that is not there."""
    column = values.get(name)
    if column is None:
        return None
    item = column[i]
    if column.dtype == np.object_:
        return item
    number = item.item()
    return None if number != number else number


def times_text(us: int) -> str | None:
    try:
        return format_us(us)
    except InvalidTimestamp:
        return None
