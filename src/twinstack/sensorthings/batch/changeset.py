"""A change set in the store: every request of it in one savepoint of the writer's transaction.

A request may name what an earlier one of the set created, so addresses and bodies are read while the transaction
runs: the ids are known only then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from twinstack.core import limits, observations
from twinstack.core.errors import InvalidInput, NotFound, TwinstackError
from twinstack.sensorthings import create_observations, joins, jsonpatch, validate, writing
from twinstack.sensorthings.batch.parts import Created, Known, Part, resolve_body, resolve_url
from twinstack.sensorthings.calls import Call, part_of
from twinstack.sensorthings.model import OBSERVATION, EntityType
from twinstack.sensorthings.paths import ResourcePath, not_found
from twinstack.sensorthings.store import WriteContext, create, delete, update
from twinstack.sensorthings.store.observations import Outcome
from twinstack.sensorthings.store.store import insert_checked
from twinstack.sensorthings.store.transaction import Tx
from twinstack.sensorthings.store.values import NewObservation, etag_matches

METHODS = frozenset({"POST", "PATCH", "PUT", "DELETE"})


class Failed(TwinstackError):
    """The request `index` of the set could not be done, for `cause`; so none was."""

    def __init__(self, index: int, cause: TwinstackError) -> None:
        super().__init__(cause.message, fix=cause.fix)
        self.index = index
        self.cause = cause


class Done(NamedTuple):
    """What one request did; `rows`: those of a CreateObservations with what became of them."""

    call: Call
    entity: EntityType
    id: int
    rows: tuple[list[create_observations.Row], list[Outcome]] | None = None


class Decide(Protocol):
    def __call__(self, call: Call) -> None: ...


class Context(Protocol):
    def __call__(self, call: Call) -> WriteContext: ...


class EntityText(Protocol):
    def __call__(self, tx: Tx, call: Call, entity_id: int) -> tuple[str, str]: ...


@dataclass(frozen=True, slots=True)
class ChangeSetWork:
    """`decide` asks the policy, `context` says who writes, `text` gives an entity's JSON and ETag as `tx` sees it."""

    outer: Call
    decide: Decide
    context: Context
    text: EntityText

    def do(self, tx: Tx, parts: Sequence[Part], known: Known) -> list[Done]:
        """Adds to `known` what the requests create. Errors: Failed, for the first that cannot be done."""
        done: list[Done] = []
        for index, part in enumerate(parts):
            try:
                done.append(self._one(tx, part, known))
            except TwinstackError as error:
                raise Failed(index, error) from error
            if part.id is not None and part.method == "POST" and done[-1].rows is None:
                known[part.id] = Created(done[-1].entity, done[-1].id)
        return done

    def _one(self, tx: Tx, part: Part, known: Known) -> Done:
        call = part_of(self.outer, part.method, resolve_url(part.url, known), part.headers, part.body)
        self.decide(call)
        if call.resource == "CreateObservations":
            call.body = resolve_body(part.body, None, call.version, known)
            return self._create_observations(tx, call)
        call.body = resolve_body(part.body, call.path.entity, call.version, known)
        try:
            if part.method == "POST":
                return self._create(tx, call)
            return self._change(tx, call)
        except NotFound as error:
            # As for single requests: only the entity of the path is 404, what a body links is a bad body.
            if error.fields.get("of_path"):
                raise
            raise writing.as_bad_link(error) from error

    def _create(self, tx: Tx, call: Call) -> Done:
        path, entity = call.path, call.path.entity
        draft = validate.parse_create(entity, observations.decode(call.body or b""), call.version.version)
        if path.last.link is not None:
            parent_id = _resolve(tx, path, len(path.steps) - 1)
            create.set_parent(draft, path.steps[-2].entity, parent_id, path.last.link)
        return Done(call, entity, create.create(tx, draft, self.context(call)).id)

    def _create_observations(self, tx: Tx, call: Call) -> Done:
        body = observations.decode_json(call.body or b"", limits.UPLOAD_BYTES_MAX)
        parsed = create_observations.parse(body, call.version.version)
        rows = [row for row in parsed if isinstance(row, NewObservation)]
        return Done(call, OBSERVATION, 0, (parsed, insert_checked(tx, rows, self.context(call), partial=True)))

    def _change(self, tx: Tx, call: Call) -> Done:
        entity, ctx = call.path.entity, self.context(call)
        entity_id = _resolve(tx, call.path, len(call.path.steps))
        if_match = writing.store_tags(call.headers.get(b"if-match"))
        if call.method == "DELETE":
            delete.delete(tx, entity, entity_id, ctx, if_match)
            return Done(call, entity, entity_id)
        mode = writing.update_mode(call.method, call.content_type)
        if mode == "json-patch":
            text, tag = self.text(tx, call, entity_id)
            before = json.loads(text)
            body = jsonpatch.merge_body(before, jsonpatch.apply(before, writing.parse_operations(call.body or b"")))
            # The transaction holds what was just read; only the client's own tags are left to compare.
            if_match = tag if if_match is None or etag_matches(if_match, tag) else if_match
        else:
            body = observations.decode(call.body or b"")
        draft = validate.parse_update(entity, body, call.version.version, replace=mode == "replace")
        update.update(tx, entity_id, draft, ctx, if_match)
        return Done(call, entity, entity_id)


def check_method(method: str) -> None:
    """Errors: InvalidInput."""
    if method not in METHODS:
        raise InvalidInput(f"{method[:20]} cannot stand in a change set.", fix="Put it beside the change set.")


def _resolve(tx: Tx, path: ResourcePath, length: int) -> int:
    """The id of the entity at the step `length - 1`, as the transaction sees it. Errors: NotFound."""
    row = tx.connection.execute(joins.path_ids(path, length), path.ids()).first()
    if row is None:
        step = path.steps[length - 1]
        error = not_found(step.entity, step.id if step.id is not None else f"<{step.link.name if step.link else ''}>")
        error.fields["of_path"] = True
        raise error
    return int(row[0])
