"""One request to the log's server: kept-alive connections, answers and failures as errors of the project."""

from __future__ import annotations

import http.client
import socket
import time
import urllib.parse
from collections import deque
from typing import Any

import msgspec

from twinstack.core import errors
from twinstack.core.errors import (
    PermissionDenied,
    SettingsError,
    TimedOut,
    TwinstackError,
    Unavailable,
    Unreachable,
)
from twinstack.core.limits import BROKER_PROBE_MS_MAX, HTTP_TIMEOUT_MS
from twinstack.log.http import wire

CONNECT_TIMEOUT_S = BROKER_PROBE_MS_MAX / 1000
REQUEST_TIMEOUT_S = HTTP_TIMEOUT_MS / 1000
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
IDLE_CONNECTIONS_MAX = 8


def _all_errors(kind: type[TwinstackError]) -> dict[str, type[TwinstackError]]:
    found = {kind.code: kind} if kind.__init__ is TwinstackError.__init__ else {}
    for below in kind.__subclasses__():
        found |= _all_errors(below)
    return found


_BY_CODE = {code: kind for code, kind in _all_errors(TwinstackError).items() if kind.__module__ == errors.__name__}


class Connections:
    """A pool of connections to one server; used from any thread, one connection by one thread at a time."""

    def __init__(self, url: str, client_id: str, token: str | None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"'{url}' is no address of a server.", fix="Use http://host:port.")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._secure else 80)
        self._base = parts.path.rstrip("/").removesuffix(wire.PREFIX) + wire.PREFIX
        self.address = f"{self._host}:{self._port}"
        self._headers = {"Content-Type": wire.MEDIA_TYPE, "User-Agent": f"twinstack ({client_id})"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._answered = False
        self._closed = False

    def request(self, request: wire.Request, kind: Any, timeout_s: float = REQUEST_TIMEOUT_S) -> Any:
        """One try; the answer as `kind`. Errors: Unreachable (not connected, or cut), TimedOut, those of the server."""
        operation = wire.OPERATIONS[type(request)]
        connection, kept = self._take(min(timeout_s, CONNECT_TIMEOUT_S))
        try:
            status, body = self._exchange(connection, operation, wire.encode(request), timeout_s)
        except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError) as error:
            connection.close()
            if kept:  # an idle connection that the server has closed meanwhile says nothing about the server
                return self.request(request, kind, timeout_s)
            raise self._unreachable(error) from error
        except TimeoutError as error:
            connection.close()
            raise TimedOut(
                f"{self.address} did not answer within {timeout_s:g} s.", fix="Repeat the call; see the server's log."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from error
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        self._answered = True
        if status == 200:
            try:
                return msgspec.msgpack.decode(body, type=kind)
            except msgspec.MsgspecError as error:
                raise self._strange(status) from error
        raise self._as_error(status, body)

    @property
    def patience_s(self) -> float:
        """How long an outage is bridged: a server that never answered is named soon, one that did may be restarting."""
        return REQUEST_TIMEOUT_S if self._answered else CONNECT_TIMEOUT_S

    def patient(self, request: wire.Request, kind: Any, patience_s: float | None = None) -> Any:
        """Repeats the same request while the server cannot be reached or says so itself, for `patience_s`.
        Every request may be repeated: those that change something carry a sequence or can be done twice."""
        give_up = time.monotonic() + (self.patience_s if patience_s is None else patience_s)
        pause_s = RETRY_FIRST_S
        while True:
            try:
                return self.request(request, kind)
            except Unavailable:
                if time.monotonic() + pause_s >= give_up or self._closed:
                    raise
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    def _take(self, connect_timeout_s: float) -> tuple[http.client.HTTPConnection, bool]:
        try:
            return self._idle.pop(), True
        except IndexError:
            pass
        make = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = make(self._host, self._port, timeout=connect_timeout_s)
        try:
            connection.connect()  # sets TCP_NODELAY
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from error
        return connection, False

    def _exchange(
        self, connection: http.client.HTTPConnection, operation: str, body: bytes, timeout_s: float
    ) -> tuple[int, bytes]:
        assert isinstance(connection.sock, socket.socket)
        connection.sock.settimeout(timeout_s)
        connection.request("POST", f"{self._base}/{operation}", body, self._headers)
        response = connection.getresponse()
        return response.status, response.read()

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        if connection.sock is None or self._closed or len(self._idle) >= IDLE_CONNECTIONS_MAX:
            connection.close()
        else:
            self._idle.append(connection)

    def _as_error(self, status: int, body: bytes) -> TwinstackError:
        try:
            fields = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.MsgspecError:
            return self._strange(status)
        message, fix = str(fields.pop("error", "")), str(fields.pop("fix", ""))
        kind = _BY_CODE.get(str(fields.pop("code", "")))
        fields.pop("message", None)
        if kind is not None:
            return kind(message, fix=fix, **fields)
        return PermissionDenied(message, fix=fix) if status in (401, 403) else self._strange(status)

    def _strange(self, status: int) -> TwinstackError:
        """An answer that is not the log's: a proxy in front, or another server."""
        if status in (401, 403):
            return PermissionDenied(
                f"{self.address} refuses this access ({status}).", fix="Log in, or check the token."
            )
        if status >= 500:
            return Unavailable(f"{self.address} answers {status}.", fix="Repeat later; see the server's log.")
        return SettingsError(f"{self.address} is no log's server: it answers {status}.", fix="Check the address.")

    def _unreachable(self, error: Exception) -> Unreachable:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unreachable(
            f"No server answers at {self.address}: {why}.", fix="Start it (`twinstack up --open`), or check it."
        )

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()
