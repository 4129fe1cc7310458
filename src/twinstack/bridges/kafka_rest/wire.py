"""Bodies of the API to records and back: the embedded formats `json` and `binary`, and headers.

Extension (docs/http-doors.md): a record may carry `"headers": [{"name": "...", "value": "<base64>"}]`, as in version 3
of the API, and records are read with their headers and their log `timestamp` in ms.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from twinstack.bridges.kafka_rest.answers import UnsupportedType
from twinstack.core import limits
from twinstack.core.errors import InvalidInput, InvalidRecord, RecordTooLarge, TwinstackError
from twinstack.core.ids import uuid7_batch
from twinstack.core.names import split_topic
from twinstack.core.observations import check_json, decode
from twinstack.log.seam import Batch, Headers, OutRecord

Format = Literal["json", "binary"]
LogKeyOf = Callable[[str, int], str | None]
"""`(system, Datastream's @iot.id)` -> its log key, None when unknown: must not block."""

_FORMATS: dict[str, Format] = {
    "application/vnd.kafka.json.v2+json": "json",
    "application/vnd.kafka.binary.v2+json": "binary",
    "application/vnd.kafka.v2+json": "json",
    "application/json": "json",
}
_SCHEMA_PREFIX_BYTES = 5
_TS_ID_BYTES_MAX = 64
_encode = msgspec.json.Encoder().encode


class _Header(msgspec.Struct):
    name: str
    value: str = ""


class _Record(msgspec.Struct):
    value: msgspec.Raw = msgspec.Raw(b"null")
    key: msgspec.Raw = msgspec.Raw(b"null")
    partition: int | None = None
    headers: list[_Header] = []


class _ProduceBody(msgspec.Struct):
    records: list[_Record]


class Incoming(NamedTuple):
    """A record to store, or why it cannot be; `ts_id` is the sender's own id, "" when it gave none."""

    record: OutRecord | None
    ts_id: str
    error: TwinstackError | None


