"""The service root: which sets a version has, and on 1.1 what the server settings promise (OGC 18-088, 9.2.1)."""

from __future__ import annotations

import json
from typing import Any

from twinstack.sensorthings.versions import ApiVersion


def service_root(version: ApiVersion, base: str) -> str:
    """The JSON of `/v1.x`. `base` is the address the client used, so that each url can be followed."""
    document: dict[str, Any] = {
        "value": [{"name": name, "url": f"{base}/{name}"} for name in version.sets],
    }
    if version.conformance is not None:
        document["serverSettings"] = {"conformance": list(version.conformance)}
    return json.dumps(document)
