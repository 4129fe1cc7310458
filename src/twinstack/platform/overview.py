"""What the first page shows: systems with last values and rates, and the apps; the page and the API share it."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from twinstack.core.names import DEFAULT_SYSTEM, unqualify
from twinstack.platform.live import Value

if TYPE_CHECKING:
    from twinstack.platform.service import Platform


def overview(platform: Platform) -> dict[str, Any]:
    """{"systems": [{name, state, datastreams, rate_int, rate_ext, int: [value], ext: [value]}], "apps": [app]}."""
    now_ms = time.time_ns() // 1_000_000
    rates = platform.live.rates()
    by_topic: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for value in platform.live.changes()[1]:
        by_topic[(value.system, value.way)].append(shown(value, now_ms))
    counts = platform.count_datastreams()
    systems = [
        {
            **system,
            "datastreams": counts.get(system["name"], 0),
            "rate_int": rates.get(f"{system['name']}.int", 0.0),
            "rate_ext": rates.get(f"{system['name']}.ext", 0.0),
            "int": by_topic[(system["name"], "int")],
            "ext": by_topic[(system["name"], "ext")],
        }
        for system in platform.systems.list()
        # The place of unnamed entities is nobody's system: it shows once something is in it.
        if system["name"] != DEFAULT_SYSTEM or counts.get(DEFAULT_SYSTEM)
    ]
    return {"systems": systems, "apps": platform.apps.states()}


def shown(value: Value, now_ms: int) -> dict[str, Any]:
    """One last value, with the age it has now."""
    known = value.description
    return {
        "key": value.key,
        "name": value.name,
        "label": unqualify(value.system, value.name) if value.way == "int" else value.name,
        "id": known.id if known else None,
        "unit": known.unit if known else "",
        "result": value.result,
        "time": value.time,
        "at_ms": value.at_ms,
        "age_s": max(0.0, (now_ms - value.at_ms) / 1000),
    }
