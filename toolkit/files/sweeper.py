"""The sweeper: what has to be done again and again with files, by one process at a time, restarts or not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlmodel import col, select, update

from toolkit.access import SYSTEM, acting_as
from toolkit.files.retention import RetentionRule
from toolkit.files.scanning import rescan
from toolkit.files.store import FileStore
from toolkit.files.tables import SweepRow
from toolkit.files.upkeep import expire_files, sweep_orphans
from toolkit.files.values import LargeValues, StubsOf
from toolkit.periodic import Periodic
from toolkit.storage import Database

_LONGEST_PAUSE = 60.0


class FileSweeper:
    """Deletes bytes without a row and files that have been kept long enough, and scans again what was not scanned.

    When each chore is due stands in the database: it is done once an interval by whichever process comes first, and a
    process that dies during it costs one interval.
    """

    def __init__(
        self,
        database: Database,
        store: FileStore,
        *,
        every: timedelta = timedelta(hours=1),
        orphans_after: timedelta = timedelta(days=1),
        retention: Sequence[RetentionRule] = (),
        values: LargeValues | None = None,
        stubs_of: StubsOf | None = None,
    ) -> None:
        """``stubs_of`` knows which of the large ``values`` are still in a journal."""
        self._database = database
        self._every = every
        self._turns = Periodic(
            "sweep files", self.turn, seconds=min(every.total_seconds(), _LONGEST_PAUSE), clock=database.clock
        )
        self._chores: dict[str, Callable[[], Awaitable[int]]] = {
            "rescan": lambda: rescan(store),
            "retention": lambda: expire_files(store, retention),
            "orphans": lambda: sweep_orphans(store, older_than=orphans_after),
        }
        if values is not None and stubs_of is not None:
            self._chores["values"] = lambda: values.sweep(stubs_of, before=database.clock.now() - orphans_after)

    async def open(self) -> None:
        """Begin to look for what is due."""
        await self._turns.open()

    async def close(self) -> None:
        """Stop; what is under way is done again by whoever comes next."""
        await self._turns.close()

    async def turn(self) -> dict[str, int]:
        """Do what is due now and nobody else does; how much each chore dealt with."""
        done = {}
        with acting_as(SYSTEM):
            for name, chore in self._chores.items():
                if await self._claim(name):
                    done[name] = await chore()
                    await self._note(name, done[name])
        return done

    async def _claim(self, name: str) -> bool:
        """Whether the chore is due and ours; then it is due again in an interval, whatever becomes of us."""
        now = self._database.clock.now()
        async with self._database.session() as session:
            row = (await session.exec(select(SweepRow).where(col(SweepRow.name) == name))).one_or_none()
            if row is not None and row.due_at > now:
                return False
        async with self._database.session() as session:
            connection = await session.connection()
            later = {"name": name, "due_at": now + self._every, "count": 0}
            if row is None:
                await connection.execute(_insert_once(self._database.dialect).values(**(later | {"due_at": now})))
            claimed = await connection.execute(
                update(SweepRow).where(col(SweepRow.name) == name, col(SweepRow.due_at) <= now).values(**later)
            )
            return claimed.rowcount == 1

    async def _note(self, name: str, count: int) -> None:
        async with self._database.session() as session:
            connection = await session.connection()
            ended_at = self._database.clock.now()
            await connection.execute(
                update(SweepRow).where(col(SweepRow.name) == name).values(ended_at=ended_at, count=count)
            )


def _insert_once(dialect: str) -> Any:
    """An INSERT that leaves a row which is there already as it is; each dialect has a class of its own for it."""
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(SweepRow).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(SweepRow).on_conflict_do_nothing()
