"""The migrations make exactly the tables of the code."""

import re

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from twinstack.core.errors import SettingsError
from twinstack.sensorthings.store import tables
from twinstack.sensorthings.store.engine import make_engine
from twinstack.sensorthings.store.migrate import HEAD, migrate
from twinstack.sensorthings.store.upgrade import alembic_config, upgrade


@pytest.fixture
def engine(tmp_path):
    engine = make_engine(f"sqlite:{tmp_path / 'store.sqlite'}")
    yield engine
    engine.dispose()


def by_migrations(engine):
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        upgrade(connection)


def test_a_new_store_is_at_the_newest_revision():
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == HEAD


@pytest.mark.parametrize("make", [by_migrations, migrate], ids=["migrations", "new"])
def test_migrations_make_the_tables_of_the_code(engine, make):
    make(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, tables.metadata) == []


# A reference within its column is what SQLite can add to a table that is there.
_INLINE = re.compile(r"(\w+) INTEGER CONSTRAINT (\w+) REFERENCES (\w+) \(id\)")
_APART = r"\1 INTEGER, CONSTRAINT \2 FOREIGN KEY(\1) REFERENCES \3 (id)"


def _schema(engine):
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"))
        return {
            # alembic and create_all write the constraints of a table in different orders
            name: sorted("".join(_INLINE.sub(_APART, sql).split()).replace('"', "").removesuffix(")").split(","))
            for name, sql in rows
            if not name.startswith("alembic_version")
        }


def test_migrations_make_the_same_sql_as_create_all(engine, tmp_path):
    by_migrations(engine)
    other = make_engine(f"sqlite:{tmp_path / 'other.sqlite'}")
    tables.metadata.create_all(other)
    assert _schema(engine) == _schema(other)
    other.dispose()


def test_migrating_twice_keeps_the_identity(engine):
    migrate(engine)
    with engine.connect() as connection:
        before = connection.execute(sa.select(tables.store_info)).all()
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.select(tables.store_info)).all() == before
        assert len(connection.execute(sa.select(tables.outbox_head)).all()) == 8


def test_a_store_made_by_migrations_is_taken_over(engine):
    by_migrations(engine)
    migrate(engine)
    with engine.connect() as connection:
        assert len(connection.execute(sa.select(tables.outbox_head)).all()) == 8
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all() == [HEAD]


def test_a_store_of_the_first_version_is_upgraded_with_what_it_holds(engine):
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        made = {"state": "ready", "created_at": 0, "updated_at": 0}
        connection.execute(tables.company.insert(), {"id": 1, "name": "a", "name_key": "a", **made})
        row = {"id": 1, "company_id": 1, "name": "a.b.c.d", "name_key": "a.b.c.d", "partitions": 1, **made}
        connection.execute(tables.system.insert(), row)
        connection.execute(tables.thing.insert(), {"id": 1, "name": "t", "description": "", "system_id": 1})
    migrate(engine)
    with engine.begin() as connection:
        [row] = connection.execute(sa.select(tables.thing)).all()
        assert (row.name, row.party_id) == ("t", None)
        connection.execute(tables.party.insert(), {"id": 7, "role": "individual", "system_id": 1})
        connection.execute(tables.thing.update().values(party_id=7))
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            connection.execute(tables.thing.update().values(party_id=8))


def test_a_newer_store_is_refused(engine):
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SettingsError, match="newer version"):
        migrate(engine)


def test_result_keeps_the_type_it_was_given(engine):
    migrate(engine)
    o = tables.observation
    values = [1, 1.0, "5", "text", 2**53 + 1, None]
    with engine.begin() as connection:
        for i, value in enumerate(values, 1):
            connection.execute(o.insert().values(id=i, t=0, result=value, datastream_id=1))
        got = connection.execute(sa.select(o.c.result).order_by(o.c.id)).scalars().all()
    assert [(type(v), v) for v in got] == [(type(v), v) for v in values]
