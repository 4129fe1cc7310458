"""The SensorThings API over HTTP at `/v1.0` and `/v1.1`: one bare ASGI application, no framework in front of it.

Every request is decided by the `decide` that the server gives; errors are JSON `{"code", "type", "message"}`.
OGC 15-078r6 and OGC 18-088, clauses 9 (reading), 10 (create, update, delete), 11 (batches) and 13 (data arrays).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from twinstack.core.errors import InvalidInput, NotFound, TwinstackError
from twinstack.sensorthings import answers, asgi, create_observations, sets
from twinstack.sensorthings.answers import Answer
from twinstack.sensorthings.batch import Batch
from twinstack.sensorthings.batch.changeset import ChangeSetWork, Done
from twinstack.sensorthings.batch.parts import Known, Part
from twinstack.sensorthings.calls import Call, call_of
from twinstack.sensorthings.compression import accepted
from twinstack.sensorthings.http_read import Reads
from twinstack.sensorthings.http_write import Writes, context, own
from twinstack.sensorthings.openapi import openapi
from twinstack.sensorthings.paths import ResourcePath
from twinstack.sensorthings.reading import NoLink
from twinstack.sensorthings.service_root import service_root
from twinstack.sensorthings.store import Store
from twinstack.sensorthings.store.transaction import Tx

log = logging.getLogger(__name__)

Decide = Callable[[Any, str, str], None]
"""`decide(actor, action, object)`: action is read, create, write or delete; object a set or an entity as in a path,
`Things` or `Things(1)`. It raises PermissionDenied, or NotFound for what the actor must not know of."""

_READ = ("GET", "HEAD")
_ACTIONS = {"GET": "read", "HEAD": "read", "POST": "create", "PATCH": "write", "PUT": "write", "DELETE": "delete"}


class SensorThingsApp:
    """`store`: migrated, and its owner's. `base_url`: the server's address behind a proxy; None: the request's Host."""

    def __init__(self, store: Store, *, base_url: str | None, decide: Decide) -> None:
        self._store = store
        self._public_url = base_url
        self._decide = decide
        self._reads = Reads(store)
        self._writes = Writes(store, self._reads)

    def close(self) -> None:
        """Ends the reading threads and closes their connections; the store is its owner's."""
        self._reads.close()

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] != "http":
            return
        coding = accepted(next((value for name, value in scope["headers"] if name == b"accept-encoding"), None))
        try:
            answer = await self.answer(lambda: call_of(scope, receive, self._public_url))
            await answers.send_answer(send, answer, head=scope["method"] == "HEAD", coding=coding)
        except asgi.Disconnected:
            return
        except sets.Cut as error:
            # Nothing can be said behind the first part: the connection ends before the answer does.
            log.warning("%s %s: %s", scope["method"], scope["path"], error)

    async def answer(self, call_of: Callable[[], Call]) -> Answer:
        """The answer to one request, errors included."""
        try:
            return await self._of_call(call_of())
        except TwinstackError as error:
            return answers.of_error(error)
        except asgi.Disconnected:
            raise
        except Exception:
            log.exception("A request failed")
            return answers.of_problem(500, "The server failed; its log says why.")

    async def _of_call(self, call: Call) -> Answer:
        allowed = _methods(call)
        if call.method == "OPTIONS":
            return Answer(204, headers=((b"allow", ", ".join(allowed).encode()),))
        if call.method not in allowed:
            allow = ((b"allow", ", ".join(allowed).encode()),)
            return answers.of_problem(405, f"{call.method} cannot be done here. Use {', '.join(allowed)}.", allow)
        if call.resource == "$batch":
            # Each request of it is asked for by itself.
            return await Batch(call, self).answer()
        self._ask(call)
        if call.resource == "CreateObservations":
            return await self._writes.create_observations(call)
        if call.resource == "api":
            return answers.of_json(openapi(call.version.segment, call.base))
        if call.path.root:
            return answers.of_json(service_root(call.version, call.base))
        if call.method in _READ:
            try:
                return await self._reads.answer(call)
            except NoLink:
                return Answer(204)
        if call.method == "POST":
            return await self._writes.create(call)
        return await self._writes.change(call)

    def _ask(self, call: Call) -> None:
        """Errors: PermissionDenied, NotFound."""
        self._decide(call.actor, _ACTIONS[call.method], _object(call))

    # --- what a batch needs -----------------------------------------------------------------------------------------
    async def change(self, outer: Call, parts: Sequence[Part], known: Known) -> list[Done]:
        """Does a change set as one. Errors: Failed, Unavailable."""
        work = ChangeSetWork(outer, self._ask_for_change, context, self._text_within)
        return await self._store.change_set(lambda tx: work.do(tx, parts, known))

    async def answer_done(self, done: Done) -> Answer:
        """The answer to a request of a change set that was done."""
        call = done.call
        if done.rows is not None:
            return answers.of_json(create_observations.answer(call.base, *done.rows), status=201)
        if call.method == "DELETE":
            return Answer(200)
        try:
            if call.method == "POST":
                return await self._writes.created(call, done.entity, done.id)
            return await self._reads.entity(call, done.entity, done.id)
        except NotFound:
            # A later request of the set deleted it again: it was done, and there is nothing to show.
            return Answer(201 if call.method == "POST" else 200)

    def _ask_for_change(self, call: Call) -> None:
        if call.method not in _methods(call):
            raise InvalidInput(f"{call.method} cannot be done here.", fix=f"Use {', '.join(_methods(call))}.")
        self._ask(call)

    def _text_within(self, tx: Tx, call: Call, entity_id: int) -> tuple[str, str]:
        return self._reads.text_within(tx.connection, call, call.path.entity, entity_id, own(call))


def _methods(call: Call) -> tuple[str, ...]:
    path = call.path
    if call.resource in ("$batch", "CreateObservations"):
        return ("POST", "OPTIONS")
    if path.root or path.keys or path.tail:
        return (*_READ, "OPTIONS")
    return (*_READ, "PATCH", "PUT", "DELETE", "OPTIONS") if path.single else (*_READ, "POST", "OPTIONS")


def _object(call: Call) -> str:
    """What the policy is asked about: the last entity that the path names by its id, else the set."""
    path: ResourcePath = call.path
    if path.root:
        return "Observations" if call.resource == "CreateObservations" else "/"
    for step in reversed(path.steps):
        if step.id is not None:
            return f"{step.entity.set_name}({step.id})"
    return path.entity.set_name
