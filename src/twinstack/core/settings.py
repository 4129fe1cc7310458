"""Settings of a server and of the command: flags, then `TWINSTACK_*`, then a TOML file, then the defaults.

The file is `$TWINSTACK_CONFIG`, else `<data>/twinstack.toml` when it is there. `load` also tells where each value came
from, because "which of the four wins" is the first question about any setting. msgspec checks the values: it is here
anyway, and pydantic would cost every command half a second of start-up.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from twinstack.core.errors import SettingsError

ENV_PREFIX = "TWINSTACK_"
CONFIG_ENV = "TWINSTACK_CONFIG"
STORE_ENV = "TWINSTACK_STORE"
FILE_NAME = "twinstack.toml"
EMBEDDED = "embedded"

Size = Literal["small", "standard", "large"]


_RETENTION = re.compile("([1-9][0-9]{0,5})([hdwy])")
_UNIT_MS = {"h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000, "y": 365 * 86_400_000}


def parse_retention_ms(text: str) -> int:
    """How long something is kept: `36h`, `90d`, `8w`, `2y`. Errors: SettingsError."""
    if (match := _RETENTION.fullmatch(text)) is None:
        raise SettingsError(f"'{text[:40]}' is no time to keep something.", fix="Write 36h, 90d, 8w or 2y.")
    return int(match[1]) * _UNIT_MS[match[2]]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting with its default; the description is what `twinstack config` prints."""

    port: Annotated[int, Meta(ge=0, le=65535, description="port of pages, API and SensorThings (0 = any free one)")] = (
        1908
    )
    data: Annotated[Path, Meta(description="folder of log, store, settings file and logs")] = Path("twinstack-data")
    log: Annotated[str, Meta(description="embedded, or the Kafka brokers host:port[,host:port]")] = EMBEDDED
    store: Annotated[
        str, Meta(description="URL of the store (postgresql://...); empty = SQLite in the data folder")
    ] = ""
    server: Annotated[str, Meta(description="URL of the server that commands speak with; empty = the folder's")] = ""
    fsync: Annotated[Literal["normal", "full"], Meta(description="normal survives kill -9, full also a power loss")] = (
        "normal"
    )
    replication: Annotated[
        Annotated[int, Meta(ge=1, le=10)] | None, Meta(description="replicas of new Kafka topics; empty = the broker's")
    ] = None
    size: Annotated[Size, Meta(description="partitions of new systems: small 1, standard 3, large 12")] = "standard"
    retention: Annotated[
        str,
        Meta(pattern="^([1-9][0-9]{0,5}[hdwy])?$", description="how long history is kept, e.g. 90d; empty = for ever"),
    ] = ""
    allowed_hosts: Annotated[
        tuple[str, ...], Meta(description="more names that the Host header may carry, comma-separated")
    ] = ()
    public_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s?#\"'<>\\]+)?$",
            description="address that SensorThings answers carry behind a proxy; empty = as the client asked",
        ),
    ] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="of the log on stderr")] = (
        "info"
    )

    @property
    def store_url(self) -> str:
        return self.store or f"sqlite:{self.data.absolute() / 'store.sqlite'}"

    @property
    def retention_ms(self) -> int | None:
        return parse_retention_ms(self.retention) if self.retention else None

    @property
    def embedded(self) -> bool:
        return self.log == EMBEDDED


NAMES = Settings.__struct_fields__
DEFAULTS = dict(zip(NAMES, Settings.__struct_defaults__, strict=True))


@dataclass(frozen=True, slots=True)
class Value:
    """One effective setting: `origin` is flag, env, file or default; `place` the flag, the variable or the file."""

    name: str
    value: Any
    origin: str
    place: str
    description: str


@dataclass(frozen=True, slots=True)
class Effective:
    settings: Settings
    values: tuple[Value, ...]


def load(flags: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] = os.environ) -> Effective:
    """The effective settings; flags that are None were not given. Errors: SettingsError that names the place."""
    flag_values = {k: v for k, v in (flags or {}).items() if v is not None}
    env_values = {name: environ[_variable(name)] for name in NAMES if _variable(name) in environ}
    path = _file_path(flag_values, env_values, environ)
    layers: tuple[tuple[str, Mapping[str, Any], Callable[[str], str]], ...] = (
        ("flag", flag_values, lambda name: f"--{name.replace('_', '-')}"),
        ("env", env_values, _variable),
        ("file", _read(path) if path else {}, lambda name: str(path)),
    )
    merged: dict[str, Any] = {}
    origins: dict[str, tuple[str, str]] = {}
    for origin, values, place in layers:
        for name, value in values.items():
            if name not in merged:
                merged[name] = value
                origins[name] = (origin, place(name))
    settings = _convert(merged, origins)
    return Effective(settings, tuple(_value(settings, name, *origins.get(name, ("default", ""))) for name in NAMES))


def _variable(name: str) -> str:
    return ENV_PREFIX + name.upper()


def describe(name: str) -> str:
    hint = get_type_hints(Settings, include_extras=True)[name]
    return next((m.description or "" for m in hint.__metadata__ if isinstance(m, Meta)), "")


def _value(settings: Settings, name: str, origin: str, place: str) -> Value:
    value = getattr(settings, name)
    shown = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
    if name == "store":
        shown = without_password(value)
    return Value(name, shown, origin, place, describe(name))


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    if "://" not in url:
        return url
    scheme, rest = url.split("://", 1)
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    shown = f"{scheme}://{user}{':***' if colon else ''}{at}{place}"
    return re.sub(r"([?&]password=)[^&]*", r"\1***", shown)


def _file_path(flags: Mapping[str, Any], env: Mapping[str, str], environ: Mapping[str, str]) -> Path | None:
    if named := environ.get(CONFIG_ENV):
        if not Path(named).is_file():
            raise SettingsError(f"The settings file {named} does not exist.", fix=f"Create it, or unset {CONFIG_ENV}.")
        return Path(named)
    path = Path(flags.get("data") or env.get("data") or DEFAULTS["data"]) / FILE_NAME
    return path if path.is_file() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.", fix="Check its rights.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}.", fix="Write lines such as: port = 1908") from None
    for name in values:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, 1)
            fix = f"Did you mean '{near[0]}'?" if near else "`twinstack config` lists all settings."
            raise SettingsError(f"{path} has an unknown setting '{name}'.", fix=fix, setting=name)
    return values


def _convert(merged: Mapping[str, Any], origins: Mapping[str, tuple[str, str]]) -> Settings:
    """Values of the environment are text: msgspec reads numbers from it. One by one, so that the error can say where
    a wrong value stands."""
    checked: dict[str, Any] = {}
    for name, value in merged.items():
        prepared = tuple(v.strip() for v in value.split(",") if v.strip()) if _is_list(name, value) else value
        try:
            one = msgspec.convert({name: prepared}, Settings, strict=False, dec_hook=_path)
        except msgspec.ValidationError as error:
            reason = str(error).partition(" - at ")[0]
            raise SettingsError(
                f"The setting '{name}' from {origins[name][1]} is wrong: {reason}.",
                fix=f"It is: {describe(name)}.",
                setting=name,
            ) from None
        checked[name] = getattr(one, name)
    return Settings(**checked)


def _is_list(name: str, value: Any) -> bool:
    return isinstance(DEFAULTS[name], tuple) and isinstance(value, str)


def _path(kind: type, value: Any) -> Path:
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value)
    raise ValueError("expected the path of a folder")
