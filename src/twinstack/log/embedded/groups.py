"""Consumer groups: members, generations and who reads what.

A group moves on at once when a member joins, leaves or is silent for a session: the generation grows, partitions are
dealt anew, and a commit of an older generation is refused. Members learn of it at their next poll. Generations and
members stand in the file, so they survive a restart; who is alive is known in memory only.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import apsw

from twinstack.core.errors import Conflict, Fenced
from twinstack.core.ids import new_uid
from twinstack.core.limits import GROUP_SESSION_MS
from twinstack.log.embedded.database import every
from twinstack.log.packed.transport import Assignment, Membership
from twinstack.log.seam import TopicPartition


@dataclass(slots=True)
class _Member:
    id: str
    joined: int
    topics: list[str]
    local: bool
    """In the server's own process: alive until it leaves."""
    alive_until_ms: int


@dataclass(slots=True)
class _Group:
    generation: int
    members: dict[str, _Member] = field(default_factory=dict)
    shares: dict[str, list[TopicPartition]] = field(default_factory=dict)


class Groups:
    """Changed by the writer thread inside its transactions (`join`, `leave`, `topics_changed`, `delete`); read from
    any thread under one lock."""

    def __init__(
        self, connection: apsw.Connection, partitions_of: Callable[[str], int | None], now_ms: Callable[[], int]
    ) -> None:
        self._partitions_of = partitions_of
        self._now_ms = now_ms
        self._lock = threading.Lock()
        with connection:
            # members of the process that had the log before are gone with it
            connection.execute(
                "UPDATE grp SET generation = generation + 1 WHERE name IN (SELECT grp FROM member WHERE local)"
            )
            connection.execute("DELETE FROM member WHERE local")
        self._load(connection)

    def _load(self, connection: apsw.Connection) -> None:
        """What the file says; everybody who is in it gets a new session."""
        groups = {
            name: _Group(generation) for name, generation in connection.execute("SELECT name, generation FROM grp")
        }
        until = self._now_ms() + GROUP_SESSION_MS
        for name, uid, joined, topics, local in every(
            connection, "SELECT grp, id, joined, topics, local FROM member ORDER BY grp, joined"
        ):
            groups[name].members[uid] = _Member(uid, joined, json.loads(topics), bool(local), until)
        for group in groups.values():
            group.shares = self._deal(group)
        self._groups = groups

    def _deal(self, group: _Group) -> dict[str, list[TopicPartition]]:
        """Partitions in turn to the members that want the topic, in the order in which they joined."""
        shares: dict[str, list[TopicPartition]] = {member: [] for member in group.members}
        in_order = sorted(group.members.values(), key=lambda member: (member.joined, member.id))
        turn = 0
        for topic in sorted({topic for member in in_order for topic in member.topics}):
            wanting = [member.id for member in in_order if topic in member.topics]
            for number in range(self._partitions_of(topic) or 0):
                shares[wanting[turn % len(wanting)]].append(TopicPartition(topic, number))
                turn += 1
        return shares

    # In the writer's transaction. Memory follows by the returned function, called after COMMIT.

    def join(
        self, connection: apsw.Connection, name: str, topics: Sequence[str], uid: str, local: bool
    ) -> Callable[[], Assignment]:
        group = self._groups.get(name) or _Group(0)
        uid = uid or new_uid()
        joined = max((member.joined for member in group.members.values()), default=0) + 1
        if uid in group.members:
            joined = group.members[uid].joined
        member = _Member(uid, joined, sorted(set(topics)), local, self._now_ms() + GROUP_SESSION_MS)
        members = {**group.members, uid: member}
        connection.execute(
            "INSERT OR REPLACE INTO member VALUES (?, ?, ?, ?, ?)",
            (name, uid, joined, json.dumps(member.topics), local),
        )
        publish = self._move_on(connection, name, group.generation, members)

        def published() -> Assignment:
            moved = publish()
            return Assignment(uid, moved.generation, moved.shares[uid])

        return published

    def leave(self, connection: apsw.Connection, name: str, uids: Iterable[str]) -> Callable[[], object]:
        group = self._groups.get(name)
        going = [uid for uid in uids if group is not None and uid in group.members]
        if group is None or not going:
            return lambda: None
        connection.executemany("DELETE FROM member WHERE grp = ? AND id = ?", [(name, uid) for uid in going])
        members = {uid: member for uid, member in group.members.items() if uid not in going}
        return self._move_on(connection, name, group.generation, members)

    def _move_on(
        self, connection: apsw.Connection, name: str, generation: int, members: dict[str, _Member]
    ) -> Callable[[], _Group]:
        connection.execute("INSERT OR REPLACE INTO grp VALUES (?, ?)", (name, generation + 1))
        moved = _Group(generation + 1, members)

        def publish() -> _Group:
            moved.shares = self._deal(moved)
            with self._lock:
                self._groups[name] = moved
            return moved

        return publish

    def topics_changed(self, connection: apsw.Connection, topics: Iterable[str]) -> list[Callable[[], object]]:
        """Groups that read these topics move on."""
        changed = set(topics)
        return [
            self._move_on(connection, name, group.generation, group.members)
            for name, group in self._groups.items()
            if any(changed & set(member.topics) for member in group.members.values())
        ]

    def delete(self, connection: apsw.Connection, name: str) -> Callable[[], None]:
        """Errors: Conflict while it has members. The generation stays: an old member must not come back as current."""
        group = self._groups.get(name)
        if group is not None and group.members:
            raise Conflict(
                f"Group '{name}' has {len(group.members)} members.", fix="Stop its consumers first.", group=name
            )
        connection.execute("DELETE FROM committed WHERE grp = ?", (name,))
        return lambda: None

    def check(self, name: str, membership: Membership | None) -> None:
        """Errors: Fenced when a commit of this membership (None: of somebody outside) must not be taken."""
        group = self._groups.get(name)
        if membership is None:
            if group is not None and group.members:
                raise Fenced(
                    f"Group '{name}' has members; only they commit its offsets.", fix="Use another group.", group=name
                )
            return
        if group is None or group.generation != membership.generation or membership.member not in group.members:
            raise Fenced(
                f"Group '{name}' has moved on: generation {membership.generation} is over.",
                fix="Poll again: reading goes on from the committed offsets.",
                group=name,
            )

    # From any thread

    def moved(self, membership: Membership) -> Assignment | None:
        """None while the membership holds, else the member's new share; unknown members get an empty name.
        It counts as a sign of life."""
        with self._lock:
            group = self._groups.get(membership.group)
            member = group.members.get(membership.member) if group is not None else None
            if group is None or member is None:
                return Assignment("", 0, [])
            member.alive_until_ms = self._now_ms() + GROUP_SESSION_MS
            if group.generation == membership.generation:
                return None
            return Assignment(member.id, group.generation, list(group.shares[member.id]))

    def silent(self) -> list[tuple[str, list[str]]]:
        """Members whose session is over, by group."""
        now_ms = self._now_ms()
        with self._lock:
            found = [
                (name, [m.id for m in group.members.values() if not m.local and m.alive_until_ms < now_ms])
                for name, group in self._groups.items()
            ]
        return [(name, uids) for name, uids in found if uids]
