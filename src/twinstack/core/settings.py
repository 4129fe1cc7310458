"""Settings of a server and of the command: flags, then `TWINSTACK_*`, then a TOML file, then the defaults.

The file is `$TWINSTACK_CONFIG`, else `<data>/twinstack.toml` when it is there. `load` also tells where each value came
from, because "which of the four wins" is the first question about any setting.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from twinstack.core.errors import SettingsError

ENV_PREFIX = "TWINSTACK_"
CONFIG_ENV = "TWINSTACK_CONFIG"
FILE_NAME = "twinstack.toml"
EMBEDDED = "embedded"

Size = Literal["small", "standard", "large"]


class Settings(BaseSettings):
    """Every setting with its default; the description is what `twinstack config` prints."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    port: int = Field(1908, ge=0, le=65535, description="port of pages, API and SensorThings (0 = any free one)")
    data: Path = Field(Path("twinstack-data"), description="folder of log, store, settings file and logs")
    log: str = Field(EMBEDDED, description="embedded, or the Kafka brokers host:port[,host:port]")
    store: str = Field("", description="URL of the store; empty = SQLite in the data folder")
    server: str = Field("", description="URL of the server that commands speak with; empty = the data folder's")
    fsync: Literal["normal", "full"] = Field("normal", description="normal survives kill -9, full also a power loss")
    replication: int | None = Field(None, ge=1, le=10, description="replicas of new Kafka topics; empty = broker's")
    size: Size = Field("standard", description="partitions of new systems: small 1, standard 3, large 12")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="more names that the Host header may carry, comma-separated"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="of the log on stderr")

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(v.strip() for v in value.split(",") if v.strip()) if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`load` merges the layers itself (it remembers where each value came from): here only what it passes."""
        return (init_settings,)

    @property
    def store_url(self) -> str:
        return self.store or f"sqlite:///{self.data.resolve() / 'store.sqlite'}"

    @property
    def embedded(self) -> bool:
        return self.log == EMBEDDED


class Value(BaseModel):
    """One effective setting: `origin` is flag, env, file or default, `place` the variable or file."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: Any
    origin: str
    place: str
    description: str


@dataclass(frozen=True, slots=True)
class Effective:
    settings: Settings
    values: tuple[Value, ...]


def load(flags: Mapping[str, Any] | None = None, *, file: Path | None = None) -> Effective:
    """The effective settings; flags that are None were not given. Errors: SettingsError that names the place."""
    flag_values = {k: v for k, v in (flags or {}).items() if v is not None}
    env_values: dict[str, Any] = EnvSettingsSource(Settings)()
    path = _file_path(file, flag_values, env_values)
    file_values = _read(path) if path else {}
    layers = (
        ("flag", flag_values, lambda name: f"--{name.replace('_', '-')}"),
        ("env", env_values, lambda name: ENV_PREFIX + name.upper()),
        ("file", file_values, lambda name: str(path)),
    )
    merged: dict[str, Any] = {}
    origins: dict[str, tuple[str, str]] = {}
    for origin, values, place in layers:
        for name, value in values.items():
            if name not in merged:
                merged[name] = value
                origins[name] = (origin, place(name))
    settings = _validate(merged, origins)
    return Effective(settings, tuple(_values(settings, origins)))


def _values(settings: Settings, origins: Mapping[str, tuple[str, str]]) -> list[Value]:
    dumped = settings.model_dump(mode="json")
    result = []
    for name, field in Settings.model_fields.items():
        origin, place = origins.get(name, ("default", ""))
        result.append(
            Value(name=name, value=dumped[name], origin=origin, place=place, description=field.description or "")
        )
    return result


def _file_path(given: Path | None, flags: Mapping[str, Any], env: Mapping[str, Any]) -> Path | None:
    named = given or (Path(os.environ[CONFIG_ENV]) if os.environ.get(CONFIG_ENV) else None)
    if named:
        if not named.is_file():
            raise SettingsError(f"The settings file {named} does not exist.", fix=f"Create it, or unset {CONFIG_ENV}.")
        return named
    data = Path(flags.get("data") or env.get("data") or Settings.model_fields["data"].default)
    path = data / FILE_NAME
    return path if path.is_file() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.", fix="Check its rights.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}.", fix="Write lines such as: port = 1908") from None
    for name in values:
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name, Settings.model_fields, 1)
            fix = f"Did you mean '{near[0]}'?" if near else "`twinstack config` lists all settings."
            raise SettingsError(f"{path} has an unknown setting '{name}'.", fix=fix, setting=name)
    return values


def _validate(merged: Mapping[str, Any], origins: Mapping[str, tuple[str, str]]) -> Settings:
    try:
        return Settings(**merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        place = origins.get(name, ("", ""))[1]
        raise SettingsError(
            f"The setting '{name}' from {place} is wrong: {first['msg']}.",
            fix=f"It is: {Settings.model_fields[name].description}." if name in Settings.model_fields else "",
            setting=name,
        ) from None
