"""Answers that hold a set: one part at once, or many parts, each read in a session of its own when the client takes
the one before.

So a large answer needs the memory of one part, and a client that reads slowly holds no snapshot of the store. Each
part goes on behind the last row of the one before, as a client does that follows nextLinks. An answer ends with a
nextLink when it is full, and also when a later part fails: the client meets the error there, and keeps what it has.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from twinstack.core import limits
from twinstack.core.errors import Conflict, TwinstackError
from twinstack.sensorthings.answers import Answer
from twinstack.sensorthings.bounds import answer_rows, part_rows
from twinstack.sensorthings.calls import Call
from twinstack.sensorthings.formats import Format
from twinstack.sensorthings.keyset import Signer
from twinstack.sensorthings.options import Options
from twinstack.sensorthings.reading import Chunk, next_link

Read = Callable[[int, Sequence[Any] | None], Awaitable[Chunk]]
"""`read(rows, after)`: at most `rows` entities, those behind the sort values `after` (None: from the start)."""


class Cut(Conflict):
    """An answer that has no place for a nextLink could not be read to its end."""


async def answer_of_set(call: Call, options: Options, form: Format, signer: Signer, read: Read) -> Answer:
    """The set of a request in its format. Errors: those of the first part."""
    rows_max = None if form.whole and options.top is None else answer_rows(options, call.version)
    at_once = part_rows(options, call.version)
    single = rows_max is not None and rows_max <= at_once
    first = await read(rows_max if rows_max is not None and single else at_once, None)

    def link(last: Sequence[Any], rows: int) -> str:
        return next_link(signer, call.path.entity, options, last, rows, call.address())

    if single or first.last is None:
        end = None if first.last is None else link(first.last, len(first.texts))
        body = form.begin(first) + form.rows(first.texts) + form.end(end)
        return Answer(200, body.encode(), content_type=form.content_type)
    parts = _parts(first, form, rows_max, at_once, link, read)
    return Answer(200, content_type=form.content_type, parts=parts)


async def _parts(
    part: Chunk,
    form: Format,
    rows_max: int | None,
    at_once: int,
    link: Callable[[Sequence[Any], int], str],
    read: Read,
) -> AsyncGenerator[bytes, None]:
    """Errors: Cut when a format without nextLinks could not be read to its end."""
    rows, chars = len(part.texts), 0
    text = form.begin(part) + form.rows(part.texts)
    while True:
        chars += len(text)
        if text:
            yield text.encode()
        last = part.last
        full = form.held_chars > limits.ANSWER_PAGE_BYTES_MAX or chars > limits.ANSWER_BYTES_MAX
        if last is None or rows == rows_max or (full and not form.whole):
            break
        try:
            part = await read(at_once if rows_max is None else min(at_once, rows_max - rows), last)
        except TwinstackError as error:
            if form.whole:
                raise Cut(f"The answer ends behind {rows} rows: {error.message}") from error
            break
        rows += len(part.texts)
        text = form.rows(part.texts)
    yield form.end(None if last is None else link(last, rows)).encode()
