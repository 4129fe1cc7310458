"""OGC 18-088, 7.2: the service root promises what a module here proves, and nothing else."""

from importlib import import_module
from pathlib import Path

from sensorthings_api import Api

from twinstack.sensorthings import conformance


def test_each_uri_is_proved_by_the_module_that_the_table_names() -> None:
    """A module says what it proves in REQUIREMENTS: leaf requirements of its SPEC (by default OGC 18-088)."""
    said: dict[str, tuple[str, ...]] = {}
    for path in sorted(Path(__file__).parent.glob("test_sta*.py")):
        module = import_module(path.stem)
        spec = getattr(module, "SPEC", conformance.SENSING)
        if names := getattr(module, "REQUIREMENTS", ()):
            said[path.stem] = tuple(f"{spec}/{name}" for name in names)
    assert {name: set(uris) for name, uris in said.items()} == {
        name: set(uris) for name, uris in conformance.PROVED_BY.items()
    }
    assert len(set(conformance.V11)) == len(conformance.V11)


def test_each_module_has_tests() -> None:
    for name in conformance.PROVED_BY:
        assert any(member.startswith("test_") for member in dir(import_module(name)))


async def test_the_service_root_lists_them(api: Api) -> None:
    settings = (await api.get("/"))["serverSettings"]
    assert settings["conformance"] == list(conformance.V11)
    assert not any("mqtt" in uri or "tasking" in uri for uri in settings["conformance"])
