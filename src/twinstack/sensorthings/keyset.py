"""nextLinks by keyset: the sort values of the last row, signed, in one opaque parameter.

A page begins behind a row, not at a number: rows that come or go meanwhile neither repeat nor skip others, and the
last page costs what the first does. Nulls come first ascending and last descending.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from twinstack.core.errors import InvalidInput

_SIGNATURE_BYTES = 16
_TOKEN_CHARS_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Key:
    sql: sa.ColumnElement[Any]
    descending: bool = False
    nullable: bool = True

    def order(self) -> sa.ColumnElement[Any]:
        # Said only where it matters: on NOT NULL columns plain indexes serve.
        if self.descending:
            return self.sql.desc().nulls_last() if self.nullable else self.sql.desc()
        return self.sql.asc().nulls_first() if self.nullable else self.sql.asc()


def parameter(n: int) -> str:
    return f"key{n}"


def _value(key: Key, n: int) -> sa.ColumnElement[Any]:
    return sa.bindparam(parameter(n), type_=key.sql.type)


def behind(keys: list[Key], nulls: tuple[bool, ...]) -> sa.ColumnElement[bool]:
    """Rows behind the one whose sort values are the parameters `key0`, `key1` ...; `nulls` says which are null."""
    ways: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for n, (key, is_null) in enumerate(zip(keys, nulls, strict=True)):
        after = _after(key, n, is_null)
        if after is not None:
            ways.append(sa.and_(*equal, after))
        equal.append(key.sql.is_(None) if is_null else key.sql == _value(key, n))
    condition = sa.or_(*ways) if ways else sa.false()
    first = keys[0]
    if len(keys) > 1 and not nulls[0] and not first.nullable:
        # Says nothing new, but it is a bound that an index understands.
        value = _value(first, 0)
        return sa.and_(first.sql <= value if first.descending else first.sql >= value, condition)
    return condition


def _after(key: Key, n: int, is_null: bool) -> sa.ColumnElement[bool] | None:
    value = _value(key, n)
    if key.descending:
        if is_null:
            return None
        return sa.or_(key.sql < value, key.sql.is_(None)) if key.nullable else key.sql < value
    return key.sql.is_not(None) if is_null else key.sql > value


class Signer:
    """Tokens that only this store makes. `about` binds a token to its query: set, order and filter."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hashlib.blake2b(secret, digest_size=32, person=b"nextLink").digest()

    def token(self, about: str, values: list[Any]) -> str:
        body = msgspec.json.encode(values)
        return base64.urlsafe_b64encode(self._signature(about, body) + body).rstrip(b"=").decode()

    def values(self, about: str, token: str, count: int) -> list[Any]:
        """Errors: InvalidInput for a token that was not made for this query."""
        try:
            if len(token) > _TOKEN_CHARS_MAX:
                raise ValueError
            raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise _foreign() from None
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(about, body)):
            raise _foreign()
        values = msgspec.json.decode(body)
        if not isinstance(values, list) or len(values) != count:
            raise _foreign()
        return values

    def _signature(self, about: str, body: bytes) -> bytes:
        about_body = about.encode() + b"\0" + body
        return hashlib.blake2b(about_body, key=self._secret, digest_size=_SIGNATURE_BYTES).digest()


def _foreign() -> InvalidInput:
    return InvalidInput("The $skiptoken was not made for this query.", fix="Follow the nextLink of an answer as it is.")
