"""The whole server as one ASGI application: guard, doors of the protocols, pages and API.

/  /live  /static  /healthz  /readyz  /metrics     pages, live values, health
/api/v1                                            REST
/api/log/v1                                        the log over HTTP (embedded log only)
/topics  /consumers  /brokers                      Kafka REST v2, for the original's clients
/v1.0  /v1.1                                       SensorThings
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from twinstack.core.errors import TwinstackError
from twinstack.platform.service import Platform
from twinstack.web.api.routes import Api
from twinstack.web.doors import ProtocolDoors
from twinstack.web.guard import Guard
from twinstack.web.health import Health
from twinstack.web.live import LiveStream
from twinstack.web.pages.overview import Overview, service_root
from twinstack.web.problem import on_error
from twinstack.web.requests import Requests

if TYPE_CHECKING:
    from twinstack.web.metrics import Metrics

_STATIC = Path(__file__).parent / "static"


class Application:
    """`asgi` serves; `stop` ends what would keep connections open, `close` what is held open, in this order."""

    def __init__(self, asgi: ASGIApp, stream: LiveStream, doors: ProtocolDoors) -> None:
        self.asgi = asgi
        self._stream = stream
        self._doors = doors

    def stop(self) -> None:
        self._stream.stop()
        self._doors.stop()

    async def close(self) -> None:
        await self._doors.close()


def build(platform: Platform) -> Application:
    """Everything the server answers, as one application."""
    requests = Requests()
    stream = LiveStream(platform.live, lambda: [_brief(app) for app in platform.apps.states()], platform.epoch)
    health = Health(platform)

    @cache
    def metrics() -> Metrics:
        from twinstack.web.metrics import Metrics  # prometheus-client is not needed before the first scrape

        return Metrics(platform, requests)

    async def scrape(request: Request) -> Response:
        return metrics().endpoint(request)

    async def root(_: Request) -> Response:
        return JSONResponse(service_root(platform))

    pages = Starlette(
        routes=[
            Route("/", Overview(platform).endpoint),
            Route("/live", stream.endpoint),
            Route("/healthz", health.healthz),
            Route("/readyz", health.readyz),
            Route("/metrics", scrape),
            Route("/api/v1", root),
            Mount("/api/v1", routes=Api(platform).routes()),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        exception_handlers={TwinstackError: on_error, 404: on_error, 405: on_error, 500: on_error, Exception: on_error},
    )
    protocols = ProtocolDoors(platform)
    doors = Doors(protocols.by_prefix, pages)
    guard = Guard(
        doors, mode=platform.mode, hosts=platform.settings.allowed_hosts, token=platform.token, requests=requests
    )
    return Application(guard, stream, protocols)


class Doors:
    """Sends a request to the door whose prefix its path has; everything else to the pages. The path stays whole."""

    def __init__(self, doors: Mapping[str, ASGIApp], pages: ASGIApp) -> None:
        self._doors = doors
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        for prefix, door in self._doors.items():
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                await door(scope, receive, send)
                return
        await self._pages(scope, receive, send)


def _brief(app: dict[str, object]) -> dict[str, object]:
    return {name: app[name] for name in ("uid", "state", "reason", "rate_per_s")}
