"""What a start must not import: each of a demo's fifteen processes pays for it before it does anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"alembic", "confluent_kafka", "httpx", "jinja2", "numpy", "prometheus_client", "rich", "starlette.testclient"}
DRIVERS = {"sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.mysql"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("twinstack.web.app", HEAVY | DRIVERS),
        ("twinstack.cli.main", HEAVY | {"sqlalchemy", "starlette", "uvicorn"}),
        ("twinstack.bridges.archive", HEAVY | DRIVERS | {"starlette"}),
        ("twinstack.bridges.outbox", HEAVY | DRIVERS | {"starlette"}),
        ("twinstack.streams.child", (HEAVY - {"numpy"}) | {"sqlalchemy", "asyncio"}),
        ("twinstack.client.digital_twin_client", {"rich", "click", "pygments", "numpy", "sqlalchemy", "typer"}),
    ],
)
def test_a_process_imports_only_what_it_needs(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    imported = sorted(unwanted & set(done.stdout.split()))
    assert not imported
