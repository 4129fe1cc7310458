"""What alembic runs: the caller (`migrate.migrate`) hands its connection over in `config.attributes`."""

from __future__ import annotations

from alembic import context

from twinstack.sensorthings.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, compare_type=True)
context.run_migrations()
