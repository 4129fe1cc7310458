"""`GET /`: the overview, or the demo's front door; for others than browsers the service root as JSON."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from twinstack import __version__
from twinstack.platform.overview import overview
from twinstack.platform.policy import Action, Mode, Object, require
from twinstack.platform.service import Platform
from twinstack.web.render import page

BANNERS = {
    Mode.OPEN: "open: anyone on this machine can read and write",
    Mode.DEMO: "demo on this machine only",
    Mode.UP: "",
}


class Overview:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def endpoint(self, request: Request) -> Response:
        require(request.scope["twinstack.actor"], Action.SEE, Object("page", "overview"))
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse(service_root(self._platform), headers={"Vary": "Accept"})
        data = await run_in_threadpool(overview, self._platform)
        response = page(
            "overview.html",
            banner=BANNERS[self._platform.mode],
            demo=self._platform.mode is Mode.DEMO,
            live=True,
            api="/api/v1/overview",
            url=self._platform.url,
            host=f"localhost:{self._platform.port}",
            now=datetime.now(UTC).strftime("%H:%M:%S UTC"),
            **data,
        )
        response.headers["Vary"] = "Accept"
        return response


def service_root(platform: Platform) -> dict[str, object]:
    """Where the doors of this server are."""
    url = platform.url
    return {
        "name": "twinstack",
        "version": __version__,
        "mode": platform.mode,
        "sensorthings": [f"{url}/v1.1", f"{url}/v1.0"],
        "api": f"{url}/api/v1",
        "log": platform.settings.log if not platform.settings.embedded else url,
        "live": f"{url}/live",
        "health": [f"{url}/healthz", f"{url}/readyz", f"{url}/metrics"],
    }
