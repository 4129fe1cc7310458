"""Looks up Datastreams that somebody registered before: the mappings file of `register_existing`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinstack.client.metadata import Metadata, Registration
from twinstack.core.errors import InvalidInstances, NotFound
from twinstack.core.names import datastream_name

_FIX = 'Write {"Datastreams": {"temperature": {"Thing": "Station_1", "name": "Air Temperature"}}}.'


def full_names(system: str, document: Mapping[str, Any]) -> dict[str, str]:
    """Local quantity name -> full name of its Datastream. Errors: InvalidInstances with every problem."""
    mappings = document.get("Datastreams")
    if not isinstance(mappings, Mapping) or not mappings:
        raise InvalidInstances("The mappings file has no 'Datastreams'.", fix=_FIX)
    problems: list[str] = []
    names: dict[str, str] = {}
    for quantity, mapping in mappings.items():
        where = f"Datastreams.{quantity}"
        if not isinstance(mapping, Mapping):
            problems.append(f"{where} is no object")
            continue
        missing = [key for key in ("Thing", "name") if not isinstance(mapping.get(key), str) or not mapping[key]]
        problems.extend(f"{where} has no '{key}'" for key in missing)
        if not missing:
            names[str(quantity)] = datastream_name(system, mapping["Thing"], mapping["name"])
    if problems:
        raise InvalidInstances(f"The mappings file: {'; '.join(problems)}.", fix=_FIX, problems=problems)
    return names


def find_existing(metadata: Metadata, system: str, document: Mapping[str, Any]) -> Registration:
    """All or nothing. Errors: InvalidInstances, NotFound that names all that are missing, Unreachable."""
    names = full_names(system, document)
    found = metadata.find(sorted(set(names.values())))
    if missing := sorted(set(names.values()) - found.keys()):
        raise NotFound(
            f"Not registered: {', '.join(missing)}.",
            fix="Register them once with register(instance_file), or correct Thing and name.",
            missing=missing,
        )
    datastreams = {quantity: {**found[name], "status": "unchanged"} for quantity, name in names.items()}
    return Registration(system, {}, {}, datastreams)
