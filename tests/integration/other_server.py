"""A small SensorThings server that answers in the ways of FROST and GOST: their shapes, limits and gaps.

It knows what a copy and a registration ask for, no more. `cut_every` breaks off every n-th answer within its body,
`busy_every` answers 503, `down` drops every connection.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SETS = {
    "Things": ("Thing", {"Locations": "Locations"}),
    "Locations": ("Location", {}),
    "HistoricalLocations": ("HistoricalLocation", {"Thing": "Things", "Locations": "Locations"}),
    "Datastreams": ("Datastream", {"Thing": "Things", "Sensor": "Sensors", "ObservedProperty": "ObservedProperties"}),
    "Sensors": ("Sensor", {}),
    "ObservedProperties": ("ObservedProperty", {}),
    "Observations": ("Observation", {"Datastream": "Datastreams", "FeatureOfInterest": "FeaturesOfInterest"}),
    "FeaturesOfInterest": ("FeatureOfInterest", {}),
}
_PATH = re.compile(r"/(\w+)(?:\(([^)]*)\))?(?:/(\w+))?")


class Refuse(Exception):
    pass


class OtherServer:
    """`style`: frost, frost-uuid (ids are texts) or gost. `data`: set -> id -> entity; links are `_Thing: id` or
    `_Locations: [ids]`."""

    def __init__(self, style: str = "frost", prefix: str = "") -> None:
        self.style = style
        self.version = "v1.0" if style == "gost" else "v1.1"
        self.prefix = prefix
        self.data: dict[str, dict[Any, dict[str, Any]]] = {name: {} for name in SETS}
        self.page_rows = 200 if style == "gost" else 100
        self.asked: list[str] = []
        self.sent: list[tuple[str, str, Any]] = []
        self.cut_every = self.busy_every = 0
        self.down = False
        self.down_after: int | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._answer(self, "GET", None)

            def do_POST(self) -> None:
                outer._answer(self, "POST", self._body())

            def do_PATCH(self) -> None:
                outer._answer(self, "PATCH", self._body())

            def _body(self) -> Any:
                return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}{prefix}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    # --- HTTP -------------------------------------------------------------------------------------------------------
    def _answer(self, handler: Any, method: str, body: Any) -> None:
        self.asked.append(handler.path)
        n = len(self.asked)
        if self.down or (self.down_after is not None and n > self.down_after):
            handler.connection.close()
            handler.close_connection = True
            return
        status, answer = 200, {}
        try:
            if self.busy_every and n % self.busy_every == 0:
                status, answer = 503, {"message": "busy"}
            elif method == "GET":
                answer = self._get(handler.path)
            else:
                status, answer = self._change(method, handler.path, body)
        except KeyError:
            status, answer = 404, {"code": 404, "type": "error", "message": "Nothing found"}
        except Refuse as error:
            status, answer = (501 if self.style == "gost" else 400), {"message": str(error)}
        content = json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json;charset=UTF-8")
        handler.send_header("Content-Length", str(len(content)))
        if status == 503:
            handler.send_header("Retry-After", "1")
        handler.end_headers()
        if self.cut_every and n % self.cut_every == 0:
            handler.wfile.write(content[: len(content) // 2])
            handler.close_connection = True
            with contextlib.suppress(OSError):
                handler.connection.shutdown(2)
            return
        handler.wfile.write(content)

    def _get(self, path: str) -> dict[str, Any]:
        parts = urlsplit(path)
        base = f"{self.prefix}/{self.version}"
        if not parts.path.startswith(base):
            raise KeyError(path)
        rest = unquote(parts.path.removeprefix(base)).rstrip("/")
        if not rest:
            return {"value": [{"name": name, "url": f"{self._believed}/{name}"} for name in SETS]}
        name, number, child = _PATH.fullmatch(rest).groups()  # type: ignore[union-attr]
        options = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if number is None:
            return self._page(name, list(self.data[name]), options, rest)
        key = self._id(number)
        if child is None:
            return self._shown(name, key, options)
        if child in SETS[name][1]:
            return self._page(child, self.data[name][key].get(f"_{child}", []), options, rest)
        if child == "Observations":
            ids = [i for i, one in self.data[child].items() if one["_Datastream"] == key]
            return self._page(child, ids, options, rest)
        raise KeyError(path)

    @property
    def _believed(self) -> str:
        """The address that servers behind a proxy think to have."""
        return f"http://sta.internal:8080/FROST-Server/{self.version}"

    def _id(self, text: str) -> Any:
        return text[1:-1].replace("''", "'") if text.startswith("'") else int(text)

    def _check_expand(self, name: str, text: str) -> None:
        for target in re.sub(r"\(.*?\)", "", text).split(","):
            if target and target not in SETS[name][1]:
                raise Refuse(f"{name} have no {target}")

    def _page(self, name: str, ids: list[Any], options: dict[str, str], rest: str) -> dict[str, Any]:
        self._check_expand(name, options.get("$expand", ""))
        if condition := options.get("$filter"):
            ids = self._filtered(name, ids, condition)
        if "$orderby" in options:
            if self.style == "gost" and options["$orderby"].split()[0] == "id":
                raise Refuse("orderby id")
            ids = sorted(ids)
        top = min(int(options.get("$top", self.page_rows)), self.page_rows)
        skip = int(options.get("$skip", 0))
        page: dict[str, Any] = {"value": [self._shown(name, i, options) for i in ids[skip : skip + top]]}
        if len(ids) > skip + top:
            more = {**options, "$skip": str(skip + top), "$top": str(top)}
            query = "&".join(f"{key}={value}" for key, value in more.items())
            page["@iot.nextLink"] = f"{self._believed}{rest}?{query}"
        if self.style == "gost":
            page["@iot.count"] = len(ids)
        return page

    def _filtered(self, name: str, ids: list[Any], condition: str) -> list[Any]:
        if match := re.fullmatch(r"name eq '(.*)'", condition):
            wanted = match[1].replace("''", "'")
            return [i for i in ids if self.data[name][i].get("name") == wanted]
        if self.style == "gost" or (self.style == "frost-uuid" and "id" in condition):
            raise Refuse(f"cannot filter by {condition}")
        after = int(re.fullmatch(r"id gt (\d+)", condition)[1])  # type: ignore[index]
        return [i for i in ids if i > after]

    def _shown(self, name: str, key: Any, options: dict[str, str]) -> dict[str, Any]:
        entity = self.data[name][key]
        literal = f"'{key}'" if isinstance(key, str) else key
        link = f"{self._believed}/{name}({literal})"
        shown = {"@iot.id": key, "@iot.selfLink": link}
        shown.update({k: v for k, v in entity.items() if not k.startswith("_")})
        for target, target_set in SETS[name][1].items():
            shown[f"{target}@iot.navigationLink"] = f"{link}/{target}"
            if re.search(rf"\b{target}\b", options.get("$expand", "")):
                linked = entity.get(f"_{target}")
                if isinstance(linked, list):
                    shown[target] = [self._shown(target_set, i, {}) for i in linked]
                elif linked is not None:
                    shown[target] = self._shown(target_set, linked, {})
        return shown

    def _change(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        base = f"{self.prefix}/{self.version}"
        match = _PATH.fullmatch(unquote(path).removeprefix(base)) if path.startswith(base) else None
        if match is None or match[1] not in SETS:
            raise KeyError(path)
        name, number, child = match.groups()
        self.sent.append((method, match[0], body))
        if child is not None:  # a place of a Thing, which is there now
            made = self._made(child, body)
            self.data[name][self._id(number)][f"_{child}"] = [made]
            return 201, self._shown(child, made, {})
        if method == "POST":
            return 201, self._shown(name, self._made(name, body), {})
        key = self._id(number)
        entity = self.data[name][key]
        for target in SETS[name][1]:
            if target in body:
                entity[f"_{target}"] = body[target]["@iot.id"]
        entity.update({k: v for k, v in body.items() if k not in SETS[name][1]})
        return 200, self._shown(name, key, {})

    def _made(self, name: str, body: dict[str, Any]) -> int:
        """A new entity with what is nested in it; names may repeat."""
        entity = {k: v for k, v in body.items() if k not in SETS[name][1]}
        for target, target_set in SETS[name][1].items():
            if target in body:
                given = body[target] if isinstance(body[target], list) else [body[target]]
                ids = [one.get("@iot.id") or self._made(target_set, one) for one in given]
                entity[f"_{target}"] = ids if isinstance(body[target], list) else ids[0]
        key = max(self.data[name], default=0) + 1
        self.data[name][key] = entity
        return key
