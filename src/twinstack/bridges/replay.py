"""Replays a dead letter of the archive: the record is read, found and stored as the archive would do it today."""

from __future__ import annotations

from twinstack.bridges.history import Resolver, Unstorable, read
from twinstack.core.names import split_topic
from twinstack.sensorthings.store import Store, dead_letters


def replay(store: Store, letter_id: int) -> str:
    """The letter's state afterwards: `done`, or `open` with its new error.

    Errors: NotFound, Conflict for a letter that is not open; Unavailable.
    """
    with store.reader() as connection:
        letter = dead_letters.get(connection, letter_id)
    if not letter.whole:
        message = f"Only the first {len(letter.value or b'')} of {letter.value_bytes} bytes were kept."
        return store.write(lambda tx: dead_letters.keep(tx, letter_id, "size", message), emits=False).result()
    system, suffix = split_topic(letter.topic) or ("", "")
    received = suffix == "ext"
    try:
        claim, row = read(letter.key, letter.value, letter.timestamp_ms)
    except Unstorable as error:
        reason, message = error.reason, error.message
        return store.write(lambda tx: dead_letters.keep(tx, letter_id, reason, message), emits=False).result()
    resolver = Resolver(store)
    resolver.learn(system, [claim], received=received)
    found = resolver.find(system, claim, received=received)
    if found is None:
        text = f"'{claim.name or claim.key or claim.id}' is no Datastream of {system}."
        return store.write(
            lambda tx: dead_letters.keep(tx, letter_id, "foreign_datastream", text), emits=False
        ).result()
    full = row._replace(datastream_id=found)
    return store.write(lambda tx: dead_letters.store_again(tx, letter_id, full), emits=False).result()
