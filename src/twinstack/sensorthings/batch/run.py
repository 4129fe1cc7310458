"""Runs a batch: request after request, a change set as one, and sends each answer as soon as it is there."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Protocol

from twinstack.core.errors import Conflict, TwinstackError, Unsupported
from twinstack.sensorthings import answers
from twinstack.sensorthings.answers import Answer
from twinstack.sensorthings.batch import jsonform, multipart
from twinstack.sensorthings.batch.changeset import Done, Failed, check_method
from twinstack.sensorthings.batch.parts import (
    ChangeSet,
    Created,
    Item,
    Known,
    Part,
    check_size,
    resolve_body,
    resolve_url,
)
from twinstack.sensorthings.calls import Call, part_of

_LOCATION = re.compile(r".*/(?P<set>\w+)\((?P<id>\d+)\)")


class Door(Protocol):
    """What a batch needs of the application."""

    def answer(self, call_of: Callable[[], Call]) -> Awaitable[Answer]:
        """The answer to one request, errors included."""

    def change(self, outer: Call, parts: Sequence[Part], known: Known) -> Awaitable[list[Done]]:
        """Does a change set as one. Errors: Failed, Unavailable."""

    def answer_done(self, done: Done) -> Awaitable[Answer]:
        """The answer to a request of a change set that was done."""


class FailedDependency(Conflict):
    http_status = 424


class Batch:
    """One `$batch`. What earlier requests created is known to later ones by their Content-IDs."""

    def __init__(self, call: Call, door: Door) -> None:
        self._call = call
        self._door = door
        self._known: Known = {}
        self._failed: set[str] = set()

    async def answer(self) -> Answer:
        """Errors: InvalidInput, Unsupported, RecordTooLarge when the batch as a whole cannot be read."""
        body = await self._call.read_body()
        kind = self._call.content_type.partition(b";")[0].strip().lower()
        if kind == b"multipart/mixed":
            boundary = f"batch_{secrets.token_hex(16)}"
            items = check_size(list(multipart.parse(body, self._call.content_type)))
            return Answer(
                200,
                content_type=f"multipart/mixed; boundary={boundary}".encode(),
                parts=self._multipart(items, boundary),
            )
        if kind == b"application/json":
            return Answer(200, parts=self._json(check_size(jsonform.parse(body))))
        raise Unsupported(
            "The body of a batch is multipart/mixed or application/json.",
            fix="Content-Type: multipart/mixed; boundary=batch_1",
        )

    # --- multipart --------------------------------------------------------------------------------------------------
    async def _multipart(self, items: list[Item], boundary: str) -> AsyncGenerator[bytes, None]:
        delimiter = f"--{boundary}\r\n".encode()
        for item in items:
            yield delimiter
            async for piece in self._multipart_item(item):
                yield piece
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    async def _multipart_item(self, item: Item) -> AsyncGenerator[bytes, None]:
        if isinstance(item, Part):
            async for piece in multipart.text_of(await self._one(item), item.id):
                yield piece
            return
        done = await self._set(item)
        if isinstance(done, Failed):
            failed = item.parts[done.index].id if item.parts else None
            async for piece in multipart.text_of(answers.of_error(_named(done, failed)), failed):
                yield piece
            return
        boundary = f"changeset_{secrets.token_hex(16)}"
        yield f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n".encode()
        for part, one in zip(item.parts, done, strict=True):
            yield f"--{boundary}\r\n".encode()
            async for piece in multipart.text_of(await self._door.answer_done(one), part.id):
                yield piece
            yield b"\r\n"
        yield f"--{boundary}--".encode()

    # --- JSON -------------------------------------------------------------------------------------------------------
    async def _json(self, items: list[Item]) -> AsyncGenerator[bytes, None]:
        separator = b'{"responses":['
        for item in items:
            async for part, answer in self._json_item(item):
                yield separator
                separator = b","
                async for piece in jsonform.text_of(answer, part):
                    yield piece
        yield b"]}" if items else separator + b"]}"

    async def _json_item(self, item: Item) -> AsyncGenerator[tuple[Part, Answer], None]:
        if isinstance(item, Part):
            yield item, await self._one(item)
            return
        done = await self._set(item)
        if not isinstance(done, Failed):
            for part, one in zip(item.parts, done, strict=True):
                yield part, await self._door.answer_done(one)
            return
        for index, part in enumerate(item.parts):
            error = done.cause
            if index != done.index:
                error = FailedDependency(
                    f"Request '{item.parts[done.index].id}' of its group failed, so none was done."
                )
            yield part, answers.of_error(error)

    # --- both -------------------------------------------------------------------------------------------------------
    async def _one(self, part: Part) -> Answer:
        if part.error is not None:
            return answers.of_error(part.error)
        answer = await self._door.answer(lambda: self._call_of(part))
        if answer.status >= 400:
            self._fail(part)
        elif part.id is not None and answer.status == 201:
            self._remember(part.id, answer)
        return answer

    def _call_of(self, part: Part) -> Call:
        self._check_dependencies(part)
        call = part_of(self._call, part.method, resolve_url(part.url, self._known), part.headers, part.body)
        if call.body and call.method in ("POST", "PATCH", "PUT") and not (call.path.root and not call.resource):
            entity = None if call.resource else call.path.entity
            call.body = resolve_body(call.body, entity, call.version, self._known)
        return call

    async def _set(self, item: ChangeSet) -> list[Done] | Failed:
        known = dict(self._known)
        try:
            if item.error is not None:
                raise item.error
            for index, part in enumerate(item.parts):
                self._check(index, part)
            done = await self._door.change(self._call, item.parts, known) if item.parts else []
        except TwinstackError as error:
            for part in item.parts:
                self._fail(part)
            return error if isinstance(error, Failed) else Failed(0, error)
        self._known = known
        return done

    def _check(self, index: int, part: Part) -> None:
        """Errors: Failed, for a request that cannot be one of a change set."""
        try:
            if part.error is not None:
                raise part.error
            check_method(part.method)
            self._check_dependencies(part)
        except TwinstackError as error:
            raise Failed(index, error) from error

    def _fail(self, part: Part) -> None:
        self._failed |= {name for name in (part.id, part.group) if name is not None}

    def _check_dependencies(self, part: Part) -> None:
        for name in part.depends_on:
            if name in self._failed:
                raise FailedDependency(f"Request '{name[:80]}' failed, and this one depends on it.")

    def _remember(self, content_id: str, answer: Answer) -> None:
        for name, value in answer.headers:
            match = _LOCATION.fullmatch(value.decode("latin-1")) if name == b"location" else None
            entity = None if match is None else self._call.version.sets.get(match["set"])
            if match is not None and entity is not None:
                self._known[content_id] = Created(entity, int(match["id"]))


def _named(failed: Failed, content_id: str | None) -> TwinstackError:
    """The error of a change set, saying which request it was."""
    cause = failed.cause
    if content_id is not None:
        cause.message = f"Request '{content_id[:80]}' of the change set: {cause.message}"
    return cause
