"""Crashes at chosen points: from there on nothing that the process does reaches the database any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeVar

from toolkit.clock import Clock
from toolkit.storage import Connection, Database, OutcomeUnknown, Query, Request, Row, Rows, Script, Together

T = TypeVar("T")

# Where the path stands in the rows of the statements that write steps and waits.
_PATHS = {"insert toolkit_step": 1, "insert toolkit_wait": 2}


@dataclass(frozen=True, slots=True)
class Crash:
    """The process ends ``"before"`` or ``"after"`` the commit ``at``.

    ``at`` is the number of a commit that writes something, from 1, or the path of a step or a wait: the commit with
    its checkpoint (``charge/0``), or with the opening of the wait. Before the commit of a step, its body has run.
    """

    when: Literal["before", "after"]
    at: int | str

    def __str__(self) -> str:
        return f"{self.when} {'commit ' if isinstance(self.at, int) else ''}{self.at}"


def crash_before(at: int | str) -> Crash:
    """End before a commit: what it would have written is lost, what its step did outside is done."""
    return Crash("before", at)


def crash_after(at: int | str) -> Crash:
    """End after a commit, before anybody in the process hears of it."""
    return Crash("after", at)


class CrashingDatabase(Database):
    """A database as one process sees it, until that process crashes; then every call to it waits for ever."""

    def __init__(self, url: str, *, clock: Clock | None = None, crash: Crash | None = None) -> None:
        super().__init__(url, synchronous="NORMAL", clock=clock)
        self.crash = crash
        self.has_crashed = asyncio.Event()
        self.commits: list[list[str]] = []
        """What each commit so far wrote: the names of its statements, and the paths of steps and waits."""
        self.under_way = 0
        """How many calls are on their way to the database."""
        self._is_cut = False
        self._end: asyncio.Future[None] | None = None

    async def open(self) -> None:
        await super().open()
        assert self._writer is not None
        assert self._reader is not None
        self._end = asyncio.get_running_loop().create_future()
        self._writer = _WatchedConnection(self, self._writer)
        self._reader = _WatchedConnection(self, self._reader)
        self._watch_sessions()

    async def close(self) -> None:
        self.cut()
        await super().close()

    def cut(self) -> None:
        """Nothing reaches the database any more; what waits for it fails, so that its coroutines can end."""
        self._is_cut = True
        self.has_crashed.set()
        if self._end is not None and not self._end.done():
            self._end.set_exception(OutcomeUnknown("the process has crashed"))
            self._end.exception()  # seen: perhaps nobody waits

    def is_gone(self) -> bool:
        """Whether the process counts as ended."""
        return self.has_crashed.is_set()

    def strikes(self, when: Literal["before", "after"], written: Sequence[str], *, number: int) -> bool:
        """Whether the process is to end at this point."""
        crash = self.crash
        return crash is not None and crash.when == when and (crash.at == number or crash.at in written)

    async def never(self) -> NoReturn:
        """Wait for an answer that does not come."""
        assert self._end is not None
        self.has_crashed.set()
        await asyncio.shield(self._end)
        raise AssertionError("the end is an error")

    def _watch_sessions(self) -> None:
        """Sessions of steps and rooms have connections of their own: their commits count, and can crash, as well."""
        from sqlalchemy import event
        from sqlalchemy.util import await_only

        written: dict[int, list[str]] = {}
        engine = self.sessions.engine.sync_engine

        def before_execute(connection: Any, _: Any, statement: str, parameters: Any, *__: Any) -> None:
            if self.is_gone():
                await_only(self.never())
            words = statement.split(None, 3)
            if words[0].upper() in {"INSERT", "UPDATE", "DELETE"}:
                names = written.setdefault(id(connection), [])
                names.append(statement.split("(", 1)[0].strip().lower())
                if names[-1] == "insert into toolkit_step":
                    path = parameters[1]
                    names.append(path[0] if isinstance(path, list) else path)

        def before_commit(connection: Any) -> None:
            names = written.pop(id(connection), [])
            if self.is_gone() or (names and self.strikes("before", names, number=len(self.commits) + 1)):
                await_only(self.never())
            if names:
                self.commits.append(names)
                if self.strikes("after", names, number=len(self.commits)):
                    self.has_crashed.set()  # this commit is let pass, and is the last thing that happens

        event.listen(engine, "before_cursor_execute", before_execute)
        event.listen(engine, "commit", before_commit)
        event.listen(engine, "rollback", lambda connection: written.pop(id(connection), None))


class _Crashed(BaseException):
    """Raised through a driver so that it rolls back; nobody else sees it."""


class _WatchedConnection:
    def __init__(self, database: CrashingDatabase, inner: Connection) -> None:
        self._database, self._inner = database, inner

    async def run(self, script: Script[T], *, in_own_task: bool = True) -> T:
        database = self._database
        if database.is_gone():
            script.close()
            await database.never()
        written: list[str] = []
        database.under_way += 1
        try:
            value = await self._inner.run(self._watched(script, written))
        except _Crashed:
            await database.never()
        finally:
            database.under_way -= 1
        if database.is_gone() or (written and database.strikes("after", written, number=len(database.commits))):
            await database.never()
        return value

    async def read(self, query: Query) -> Sequence[Row]:
        if self._database.is_gone():
            await self._database.never()
        self._database.under_way += 1
        try:
            rows = await self._inner.read(query)
        finally:
            self._database.under_way -= 1
        if self._database.is_gone():
            await self._database.never()
        return rows

    async def close(self) -> None:
        await self._inner.close()

    def _watched(self, script: Script[T], written: list[str]) -> Script[T]:
        """``script``, noting what it writes; at its end, still in the transaction, is the point before the commit."""
        try:
            request = next(script)
            while True:
                written += _written_by(request)
                if isinstance(request, Rows) and request.is_alone:
                    self._strike_before(written)
                request = script.send((yield request))
        except StopIteration as end:
            value: T = end.value
        finally:
            script.close()
        if written:
            self._strike_before(written)
            self._database.commits.append(written)
        return value

    def _strike_before(self, written: Sequence[str]) -> None:
        if self._database.strikes("before", written, number=len(self._database.commits) + 1):
            raise _Crashed


def _written_by(request: Request) -> list[str]:
    if isinstance(request, Together):
        return [written for part in request.requests for written in _written_by(part)]
    if not isinstance(request, Rows) or not request.rows or request.statement.name.startswith("find"):
        return []
    name = request.statement.name
    column = _PATHS.get(name)
    return [name] if column is None else [name, *(str(row[column]) for row in request.rows)]
