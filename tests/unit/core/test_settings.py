from __future__ import annotations

from pathlib import Path

import pytest

from twinstack.core.errors import SettingsError
from twinstack.core.settings import DEFAULTS, NAMES, describe, load


def origins(effective):
    return {value.name: (value.value, value.origin, value.place) for value in effective.values}


def test_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    (tmp_path / "twinstack.toml").write_text('port = 1\nfsync = "full"\nsize = "small"\n')
    found = origins(
        load({"data": tmp_path, "port": 3, "log": None}, environ={"TWINSTACK_PORT": "2", "TWINSTACK_SIZE": "large"})
    )
    assert found["port"] == (3, "flag", "--port")
    assert found["size"] == ("large", "env", "TWINSTACK_SIZE")
    assert found["fsync"] == ("full", "file", str(tmp_path / "twinstack.toml"))
    assert found["log"] == ("embedded", "default", "")
    assert found["data"] == (str(tmp_path), "flag", "--data")


def test_named_file_wins_over_the_folders_file(tmp_path: Path) -> None:
    (tmp_path / "twinstack.toml").write_text("port = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("port = 2\n")
    assert load({"data": tmp_path}, environ={"TWINSTACK_CONFIG": str(other)}).settings.port == 2


def test_text_of_the_environment_becomes_numbers_and_lists() -> None:
    environ = {"TWINSTACK_PORT": "99", "TWINSTACK_ALLOWED_HOSTS": " a.example, b ", "TWINSTACK_REPLICATION": "3"}
    settings = load(environ=environ).settings
    assert (settings.port, settings.allowed_hosts, settings.replication) == (99, ("a.example", "b"), 3)


@pytest.mark.parametrize(
    ("flags", "environ", "place"),
    [
        ({"port": -1}, {}, "--port"),
        ({"port": 65536}, {}, "--port"),
        ({}, {"TWINSTACK_PORT": "many"}, "TWINSTACK_PORT"),
        ({}, {"TWINSTACK_FSYNC": "never"}, "TWINSTACK_FSYNC"),
        ({}, {"TWINSTACK_REPLICATION": "0"}, "TWINSTACK_REPLICATION"),
        ({}, {"TWINSTACK_DATA": ""}, "TWINSTACK_DATA"),
        ({}, {"TWINSTACK_PUBLIC_URL": "data.example"}, "TWINSTACK_PUBLIC_URL"),
        ({}, {"TWINSTACK_PUBLIC_URL": "http://a b"}, "TWINSTACK_PUBLIC_URL"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_place(flags, environ, place) -> None:
    with pytest.raises(SettingsError) as caught:
        load(flags, environ=environ)
    assert place in caught.value.message
    assert caught.value.fix
    assert caught.value.exit_code == 2


def test_an_unknown_name_in_the_file_is_an_error_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "twinstack.toml").write_text("prot = 1\n")
    with pytest.raises(SettingsError, match="'prot'") as caught:
        load({"data": tmp_path}, environ={})
    assert "'port'" in caught.value.fix


def test_a_file_that_is_no_toml_or_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "twinstack.toml").write_text("port: 1\n")
    with pytest.raises(SettingsError, match="not TOML"):
        load({"data": tmp_path}, environ={})
    with pytest.raises(SettingsError, match="does not exist"):
        load(environ={"TWINSTACK_CONFIG": str(tmp_path / "missing.toml")})


def test_every_setting_has_a_description_and_a_default() -> None:
    assert all(describe(name) for name in NAMES)
    assert set(DEFAULTS) == set(NAMES)


def test_the_store_is_in_the_data_folder_unless_named(tmp_path: Path) -> None:
    assert load({"data": tmp_path}, environ={}).settings.store_url == f"sqlite:{tmp_path}/store.sqlite"
    assert load(environ={"TWINSTACK_STORE": "postgresql://x"}).settings.store_url == "postgresql://x"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://a:secret@h:5432/d", "postgresql://a:***@h:5432/d"),
        ("postgresql://a:s@cr:et@h/d", "postgresql://a:***@h/d"),
        ("postgresql://a@h/d?password=secret&host=x", "postgresql://a@h/d?password=***&host=x"),
        ("sqlite:/some/store.sqlite", "sqlite:/some/store.sqlite"),
    ],
)
def test_a_password_in_the_stores_url_is_not_shown(url: str, shown: str) -> None:
    effective = load({"store": url}, environ={})
    assert {v.name: v.value for v in effective.values}["store"] == shown
    assert effective.settings.store_url == url
