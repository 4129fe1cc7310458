"""One request to the SensorThings door, read as far as its headers: of a client, or of a part of `$batch`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, NotFound
from twinstack.sensorthings import asgi
from twinstack.sensorthings.compression import inflate
from twinstack.sensorthings.paths import ResourcePath, decode, parse_path
from twinstack.sensorthings.versions import VERSIONS, ApiVersion

Resource = Literal["", "$batch", "CreateObservations", "api"]
"""What is no entity: `api` is the OpenAPI document, where FROST has it."""
_RESOURCES: dict[str, Resource] = {"/$batch": "$batch", "/CreateObservations": "CreateObservations", "/api": "api"}
_PREFIX = re.compile(r"(?P<before>.*?)/(?P<version>v1\.[01])(?P<rest>/.*)?")
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_SYSTEM = b"twinstack-system"
_EMPTY = ResourcePath(())


@dataclass(slots=True)
class Call:
    """`base` is the address of the version as the client wrote it, `receive` the client's; `body` None: not read."""

    method: str
    version: ApiVersion
    base: str
    path: ResourcePath
    resource: Resource
    query: bytes
    headers: dict[bytes, bytes]
    actor: Any
    receive: asgi.Receive
    body: bytes | None = None

    @property
    def system(self) -> str | None:
        name = self.headers.get(_SYSTEM)
        return None if name is None else name.decode("latin-1").strip()

    @property
    def content_type(self) -> bytes:
        return self.headers.get(b"content-type", b"")

    def address(self) -> str:
        """The URL of the path, without query, as ids and names of the model (nothing of it is the client's text)."""
        segments = []
        for step in self.path.steps:
            name = step.link.name if step.link else step.entity.set_name
            segments.append(name if step.id is None else f"{name}({step.id})")
        return "/".join([self.base, *segments, *([self.path.tail] if self.path.tail else [])])

    async def read_body(self) -> bytes:
        """The body without its Content-Encoding. Errors: RecordTooLarge, InvalidInput, Unsupported."""
        if self.body is None:
            bytes_max = limits.UPLOAD_BYTES_MAX if self.resource else limits.BODY_BYTES_MAX
            body = await asgi.read_body(self.receive, bytes_max)
            encoding = self.headers.get(b"content-encoding")
            self.body = body if encoding is None else inflate(body, encoding, bytes_max)
        return self.body


def call_of(scope: asgi.Scope, receive: asgi.Receive, public_url: str | None) -> Call:
    """The request of a client. Errors: NotFound, InvalidInput, NotServed."""
    raw = decode(scope.get("raw_path") or quote(scope["path"]).encode())
    match = _PREFIX.fullmatch(raw)
    if match is None:
        raise NotFound("There is no such API version.", fix="Versions: /v1.0 and /v1.1.")
    headers = asgi.headers_of(scope)
    version = VERSIONS[match["version"]]
    base = asgi.base_address(scope, headers, public_url, f"{quote(match['before'])}/{version.segment}")
    resource, path = _target(match["rest"] or "", version)
    return Call(
        scope["method"],
        version,
        base,
        path,
        resource,
        scope["query_string"],
        headers,
        scope.get("twinstack.actor"),
        receive,
    )


def part_of(outer: Call, method: str, url: str, headers: dict[bytes, bytes], body: bytes) -> Call:
    """One request within `$batch`; `url` is absolute, from the root, or relative to the version of the batch.

    Errors: NotFound, InvalidInput, NotServed.
    """
    address, _, query = _ORIGIN.sub("", url.partition("#")[0], count=1).partition("?")
    root, version, rest = outer.base.rpartition("/")[0], outer.version, f"/{address}"
    if address.startswith("/"):
        match = _PREFIX.fullmatch(decode(address.encode("utf-8", "surrogatepass")))
        if match is None:
            raise NotFound("There is no such API version.", fix="Versions: /v1.0 and /v1.1.")
        version, rest = VERSIONS[match["version"]], match["rest"] or ""
    else:
        rest = decode(rest.encode("utf-8", "surrogatepass"))
    resource, path = _target(rest, version)
    if resource == "$batch":
        raise InvalidInput("A $batch cannot stand in a $batch.", fix="Send the requests as parts of one.")
    # What belongs to the connection and not to one part: who asks, and for which system.
    inherited = {name: outer.headers[name] for name in (_SYSTEM,) if name in outer.headers}
    return Call(
        method,
        version,
        f"{root}/{version.segment}",
        path,
        resource,
        query.encode("utf-8", "surrogatepass"),
        {**inherited, **headers},
        outer.actor,
        outer.receive,
        body,
    )


def _target(rest: str, version: ApiVersion) -> tuple[Resource, ResourcePath]:
    resource = _RESOURCES.get(rest.rstrip("/"), "")
    return resource, _EMPTY if resource else parse_path(rest, version)
