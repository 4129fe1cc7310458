"""REST `/api/v1`: what the pages and the command line do, as JSON; every handler asks the policy first.

GET  /api/v1/systems                      {"items": [system], "next": null}
POST /api/v1/systems                      {"name", "size"?} -> 201 system
GET  /api/v1/systems/{name}               system
POST /api/v1/systems/{name}/instances     {"client", "instances"} -> what is registered; ?dry_run=true changes nothing
GET  /api/v1/apps                         {"items": [app], "next": null}
POST /api/v1/apps                         {"name", "target", "sources", "text", "description"?} -> 201 app
GET  /api/v1/apps/{uid}                   app
POST /api/v1/apps/{uid}/stop | restart    app
GET  /api/v1/overview                     what the first page shows
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from twinstack.core.errors import InvalidInput
from twinstack.platform.apps import NewApp
from twinstack.platform.overview import overview
from twinstack.platform.policy import Action, Actor, Object, require
from twinstack.platform.service import Platform
from twinstack.sensorthings.store.register import RegisterResult
from twinstack.web.api.body import read

LIST_DEFAULT, LIST_MAX = 50, 500


class NewSystem(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: str | None = None


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    client: str
    instances: dict[str, Any]


class AppBody(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    target: str
    sources: list[str]
    text: str
    description: str = ""


class Api:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/systems", self.systems),
            Route("/systems", self.create_system, methods=["POST"]),
            Route("/systems/{name}", self.system),
            Route("/systems/{name}/instances", self.register, methods=["POST"]),
            Route("/apps", self.apps),
            Route("/apps", self.deploy, methods=["POST"]),
            Route("/apps/{uid}", self.app),
            Route("/apps/{uid}/stop", self.stop_app, methods=["POST"]),
            Route("/apps/{uid}/restart", self.restart_app, methods=["POST"]),
            Route("/overview", self.overview),
        ]

    # --- systems ----------------------------------------------------------------------------------------------------
    async def systems(self, request: Request) -> Response:
        _ask(request, Action.SEE, Object("system"))
        return _list(request, await run_in_threadpool(self._platform.systems.list))

    async def system(self, request: Request) -> Response:
        name = request.path_params["name"]
        _ask(request, Action.SEE, Object("system", name, name))
        return _json(await run_in_threadpool(self._platform.systems.get, name))

    async def create_system(self, request: Request) -> Response:
        body = await read(request, NewSystem)
        _ask(request, Action.CREATE, Object("system", body.name, body.name))
        if body.size not in (None, "small", "standard", "large"):
            raise InvalidInput(f"'{body.size}' is no size.", fix="Use small, standard or large.")
        created = await run_in_threadpool(self._platform.systems.create, body.name, body.size)
        return _json(created, 201, {"Location": f"/api/v1/systems/{body.name}"})

    async def register(self, request: Request) -> Response:
        """In lab mode a well-formed unknown system is created; a dry run creates nothing."""
        name = request.path_params["name"]
        body = await read(request, Registration)
        _ask(request, Action.REGISTER, Object("system", name, name))
        dry_run = request.query_params.get("dry_run", "false") == "true"
        return _json(await run_in_threadpool(self._register, name, body, dry_run))

    def _register(self, name: str, body: Registration, dry_run: bool) -> dict[str, Any]:
        created, result = self._platform.register(name, body.client, body.instances, dry_run=dry_run)
        return {"system": name, "created_system": created, "dry_run": dry_run, **_registered(result)}

    # --- apps -------------------------------------------------------------------------------------------------------
    async def apps(self, request: Request) -> Response:
        _ask(request, Action.SEE, Object("app"))
        return _list(request, self._platform.apps.states())

    async def app(self, request: Request) -> Response:
        uid = request.path_params["uid"]
        _ask(request, Action.SEE, Object("app", uid))
        return _json(self._platform.apps.get(uid))

    async def deploy(self, request: Request) -> Response:
        body = await read(request, AppBody)
        _ask(request, Action.DEPLOY, Object("app", body.name, body.target))
        app = await self._platform.deploy(NewApp(**msgspec.structs.asdict(body)), _actor(request).kind)
        return _json(app, 201, {"Location": f"/api/v1/apps/{app['uid']}"})

    async def stop_app(self, request: Request) -> Response:
        uid = request.path_params["uid"]
        _ask(request, Action.OPERATE, Object("app", uid))
        return _json(await self._platform.stop_app(uid))

    async def restart_app(self, request: Request) -> Response:
        uid = request.path_params["uid"]
        _ask(request, Action.OPERATE, Object("app", uid))
        return _json(await self._platform.restart_app(uid))

    async def overview(self, request: Request) -> Response:
        _ask(request, Action.SEE, Object("page", "overview"))
        return _json(await run_in_threadpool(overview, self._platform))


def _registered(result: RegisterResult) -> dict[str, Any]:
    """local name -> the entity, with `status` created, changed or unchanged."""
    sections = {"Things": result.things, "Sensors": result.sensors, "Datastreams": result.datastreams}
    return {
        section: {local: {**made.entity, "status": made.status} for local, made in entities.items()}
        for section, entities in sections.items()
    }


def _actor(request: Request) -> Actor:
    actor: Actor = request.scope["twinstack.actor"]
    return actor


def _ask(request: Request, action: Action, target: Object) -> None:
    require(_actor(request), action, target)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(value, status, headers={"Cache-Control": "no-store", **(headers or {})})


def _list(request: Request, items: list[dict[str, Any]]) -> Response:
    """`{"items", "next"}`. `?limit=` 1 to 500 (50), `?cursor=` the place of the next page."""
    limit, start = _number(request, "limit", LIST_DEFAULT), _number(request, "cursor", 0)
    if not 1 <= limit <= LIST_MAX:
        raise InvalidInput(f"limit is {limit}.", fix=f"Use 1 to {LIST_MAX}.")
    end = start + limit
    return _json({"items": items[start:end], "next": str(end) if end < len(items) else None})


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if text and not (text.isascii() and text.isdigit()):
        raise InvalidInput(f"{name} is '{text[:40]}'.", fix="Use a number.")
    return int(text) if text else default
