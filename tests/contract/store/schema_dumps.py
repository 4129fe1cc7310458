"""Schemas as text: `python -m tests.contract.store.schema_dumps` writes those of this version, kept at a release."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import sqlalchemy as sa
from tests.services.postgres import PostgresServer, binaries, running_postgres

from twinstack.sensorthings.store.engine import make_engine
from twinstack.sensorthings.store.migrate import HEAD
from twinstack.sensorthings.store.upgrade import upgrade

FOLDER = Path(__file__).resolve().parents[2] / "data" / "schema"
_VERSION = "INSERT INTO alembic_version (version_num) VALUES ('{}');\n"


def by_migrations(url: str) -> None:
    engine = make_engine(url)
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        upgrade(connection)
    engine.dispose()


def of_sqlite(url: str) -> str:
    engine = make_engine(url)
    with engine.connect() as connection:
        query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name"
        texts = [" ".join(row.sql.split()) for row in connection.execute(sa.text(query))]
    engine.dispose()
    return "".join(f"{text};\n" for text in texts)


def of_postgresql(server: PostgresServer, database: str) -> str:
    """pg_dump without its comments, settings and what PostGIS brings."""
    folder = binaries()
    assert folder is not None
    command = [str(folder / "pg_dump"), "--schema-only", "--no-owner", "--no-privileges", server.url(database)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kept = [
        line for line in text.splitlines() if line and not line.startswith(("--", "SET ", "\\", "SELECT pg_catalog"))
    ]
    return "\n".join(kept) + "\n"


def write(folder: Path = FOLDER) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        url = f"sqlite:{temporary}/store.sqlite"
        by_migrations(url)
        (folder / f"sqlite-{HEAD}.sql").write_text(of_sqlite(url) + _VERSION.format(HEAD))
    with running_postgres() as server:
        database = server.create()
        by_migrations(server.url(database))
        text = of_postgresql(server, database) + _VERSION.format(HEAD).replace("INTO ", "INTO public.")
        (folder / f"postgresql-{HEAD}.sql").write_text(text)


def released(database: str) -> list[Path]:
    return sorted(FOLDER.glob(f"{database}-*.sql"))


def comparable(text: str) -> list[str]:
    """Statements in any order, without the version: migrations and dumps write them in orders of their own."""
    parts = re.sub(r"INSERT INTO (public\.)?alembic_version.*\n", "", text).split(";\n")
    return sorted(
        ",".join(sorted(" ".join(part.split()).replace('"', "").split(","))) for part in parts if part.strip()
    )


if __name__ == "__main__":
    write()
