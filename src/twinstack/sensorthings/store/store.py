"""The store as everybody sees it: readers on their own connections, writes through one thread per process.

Every write returns a `Write`: `.result()` in a thread, `await` in asyncio; it is done when it is committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, TwinstackError
from twinstack.core.instances import Instances
from twinstack.sensorthings import validate
from twinstack.sensorthings.model import OBSERVATION, EntityType, Link
from twinstack.sensorthings.store import (
    apps,
    archiving,
    catalogue,
    copies,
    create,
    delete,
    observations,
    outbox,
    register,
    systems,
    tables,
    update,
)
from twinstack.sensorthings.store.apps import AppRow, RevisionRow
from twinstack.sensorthings.store.archiving import Archived, ArchiveRow, DeadLetter, Position
from twinstack.sensorthings.store.context import Created, WriteContext
from twinstack.sensorthings.store.engine import make_engine
from twinstack.sensorthings.store.errors import vendor_errors
from twinstack.sensorthings.store.observations import Outcome
from twinstack.sensorthings.store.register import RegisterResult
from twinstack.sensorthings.store.systems import SystemRow
from twinstack.sensorthings.store.transaction import Tx
from twinstack.sensorthings.store.update import Updated
from twinstack.sensorthings.store.values import NewObservation
from twinstack.sensorthings.store.writer import Job, Write, Writer
from twinstack.sensorthings.validate import Draft, Ref

T = TypeVar("T")


def now_us() -> int:
    return time.time_ns() // 1_000


def open_store(url: str, *, clock: Callable[[], int] = now_us) -> Store:
    """The store at `url` (`sqlite:/path/to/store.sqlite`, `postgresql://user:password@host:port/database`). Nothing
    is read or made yet: call `migrate` once. `clock` gives us since 1970 UTC. Errors: SettingsError."""
    return Store(url, clock)


class Store:
    def __init__(self, url: str, clock: Callable[[], int] = now_us) -> None:
        self.url = url
        self.clock = clock
        self.engine = make_engine(url)
        self._writer = Writer(self.engine, clock)

    def migrate(self) -> None:
        """Makes or upgrades the tables. Errors: SettingsError for a store of a newer version."""
        # Only the server migrates: its child processes start faster without alembic.
        from twinstack.sensorthings.store.migrate import migrate

        with vendor_errors():
            migrate(self.engine)
            with self.reader() as connection:
                dead = connection.execute(sa.select(tables.dead_datastream)).first()
        if dead is not None:
            self._sweep()

    def revision(self) -> tuple[str | None, str]:
        """The revision of the tables (None: there are none yet), and the one that `migrate` brings them to.
        Errors: SettingsError for a store of a newer version."""
        from twinstack.sensorthings.store.migrate import HEAD, revision

        with vendor_errors():
            return revision(self.engine), HEAD

    @contextmanager
    def reader(self) -> Iterator[sa.Connection]:
        """A connection for short reads, all of them of one snapshot. Vendor errors come out mapped."""
        with vendor_errors(), self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection

    def close(self) -> None:
        """Commits what is queued and releases the connections."""
        self._writer.close()
        self.engine.dispose()

    def info(self, key: str) -> str:
        """`uuid` of the store, or `header_key`, which signs its `ts-store` headers."""
        with self.reader() as connection:
            query = sa.select(tables.store_info.c.value).where(tables.store_info.c.key == key)
            return str(connection.execute(query).scalar_one())

    def write(self, work: Callable[[Tx], T], *, emits: bool = True, locks: Iterable[int] | None = None) -> Write[T]:
        """Runs `work` in the writer's transaction, in a savepoint of its own. `emits`: it adds to the outbox, so it
        is refused (Unavailable) while that is full. `locks`: it only adds Observations to these Datastreams (`locks`
        says what that is for)."""
        return self._writer.submit(Job(work, emits=emits, locks=locks))

    # --- entities ---------------------------------------------------------------------------------------------------
    def create(
        self,
        entity: EntityType,
        body: Any,
        ctx: WriteContext,
        parent: tuple[EntityType, int] | None = None,
        via: Link | None = None,
    ) -> Write[Created]:
        """A new entity with all that is nested in it; `parent` is the entity of the path (`Things(1)/Datastreams`),
        `via` its link to the new one, where it has several of that type.

        Errors, raised at once: InvalidInput; later: NotFound, Conflict (a reserved name on 1.1; fields `id`, `set`),
        PermissionDenied, Unavailable.
        """
        draft = validate.parse_create(entity, body, ctx.version)
        if parent is not None:
            create.set_parent(draft, *parent, via)
        if entity is OBSERVATION and (row := self._plain(draft, ctx)) is not None:
            return self._writer.submit(Job(None, [row], finish=_created))
        return self.write(lambda tx: _following(tx, lambda: create.create(tx, draft, ctx)))

    def _plain(self, draft: Draft, ctx: WriteContext) -> NewObservation | None:
        """An Observation that needs nothing but its row, so that it joins the group insert."""
        if ctx.system is not None or ctx.writable is not None:
            return None
        target, multi = create.stream_of(draft)
        feature = draft.links.get("FeatureOfInterest", [])[:1]
        of_staplus = any(targets for name, targets in draft.links.items() if name not in create.OF_ROW)
        if not isinstance(target, Ref) or not all(isinstance(one, Ref) for one in feature) or of_staplus:
            return None
        feature_id = next((one.id for one in feature if isinstance(one, Ref)), None)
        return create.new_observation(draft, target.id, feature_id, self.clock(), multi=multi)

    def update(
        self,
        entity: EntityType,
        entity_id: int,
        body: Any,
        ctx: WriteContext,
        *,
        replace: bool = False,
        if_match: str | None = None,
    ) -> Write[Updated]:
        """PATCH, or PUT with `replace`. Errors as `create`, and Stale."""
        draft = validate.parse_update(entity, body, ctx.version, replace=replace)
        return self.write(
            lambda tx: _following(tx, lambda: update.update(tx, entity_id, draft, ctx, if_match)),
            emits=entity is not OBSERVATION,
        )

    def delete(
        self, entity: EntityType, entity_id: int, ctx: WriteContext, *, if_match: str | None = None
    ) -> Write[None]:
        """Deletes with cascades. Errors: NotFound, PermissionDenied, Stale."""

        def work(tx: Tx) -> None:
            _following(tx, lambda: delete.delete(tx, entity, entity_id, ctx, if_match))

        done = self.write(work)
        if entity is not OBSERVATION:
            done.add_done_callback(lambda write: None if write.exception() else self._sweep())
        return done

    def change_set(self, work: Callable[[Tx], T]) -> Write[T]:
        """`work` creates, updates and deletes entities as one (`create.create`, `update.update`, `delete.delete`): all
        of it is stored or nothing."""
        done = self.write(lambda tx: _following(tx, lambda: work(tx)))
        done.add_done_callback(lambda write: None if write.exception() else self._sweep())
        return done

    def _sweep(self) -> None:
        """Deletes hidden rows slice by slice, between other writes."""
        try:
            more = self.write(delete.sweep, emits=False)
        except TwinstackError:
            return  # closed or overfull: the next start or delete goes on
        more.add_done_callback(lambda write: self._sweep() if not write.exception() and write.result() else None)

    def insert_observations(
        self,
        rows: Sequence[NewObservation],
        ctx: WriteContext | None = None,
        *,
        partial: bool = False,
    ) -> Write[list[Outcome]]:
        """Stores rows of any Datastreams in one group commit: their ids, in order.

        One bad row refuses all of them (its error is raised); with `partial` its place holds the error instead.
        `ctx` restricts the Datastreams to what it may write.
        """
        if len(rows) > limits.STORE_REQUEST_ROWS_MAX:
            raise InvalidInput(f"{len(rows)} rows are too many for one request.", fix="Send them in parts.")
        if ctx is not None and (ctx.system is not None or ctx.writable is not None):
            ids = sorted({row.datastream_id for row in rows})
            return self.write(lambda tx: insert_checked(tx, rows, ctx, partial=partial), locks=ids)
        return self._writer.submit(Job(None, rows, partial=partial))

    # --- systems and apps -------------------------------------------------------------------------------------------
    def systems(self) -> list[SystemRow]:
        with self.reader() as connection:
            return systems.all_systems(connection)

    def system(self, name: str) -> SystemRow:
        """Errors: UnknownSystem."""
        with self.reader() as connection:
            return systems.get(connection, name)

    def create_system(self, name: str, partitions: int = limits.PARTITIONS_DEFAULT) -> Write[SystemRow]:
        """Creates the row, and the company's when that is new. Errors: InvalidName, Conflict."""
        return self.write(lambda tx: systems.create(tx, name, partitions), emits=False)

    def set_system_state(self, name: str, state: str) -> Write[SystemRow]:
        return self.write(lambda tx: systems.set_state(tx, name, state), emits=False)

    def apps(self, system: str | None = None) -> list[AppRow]:
        with self.reader() as connection:
            return apps.all_apps(connection, system)

    def app(self, uid: str) -> AppRow:
        """Errors: NotFound."""
        with self.reader() as connection:
            return apps.get(connection, uid)

    def find_app(self, system: str, name: str) -> AppRow | None:
        with self.reader() as connection:
            return apps.find(connection, system, name)

    def create_app(
        self,
        system: str,
        name: str,
        text: str,
        sources: Sequence[str],
        author: str,
        *,
        description: str = "",
        plan_hash: str | None = None,
        uid: str | None = None,
    ) -> Write[AppRow]:
        """A new app of the target system with revision 1. Errors: UnknownSystem, Conflict."""
        return self.write(
            lambda tx: apps.create(
                tx, system, name, text, sources, author, description=description, plan_hash=plan_hash, uid=uid
            ),
            emits=False,
        )

    def add_revision(
        self,
        uid: str,
        text: str,
        sources: Sequence[str],
        author: str,
        *,
        description: str = "",
        plan_hash: str | None = None,
    ) -> Write[int]:
        return self.write(
            lambda tx: apps.add_revision(tx, uid, text, sources, author, description=description, plan_hash=plan_hash),
            emits=False,
        )

    def revisions(self, uid: str) -> list[RevisionRow]:
        """Newest first. Errors: NotFound."""
        with self.reader() as connection:
            return apps.revisions(connection, uid)

    def set_app_state(
        self, uid: str, *, wanted: str | None = None, state: str | None = None, reason: str | None = None
    ) -> Write[AppRow]:
        return self.write(lambda tx: apps.set_state(tx, uid, wanted=wanted, state=state, reason=reason), emits=False)

    def delete_app(self, uid: str) -> Write[None]:
        return self.write(lambda tx: apps.delete(tx, uid), emits=False)

    # --- registration and copies ------------------------------------------------------------------------------------
    def register_instances(self, instances: Instances, client: str, *, dry_run: bool = False) -> Write[RegisterResult]:
        """A whole instance file in one transaction. Errors: UnknownSystem, InvalidInput."""
        return self.write(lambda tx: _following(tx, lambda: register.register(tx, instances, client, dry_run=dry_run)))

    def resolve_datastreams(self, system: str, names: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """Name (log key or full name, the system in front may be left out) -> full entity, None for unknown ones."""
        with self.reader() as connection:
            systems.get(connection, system)
            return catalogue.resolve(connection, system, names)

    def catalogue(self, system: str) -> list[dict[str, Any]]:
        """Full entities of all Datastreams of a system, received copies too (`catalogue.full` gives the shape)."""
        with self.reader() as connection:
            systems.get(connection, system)
            return catalogue.of_system(connection, system)

    def datastreams(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Full entities by id; unknown ids are left out."""
        with self.reader() as connection:
            return catalogue.full(connection, ids)

    def ensure_copies(self, source_system: str, target_system: str) -> Write[list[int]]:
        """Makes the received copies that `target_system` misses of all Datastreams of `source_system`; their ids."""
        return self.write(lambda tx: copies.ensure(tx, source_system, target_system))

    def ensure_copy(
        self, target_system: str, log_keys: Sequence[str], source_id: int | None = None
    ) -> Write[int | None]:
        """The received copy of one Datastream, found by a log key, else by the source's id, made when it is missing;
        None when no other system has it."""
        return self.write(lambda tx: copies.ensure_one(tx, target_system, log_keys, source_id))

    def latest(self, ids: Sequence[int]) -> dict[int, sa.RowMapping]:
        """Datastream id -> columns of its latest Observation (`values.result_value` reads the result)."""
        o, s = tables.observation, tables.datastream_stat
        with self.reader() as connection:
            query = sa.select(o).join(s, s.c.latest_id == o.c.id).where(s.c.datastream_id.in_(ids))
            return {row.datastream_id: row._mapping for row in connection.execute(query)}

    # --- the log side -----------------------------------------------------------------------------------------------
    def archive_positions(self, topics: Sequence[str]) -> dict[tuple[str, int], Position]:
        with self.reader() as connection:
            return archiving.positions(connection, topics)

    def archive_batch(
        self,
        topic: str,
        partition: int,
        topic_uuid: str,
        expected_next: int | None,
        next_offset: int,
        rows: Sequence[ArchiveRow],
        dead: Sequence[DeadLetter],
        *,
        keep_all: bool = True,
        strict: bool = False,
    ) -> Write[Archived]:
        """Rows, dead letters and next offset of one partition in one transaction (`archiving.archive`).
        Errors: Fenced when the stored offset is not `expected_next` (None: there is none); NotFound if `strict`."""
        return self.write(
            lambda tx: archiving.archive(
                tx,
                topic,
                partition,
                topic_uuid,
                expected_next,
                next_offset,
                rows,
                dead,
                keep_all=keep_all,
                strict=strict,
            ),
            emits=False,
            locks={row.observation.datastream_id for row in rows},
        )

    def outbox_read(self, shard: int, after_seq: int, limit: int) -> list[tuple[int, outbox.Payload]]:
        with self.reader() as connection:
            return outbox.read(connection, shard, after_seq, limit)

    def outbox_delete(self, shard: int, upto: int) -> Write[int]:
        return self.write(lambda tx: outbox.delete(tx.connection, tx.outgoing, shard, upto), emits=False, locks=())


def _created(outcomes: list[Outcome]) -> Created:
    outcome = outcomes[0]
    assert isinstance(outcome, int)  # a refused row never gets here
    return Created(outcome, "created")


def _following(tx: Tx, work: Callable[[], T]) -> T:
    """Does the work, then brings the received copies of what it touched up to date."""
    since = len(tx.outgoing.meta)
    result = work()
    copies.follow(tx, since)
    return result


def insert_checked(tx: Tx, rows: Sequence[NewObservation], ctx: WriteContext, *, partial: bool) -> list[Outcome]:
    """Stores rows of Datastreams that `ctx` may write, within a transaction; otherwise as `insert_observations`."""
    refused: dict[int, TwinstackError] = {}
    for datastream_id in sorted({row.datastream_id for row in rows}):
        try:
            create.check_writable(tx, [datastream_id], ctx)
        except TwinstackError as error:
            refused[datastream_id] = error
    if refused and not partial:
        raise next(iter(refused.values()))
    good = [row for row in rows if row.datastream_id not in refused]
    outcomes = iter(observations.insert_requests(tx, [(good, partial)])[0])
    result = [refused[row.datastream_id] if row.datastream_id in refused else next(outcomes) for row in rows]
    if not partial and (first := next((o for o in result if isinstance(o, TwinstackError)), None)) is not None:
        raise first
    return result
