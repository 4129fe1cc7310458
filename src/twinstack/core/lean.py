"""`from twinstack.core.lean import httpx`: httpx without its own command line.

httpx imports click, rich and pygments for the command `httpx` wherever they are installed: more than the rest of it,
in each of the many processes of a demo. It takes their absence in its stride, so that one import is made to fail.
"""

from __future__ import annotations

import sys
from typing import cast

_COMMAND = "httpx._main"

if "httpx" not in sys.modules:
    modules = cast("dict[str, object]", sys.modules)
    modules[_COMMAND] = None
    try:
        import httpx
    finally:
        del modules[_COMMAND]
else:
    import httpx

__all__ = ["httpx"]
