"""`/healthz`: the process answers. `/readyz`: store and log answer, and no needed child process has given up."""

from __future__ import annotations

import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from twinstack.core.errors import TwinstackError

_PING_S = 2.0
_KEEP_S = 1.0


class Health:
    def __init__(self, platform: Any) -> None:
        self._platform = platform
        self._checked_s = float("-inf")
        self._checks: dict[str, dict[str, str]] = {}

    async def healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def readyz(self, _: Request) -> Response:
        """200 or 503 with each check; asked often, the checks run at most once a second."""
        if time.monotonic() - self._checked_s > _KEEP_S:
            self._checks = await run_in_threadpool(self._check)
            self._checked_s = time.monotonic()
        ready = all(check["status"] == "pass" for check in self._checks.values())
        body = {"status": "ready" if ready else "not ready", "checks": self._checks}
        return JSONResponse(body, 200 if ready else 503, headers={"Cache-Control": "no-store"})

    def _check(self) -> dict[str, dict[str, str]]:
        checks = {
            "log": _try(lambda: self._platform.log.ping(_PING_S)),
            "store": _try(lambda: self._platform.store.info("uuid")),
        }
        for name, child in self._platform.supervisor.states().items():
            if child["kind"] == "worker":
                passed = child["state"] in ("starting", "running")
                checks[name] = {"status": "pass"} if passed else {"status": "fail", "cause": child["reason"]}
        return checks


def _try(check: Any) -> dict[str, str]:
    try:
        check()
    except TwinstackError as error:
        return {"status": "fail", "cause": error.message, "fix": error.fix}
    return {"status": "pass"}
