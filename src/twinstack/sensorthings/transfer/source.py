"""Another party's SensorThings server, 1.0 or 1.1, over HTTP: pages and entities, whatever small ways it has.

FROST and GOST, and what calls itself compatible, differ: ids are numbers or texts, under `@iot.id` or `id`; next links
carry the address that the server believes to have; `$orderby=id` and `$filter=id gt 1` are not understood everywhere.

An address is resolved once, checked and pinned; next links never lead to another host; redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import json
import random
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, NotFound, PermissionDenied, TimedOut, TwinstackError, Unreachable
from twinstack.core.lean import httpx

Entity = dict[str, Any]
Id = int | str
Sleep = Callable[[float], None]

_VERSION = re.compile(r"(.*?)/(v1\.[01])/?")
_METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))  # of clouds
_AGAIN = frozenset({429, 500, 502, 503, 504})
_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.5, 30.0


class Refused(InvalidInput):
    """The server does not understand a request: there may be a simpler way to ask."""


@dataclass(frozen=True, slots=True)
class Page:
    entities: list[Entity]
    next_path: str | None


def id_of(entity: Entity) -> Id:
    """Errors: InvalidInput."""
    found = entity.get("@iot.id", entity.get("id"))
    if isinstance(found, bool) or not isinstance(found, int | str):
        raise InvalidInput("The server sent an entity without id.", fix="Is it a SensorThings server?")
    return found


def literal(entity_id: Id) -> str:
    """The id as it stands in a path."""
    if isinstance(entity_id, int):
        return str(entity_id)
    return "'" + quote(entity_id.replace("'", "''"), safe="") + "'"


def check_address(host: str, port: int, *, allow_private: bool) -> str:
    """The address of the host, looked up once. Errors: Unreachable, PermissionDenied for an address that a server
    should not be asked for: link-local ones (where clouds keep credentials) always, private ones unless allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"The host {host} is not known ({error.strerror}).", fix="Correct the address.") from None
    address = ipaddress.ip_address(found[0][4][0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    nowhere = address.is_multicast or address.is_unspecified or (address.is_reserved and not address.is_loopback)
    if nowhere or address.is_link_local or address in _METADATA:
        raise PermissionDenied(f"{host} is {address}, where no server of others is.", fix="Name another server.")
    if not address.is_global and not allow_private:
        raise PermissionDenied(
            f"{host} is {address}, on this machine or in a private network.", fix="If that is meant: --allow-private."
        )
    return str(address)


class Source:
    """Use from one thread. `url` with or without `/v1.0` or `/v1.1`.

    Errors of all requests: Unreachable, TimedOut after some tries, Refused, NotFound, PermissionDenied, InvalidInput.
    """

    def __init__(
        self,
        url: str,
        *,
        allow_private: bool = False,
        token: str | None = None,
        sleep: Sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query:
            raise InvalidInput(f"'{url}' is no address of a server.", fix="Write http://host:port/path.")
        address = check_address(
            parts.hostname, port or (443 if parts.scheme == "https" else 80), allow_private=allow_private
        )
        match = _VERSION.fullmatch(parts.path.rstrip("/"))
        self._root = (match[1] if match else parts.path).rstrip("/")
        self.version: str = match[2] if match else ""
        shown = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._host = f"{shown}:{port}" if port else shown
        self.name = f"{parts.scheme}://{self._host}{self._root}"
        """What this server is called in the store: its address without version and credentials."""
        pinned = f"[{address}]" if ":" in address else address
        self._origin = f"{parts.scheme}://{pinned}{f':{port}' if port else ''}"
        self._sleep = sleep
        self._extensions = {"sni_hostname": parts.hostname} if parts.scheme == "https" else {}
        headers = {"Host": self._host, "Accept": "application/json", "User-Agent": "twinstack"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        auth = (parts.username, parts.password or "") if parts.username else None
        timeout = httpx.Timeout(limits.SOURCE_READ_MS_MAX / 1000, connect=limits.SOURCE_CONNECT_MS_MAX / 1000)
        self._client = httpx.Client(
            timeout=timeout, headers=headers, auth=auth, trust_env=False, transport=transport, follow_redirects=False
        )
        self.sets: frozenset[str] = frozenset()

    def close(self) -> None:
        self._client.close()

    def open(self) -> None:
        """Reads the service root: version and sets. Errors: InvalidInput when it is no SensorThings server."""
        for version in (self.version,) if self.version else ("v1.1", "v1.0"):
            try:
                root = self.get(f"{self._root}/{version}")
            except (NotFound, Refused):
                continue
            items = root.get("value")
            if isinstance(items, list) and items and all(isinstance(item, dict) for item in items):
                self.version = version
                self.sets = frozenset(str(item.get("name")) for item in items)
                return
        raise InvalidInput(f"{self.name} is no SensorThings server.", fix="Name its address, up to /v1.0 or /v1.1.")

    # --- pages ------------------------------------------------------------------------------------------------------
    def pages(self, path: str, options: dict[str, str]) -> Iterator[Page]:
        """All pages of a collection, by the server's own links."""
        page = self.page(path, options)
        while True:
            yield page
            if page.next_path is None:
                return
            page = self._page(self.get(page.next_path))

    def page(self, path: str, options: dict[str, str]) -> Page:
        query = "&".join(f"{name}={quote(value, safe='(),/')}" for name, value in options.items())
        return self._page(self.get(f"{self._root}/{self.version}/{path}{'?' if query else ''}{query}"))

    def entity(self, path: str) -> Entity:
        return self.get(f"{self._root}/{self.version}/{path}")

    def rest_of(self, entity: Entity, link: str) -> list[Entity]:
        """An expanded collection, with its further pages."""
        found = list(entity.get(link) or [])
        following = entity.get(f"{link}@iot.nextLink") or entity.get(f"{link}@nextLink")
        while isinstance(following, str):
            page = self._page(self.get(self._path_of(following)))
            found += page.entities
            following = page.next_path
        return found

    def _page(self, body: Entity) -> Page:
        entities = body.get("value")
        if not isinstance(entities, list) or not all(isinstance(e, dict) for e in entities):
            raise InvalidInput(f"{self.name} sent no page of entities.", fix="Is it a SensorThings server?")
        following = body.get("@iot.nextLink") or body.get("@nextLink")
        return Page(entities, self._path_of(following) if isinstance(following, str) and following else None)

    def _path_of(self, link: str) -> str:
        """Path and query of a link. A server behind a proxy often names an address of its own: the path behind the
        version is what counts, and only the host that was given is asked."""
        parts = urlsplit(link)
        behind = re.search(r"/v1\.[01]/(.*)", parts.path)
        if behind is None:
            raise InvalidInput(f"{self.name} sent a next link that leads nowhere.", fix="Look at its settings.")
        query = quote(parts.query, safe="%=&$'(),/:;+*@!?-._~")
        return f"{self._root}/{self.version}/{behind[1]}{'?' if query else ''}{query}"

    # --- requests ---------------------------------------------------------------------------------------------------
    def get(self, path: str) -> Entity:
        """The JSON object at a path, asked again while the server has trouble."""
        pause_s = _BACKOFF_FIRST_S
        for attempt in range(1, limits.SOURCE_TRIES_MAX + 1):
            try:
                status, headers, content = self._once(path)
                if status not in _AGAIN:
                    return self._decoded(path, status, headers, content)
                failed: TwinstackError = Unreachable(f"{self.name} answered {status}.", fix="Try again later.")
                if status == 500 and attempt > 1:  # it will not change its mind
                    raise Refused(f"{self.name} answered 500 to {path}.", fix="Its log says why.")
                wait_s = _seconds(headers.get("retry-after"))
            except httpx.TimeoutException:
                failed, wait_s = TimedOut(f"{self.name} did not answer in time.", fix="Try again later."), None
            except httpx.HTTPError as error:
                failed = Unreachable(f"{self.name} does not answer ({error}).", fix="Is it running?")
                wait_s = None
            if attempt < limits.SOURCE_TRIES_MAX:
                self._sleep(min(wait_s or pause_s * (0.5 + random.random()), _BACKOFF_MAX_S))  # noqa: S311
                pause_s = min(pause_s * 2, _BACKOFF_MAX_S)
        raise failed

    def _once(self, path: str) -> tuple[int, httpx.Headers, bytes]:
        with self._client.stream("GET", self._origin + path, extensions=self._extensions) as answer:
            content = bytearray()
            for part in answer.iter_bytes():
                content += part
                if len(content) > limits.SOURCE_ANSWER_BYTES_MAX:
                    raise InvalidInput(f"An answer of {self.name} is too large.", fix="Ask its operator.")
            return answer.status_code, answer.headers, bytes(content)

    def _decoded(self, path: str, status: int, headers: httpx.Headers, content: bytes) -> Entity:
        if status in (401, 403):
            raise PermissionDenied(
                f"{self.name} wants to know who asks ({status}).", fix="Write http://user:password@host, or --token."
            )
        if status in (404, 410):
            raise NotFound(f"{self.name} has no {path}.", fix="Is the address right, up to /v1.0 or /v1.1?")
        if 300 <= status < 400:
            raise InvalidInput(
                f"{self.name} sends elsewhere: {headers.get('location', '')[:200]}.",
                fix="Name that address, if it is right.",
            )
        if status >= 400:
            raise Refused(f"{self.name} answered {status} to {path}: {content[:200]!r}.", fix="Ask its operator.")
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise InvalidInput(f"{self.name} did not answer with JSON.", fix="Is it a SensorThings server?")
        return body


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None
