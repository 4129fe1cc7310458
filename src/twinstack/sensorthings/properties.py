"""Answers to paths into an entity: `/name`, `/properties/owner`, `/name/$value`, and `$ref` (OGC 18-088, 9.2)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from twinstack.core.errors import NotFound
from twinstack.sensorthings.answers import Answer
from twinstack.sensorthings.options import Options
from twinstack.sensorthings.paths import ResourcePath
from twinstack.sensorthings.store.types import dumps
from twinstack.sensorthings.versions import ApiVersion


def property_options(path: ResourcePath, version: ApiVersion) -> Options:
    """A read of the one property alone."""
    name = path.keys[0]
    return Options(select=(version.id if name == "id" else name,))


def ref_options(options: Options, version: ApiVersion) -> Options:
    """The same set, reduced to addresses."""
    return replace(options, select=(version.self_link,), expand=())


def property_answer(path: ResourcePath, version: ApiVersion, text: str) -> Answer:
    """`{"name": value}`, the bare value for `$value`, 204 for null.

    A null `resultTime` is answered with 200: clients want to see it. Errors: NotFound for a member that is not there.
    """
    name = version.id if path.keys[0] == "id" else path.keys[0]
    value: Any = json.loads(text)[name]
    for key in path.keys[1:]:
        if not isinstance(value, dict) or key not in value:
            raise NotFound(f"'{'/'.join(path.keys)[:80]}' does not exist.", fix="Look at the property as a whole.")
        name, value = key, value[key]
    if value is None and (path.tail or path.keys != ("resultTime",)):
        return Answer(204)
    if not path.tail:
        return Answer(200, dumps({name: value}).encode())
    if isinstance(value, str):
        return Answer(200, value.encode(), content_type=b"text/plain; charset=utf-8")
    return Answer(200, dumps(value).encode())
