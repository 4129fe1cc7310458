"""The doors of the protocols, each an ASGI application of its own that gets the whole path."""

from __future__ import annotations

from starlette.types import ASGIApp

from twinstack.platform.service import Platform


def protocol_doors(platform: Platform) -> dict[str, ASGIApp]:
    """Prefix -> application."""
    return {}