def format_of(content_type: str) -> Format:
    """Errors: UnsupportedType (Avro, Protobuf and JSON Schema need a registry's client)."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _FORMATS:
        return _FORMATS[kind]
    raise UnsupportedType(
        f"'{content_type[:80]}' is not served here.",
        fix="Send application/vnd.kafka.json.v2+json or application/vnd.kafka.binary.v2+json.",
    )


def parse_produce(
    body: bytes, content_type: str, topic: str, partition: int | None, log_key_of: LogKeyOf | None
) -> list[Incoming]:
    """The records of a produce request. A record that is wrong by itself gets its own error; errors of the whole:
    InvalidInput, UnsupportedType."""
    form = format_of(content_type)
    try:
        parsed = msgspec.json.decode(body, type=_ProduceBody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(
            f"The body is no list of records: {error}", fix='Send {"records": [{"value": ...}]}.'
        ) from None
    if not parsed.records:
        raise InvalidInput("The body holds no record.", fix='Send {"records": [{"value": ...}]}.')
    if len(parsed.records) > limits.REST_RECORDS_PER_REQUEST_MAX:
        raise InvalidInput(
            f"The body holds {len(parsed.records)} records, at most {limits.REST_RECORDS_PER_REQUEST_MAX} fit.",
            fix="Send several requests.",
        )
    known = split_topic(topic)
    make = _Maker(topic, form, known[0] if known else "", known[1] if known else "", log_key_of)
    return [make.incoming(record, partition) for record in parsed.records]


class _Maker:
    """Turns the records of one request into records of one topic."""

    def __init__(self, topic: str, form: Format, system: str, suffix: str, log_key_of: LogKeyOf | None) -> None:
        self._topic = topic
        self._read = _json_bytes if form == "json" else _binary_bytes
        self._key = _json_key if form == "json" else _binary_bytes
        self._canonical = form == "json"
        self._system = system
        self._observations = suffix in ("int", "ext")
        self._needs_value = suffix in ("int", "ext", "log")
        self._log_key_of = log_key_of

    def incoming(self, raw: _Record, partition: int | None) -> Incoming:
        try:
            value, key = self._read(raw.value), self._key(raw.key)
            if value is None and self._needs_value:
                raise InvalidRecord("The value is null.", reason="empty", fix="Send an observation.")
            if value is not None and len(value) > limits.RECORD_VALUE_BYTES_MAX:
                raise RecordTooLarge(
                    f"The value has {len(value)} bytes, at most {limits.RECORD_VALUE_BYTES_MAX} fit.",
                    fix="Send large results as a link, or in parts.",
                )
            if key is not None and len(key) > limits.RECORD_KEY_BYTES_MAX:
                raise InvalidInput(f"The key has {len(key)} bytes, at most {limits.RECORD_KEY_BYTES_MAX} fit.")
            if value is not None and self._observations:
                value, key = self._observation(value, key)
            headers, ts_id = self._headers(raw.headers)
        except TwinstackError as error:
            return Incoming(None, "", error)
        chosen = raw.partition if partition is None else partition
        return Incoming(OutRecord(self._topic, value, key, headers, None, chosen), ts_id, None)

    def _observation(self, value: bytes, key: bytes | None) -> tuple[bytes, bytes | None]:
        """Strictly one observation; the key of the binding when the sender gave none."""
        prefixed = value[:1] == b"\0"
        observation = decode(value[_SCHEMA_PREFIX_BYTES:] if prefixed else value)
        if key is None:
            key = self._log_key(observation.get("Datastream"))
        return (_encode(observation) if self._canonical else value), key

    def _log_key(self, reference: Any) -> bytes | None:
        if not isinstance(reference, Mapping):
            return None
        name, identity = reference.get("name"), reference.get("@iot.id")
        if isinstance(name, str) and name:
            return name.encode()
        if self._log_key_of is not None and isinstance(identity, int) and not isinstance(identity, bool):
            found = self._log_key_of(self._system, identity)
            return None if found is None else found.encode()
        return None

    def _headers(self, raw: Sequence[_Header]) -> tuple[Headers, str]:
        """What the sender may say: its own headers and `ts-id`; other `ts-*` are facts that only apps write."""
        if len(raw) > limits.HEADERS_PER_RECORD_MAX:
            raise InvalidInput(f"The record has {len(raw)} headers, at most {limits.HEADERS_PER_RECORD_MAX} fit.")
        headers: list[tuple[str, bytes]] = []
        ts_id = ""
        for header in raw:
            content = _base64(header.value, f"The header '{header.name[:40]}'")
            if len(header.name.encode()) + len(content) > limits.HEADER_BYTES_MAX:
                raise InvalidInput(f"The header '{header.name[:40]}' is larger than {limits.HEADER_BYTES_MAX} bytes.")
            if header.name.lower() == "ts-id":
                if not content.isascii() or not 0 < len(content) <= _TS_ID_BYTES_MAX:
                    raise InvalidInput("The header 'ts-id' is no id.", fix="Send a UUID as ASCII text.")
                ts_id = content.decode("ascii")
            elif not header.name.lower().startswith("ts-"):
                headers.append((header.name, content))
        own = ts_id or (uuid7_batch(1)[0] if self._observations else "")
        return ((("ts-id", own.encode()),) if own else ()) + tuple(headers), ts_id


def _json_bytes(raw: msgspec.Raw) -> bytes | None:
    """The JSON value as compact bytes; null is no value."""
    content = bytes(raw)
    return None if content == b"null" else msgspec.json.format(content, indent=-1)


def _json_key(raw: msgspec.Raw) -> bytes | None:
    """A text is the key's own bytes (the binding's log key), any other JSON its compact text."""
    content = bytes(raw)
    if content == b"null":
        return None
    parsed = msgspec.json.decode(content)
    try:
        check_json(parsed)
        return parsed.encode() if isinstance(parsed, str) else _encode(parsed)
    except UnicodeEncodeError:
        raise InvalidInput("The key holds half a character (a lone surrogate).") from None


def _binary_bytes(raw: msgspec.Raw) -> bytes | None:
    content = bytes(raw)
    if content == b"null":
        return None
    try:
        text = msgspec.json.decode(content, type=str)
    except msgspec.MsgspecError:
        raise InvalidInput("A binary key or value is no text.", fix="Send it in base64.") from None
    return _base64(text, "A binary key or value")


def _base64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"{what} is not base64.", fix="Send it in base64.") from None


def encode_batch(batch: Batch, form: Format) -> list[tuple[bytes, int]]:
    """Each record as it stands in the answer, with its offset."""
    name, partition = batch.topic, batch.partition
    shape = _json_value if form == "json" else _binary_value
    key_shape = _json_key_value if form == "json" else _binary_value
    encoded = []
    for value, key, headers, at_ms, offset in zip(
        batch.values, batch.keys, batch.headers, batch.timestamps_ms, batch.offsets, strict=True
    ):
        record = {
            "topic": name,
            "key": key_shape(key),
            "value": shape(value),
            "partition": partition,
            "offset": offset,
            "timestamp": at_ms,
            "headers": [{"name": n, "value": _binary_value(v)} for n, v in headers],
        }
        encoded.append((_encode(record), offset))
    return encoded


def _binary_value(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode("ascii")


def _json_value(content: bytes | None) -> Any:
    """The JSON of the value; what is not JSON is given as `{"base64": ...}`, so that one bad record stops nobody."""
    if content is None:
        return None
    if content[:1] == b"\0":
        content = content[_SCHEMA_PREFIX_BYTES:]
    try:
        return msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {"base64": _binary_value(content)}


def _json_key_value(content: bytes | None) -> Any:
    if content is None:
        return None
    try:
        return msgspec.json.decode(content) if content[:1] in (b"{", b"[") else content.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _binary_value(content)
