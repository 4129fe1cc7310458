"""Released schemas: a store of each of them becomes one of this version, and a new one is as it was released."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.contract.store import schema_dumps as dumps

from twinstack.sensorthings.store import open_store, tables
from twinstack.sensorthings.store.engine import make_engine
from twinstack.sensorthings.store.migrate import HEAD

OLDER = [pytest.param(path, id=path.stem) for path in dumps.released("sqlite") + dumps.released("postgresql")]


@pytest.fixture
def database(postgres_server):
    name = postgres_server.create()
    yield name
    postgres_server.drop(name)


def load_sqlite(path, url):
    import pysqlite3.dbapi2 as sqlite

    connection = sqlite.connect(url.removeprefix("sqlite:"))
    connection.executescript(path.read_text())
    connection.close()


@pytest.mark.parametrize("dump", OLDER)
def test_a_released_schema_becomes_this_version(dump, tmp_path, request):
    if dump.stem.startswith("sqlite"):
        url, new = f"sqlite:{tmp_path / 'old.sqlite'}", f"sqlite:{tmp_path / 'new.sqlite'}"
        load_sqlite(dump, url)
        dumps.by_migrations(new)
        expected, found = dumps.of_sqlite(new), lambda: dumps.of_sqlite(url)
    else:
        server, name, new = (request.getfixturevalue(k) for k in ("postgres_server", "database", "postgres_server"))
        fresh = new.create()
        dumps.by_migrations(new.url(fresh))
        expected = dumps.of_postgresql(new, fresh)
        new.drop(fresh)
        server.run(dump.read_text(), name)
        url = server.url(name)
        found = lambda: dumps.of_postgresql(server, name)  # noqa: E731
    dumps.by_migrations(url)
    assert dumps.comparable(found()) == dumps.comparable(expected)
    store = open_store(url)
    store.migrate()
    assert store.info("uuid") and store.systems() == []
    store.close()


def test_the_dump_of_this_version_is_what_migrations_make(tmp_path, postgres_server, database):
    released = {path.name: path for path in dumps.released("sqlite") + dumps.released("postgresql")}
    if f"sqlite-{HEAD}.sql" not in released:
        pytest.skip(f"schema {HEAD} is not released yet")
    dumps.by_migrations(f"sqlite:{tmp_path / 'new.sqlite'}")
    dumps.by_migrations(postgres_server.url(database))
    for name, text in (
        (f"sqlite-{HEAD}.sql", dumps.of_sqlite(f"sqlite:{tmp_path / 'new.sqlite'}")),
        (f"postgresql-{HEAD}.sql", dumps.of_postgresql(postgres_server, database)),
    ):
        assert dumps.comparable(text) == dumps.comparable(released[name].read_text())


def test_postgresql_has_the_tables_of_the_code(postgres_server, database):
    url = postgres_server.url(database)
    dumps.by_migrations(url)
    engine = make_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, tables.metadata) == []
        collations = connection.execute(
            sa.text(
                "SELECT DISTINCT collation_name FROM information_schema.columns "
                "WHERE table_schema = 'public' AND data_type = 'text' AND table_name = ANY (:names)"
            ),
            {"names": list(tables.BY_NAME)},
        )
        assert collations.scalars().all() == ["C"]
    engine.dispose()
