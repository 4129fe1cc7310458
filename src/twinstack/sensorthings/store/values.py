"""An Observation's result and extras as columns, and back.

`kind` null = float (in `result`), `i` integer up to 2^53, `b` truth value (0 or 1 in `result`), `s` text, `n` null,
`j` JSON: objects, arrays and larger integers, which sit in `extra.result` (a large integer also as a double in
`result`, so that it compares). On SQLite a text sits in `result`; PostgreSQL's double sends it to `extra.result`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

EXACT_MAX = 2**53
MULTI = "m"
"""`kind` of a MultiDatastream's Observation: its array sits in `extra.result`, as with `j`. The row itself so tells
which link it has, without a look at its Datastream."""
OBSERVATION_COLUMNS = ("t", "t_end", "result", "kind", "result_time", "datastream_id", "feature_id", "extra")


class NewObservation(NamedTuple):
    """One Observation to store. Times in us since 1970 UTC; `extra` holds `parameters`, `resultQuality` and
    `validTime` ([start, end or None]). `feature_id` None: the one generated from the Thing's Location.
    `multi`: the caller means a MultiDatastream (True), a Datastream (False), or whichever has the id (None)."""

    datastream_id: int
    t: int
    result: Any
    t_end: int | None = None
    result_time: int | None = None
    feature_id: int | None = None
    extra: dict[str, Any] | None = None
    ts_id: str | None = None
    multi: bool | None = None


def result_columns(
    value: Any, extra: dict[str, Any] | None, *, multi: bool = False, texts_apart: bool = False
) -> tuple[Any, str | None, dict[str, Any] | None]:
    """`(result, kind, extra)` of a JSON value; `multi`: of a MultiDatastream's Observation; `texts_apart`: the column
    holds numbers only."""
    if multi:
        return None, MULTI, {**(extra or {}), "result": value}
    if type(value) is float:
        return value, None, extra
    if value is None:
        return None, "n", extra
    if isinstance(value, bool):
        return int(value), "b", extra
    if isinstance(value, int):
        if -EXACT_MAX <= value <= EXACT_MAX:
            return value, "i", extra
        return _double(value), "j", {**(extra or {}), "result": value}
    if isinstance(value, str):
        return (None, "s", {**(extra or {}), "result": value}) if texts_apart else (value, "s", extra)
    return None, "j", {**(extra or {}), "result": value}


def _double(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def result_value(result: Any, kind: str | None, extra: dict[str, Any] | None) -> Any:
    """The JSON value behind the columns, with its type."""
    match kind:
        case None:
            return float(result)
        case "i":
            return int(result)
        case "b":
            return bool(result)
        case "n":
            return None
        case "s" if isinstance(result, str):
            return result
        case _:
            return (extra or {}).get("result")


def start_of(row: Any) -> int:
    """The column `t` of a row: `row.t` would be SQLAlchemy's own attribute, the whole tuple."""
    return int(row._mapping["t"])


def etag(entity_name: str, row: Mapping[str, Any]) -> str:
    """The weak ETag of a row by its columns: the version; of an Observation, which has none, a digest of them."""
    if entity_name != "Observation":
        return f'W/"{row["version"]}"'
    columns = tuple(row[name] for name in OBSERVATION_COLUMNS)
    return f'W/"{hashlib.blake2b(repr(columns).encode(), digest_size=8).hexdigest()}"'


def etag_matches(if_match: str, current: str) -> bool:
    """`If-Match`: `*` or a list of entity tags, compared weakly (an entity's only tags here are weak)."""
    wanted = [tag.strip().removeprefix("W/") for tag in if_match.split(",")]
    return "*" in wanted or current.removeprefix("W/") in wanted
