"""Processes of a test: an engine with time that skips what nobody waits through, and that may crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from toolkit.errors import SerializationError
from toolkit.storage import PayloadCodec, Query, Statement, both, read_moment
from toolkit.testing.clocks import VirtualClock
from toolkit.testing.crashes import Crash, CrashingDatabase
from toolkit.workflows import (
    Engine,
    EngineOptions,
    Replay,
    RunDetail,
    RunHandle,
    RunState,
    Runtime,
    Workflow,
    read_run,
    replay,
)

R = TypeVar("R")

# How far the clock is turned when the engine has something to do and waits for a look: a little first, then more.
_STEP_SECONDS, _LONGEST_STEP_SECONDS = 0.25, 10.0
_MOST_STEPS = 100_000  # then the engine is stuck, and the test should say so

_HAS_WORK = both(
    "has work",
    """SELECT 1 WHERE EXISTS (SELECT 1 FROM toolkit_event WHERE seq IS NULL) OR EXISTS (
           SELECT 1 FROM toolkit_run WHERE (state IN ('pending', 'suspended') AND due_at <= $1 AND paused_at IS NULL)
           OR state = 'running'
           OR (deadline_at <= $1 AND finished_at IS NULL AND cancel_requested_at IS NULL)) OR EXISTS (
           SELECT 1 FROM toolkit_wait AS w JOIN toolkit_event AS e
           ON e.key = w.event_key AND e.seq > w.after_seq AND e.wait_id IS NULL
           WHERE w.state = 'open' AND w.kind = 'wait' AND (e.run_id IS NULL OR e.run_id = w.run_id))""",
)
_NEXT_MOMENT = both(
    "next moment",
    """SELECT min(moment) FROM (
           SELECT min(due_at) AS moment FROM toolkit_run
           WHERE state IN ('pending', 'suspended') AND due_at > $1 AND paused_at IS NULL
           UNION ALL
           SELECT min(deadline_at) AS moment FROM toolkit_run
           WHERE deadline_at > $1 AND finished_at IS NULL AND cancel_requested_at IS NULL
           UNION ALL
           SELECT min(next_at) AS moment FROM toolkit_task WHERE next_at > $1) AS moments""",
)
# A paused schedule, and one whose code is elsewhere, waits for nothing that happens here.
_NEXT_SCHEDULED = Statement(
    "next scheduled",
    sqlite="""SELECT min(due_at) FROM toolkit_schedule
              WHERE name IN (SELECT value FROM json_each(?1)) AND paused_at IS NULL""",
    postgresql="SELECT min(due_at) FROM toolkit_schedule WHERE name = ANY($1::text[]) AND paused_at IS NULL",
)


class World:
    """What an engine takes from outside, in a test: a virtual clock, and tasks that can all be ended."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._tasks: set[asyncio.Task[Any]] = set()
        # Without threads of its own the engine's heart beats in virtual time.
        self.runtime = replace(Runtime(clock=clock), spawn=self._spawn, has_threads=False)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end(self, engine: Engine) -> None:
        """Cancel every task that was started here, and those that they start on their way out."""
        while self._tasks:
            await engine.settle()  # a commit is never cut short: it fails by itself, and tells those who wait for it
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=1.0)
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.exception()  # of a process that has ended; nobody is to hear of it


class Process:
    """An engine on a database, as a process of its own would have it; opened by :func:`running_process`.

    Time stands still while the test does something. It is turned by :meth:`result` and :meth:`finish`, from one moment
    at which something is due to the next, and by :meth:`advance`.
    """

    def __init__(self, engine: Engine, database: CrashingDatabase, world: World) -> None:
        self.engine = engine
        self.database = database
        self.clock = world.clock
        self.people: Callable[[Process], Awaitable[bool]] | None = None
        """Does what people do when every run waits; false if there was nothing to do, and time may pass."""
        self._world = world

    @property
    def has_crashed(self) -> asyncio.Event:
        """Set when the process has come to its :class:`Crash`."""
        return self.database.has_crashed

    # Runs ----------------------------------------------------------------------------------------------------------

    async def start(self, workflow: Workflow[..., R], /, *args: Any, **options: Any) -> RunHandle[R]:
        """Start a run; see :meth:`Engine.start`."""
        try:
            return await self.engine.start(workflow, *args, **options)
        except SerializationError as error:
            raise SerializationError(f"workflow {workflow.name!r}: {error}") from error

    async def result(self, run: RunHandle[R]) -> R:
        """The result of a run; time passes from one due moment to the next until it has ended.

        Raises:
            RunFailed: it failed or was cancelled.
            AssertionError: it is parked or paused, or waits for something that does not happen by itself.
        """
        await self.finish(run)
        return await run.result()

    async def finish(self, run: RunHandle[Any] | str) -> RunDetail:
        """The run when it has ended, however it has, or the last of those that went on in its place.

        Time passes as in :meth:`result`.

        Raises:
            AssertionError: as for :meth:`result`.
        """
        run_id = run if isinstance(run, str) else run.id
        while True:
            await self.settle()
            detail = await self.engine.get_run(run_id)
            if detail.continued_as is not None:
                run_id = detail.continued_as
                continue
            if detail.summary.state.is_final:
                return detail
            if detail.summary.state is RunState.PARKED:
                raise AssertionError(f"run {run_id} is parked: {detail.error}")
            if await self.act():
                continue
            moment = await self._next_moment()
            if moment is None and detail.summary.paused_at is not None:
                raise AssertionError(f"run {run_id} is paused, and goes on when it is resumed")
            if moment is None:
                waits = [f"{wait.kind} {wait.name!r}" for wait in detail.waits]
                raise AssertionError(
                    f"run {run_id} waits for {', '.join(waits) or 'nothing'} and no moment is due; emit the event or "
                    "answer the task first"
                )
            scheduled = await self._next_scheduled()  # what others do meanwhile happens on the way
            self.clock.turn_to(moment if scheduled is None else min(moment, scheduled))

    async def until_crashed(self, run: RunHandle[Any] | str) -> None:
        """Return when the process has come to its :class:`Crash`; time passes as in :meth:`result`.

        Raises:
            AssertionError: the run has ended without it, or as for :meth:`result`; says which commits there were.
        """
        finishing = asyncio.ensure_future(self.finish(run))
        crashing = asyncio.ensure_future(self.has_crashed.wait())
        await asyncio.wait([finishing, crashing], return_when=asyncio.FIRST_COMPLETED)
        crashing.cancel()
        if self.has_crashed.is_set():
            self.database.cut()
            finishing.cancel()
            await asyncio.wait([finishing])
            return
        finishing.result()
        commits = self.database.commits
        paths = dict.fromkeys(name for written in commits for name in written if "/" in name)
        raise AssertionError(
            f"the run ended and the process did not crash {self.database.crash}: it made {len(commits)} commits, with "
            f"the paths {', '.join(paths) or '(none)'}"
        )

    async def advance(self, by: timedelta | float) -> None:
        """Let time pass, stopping at each moment at which something is due until that has been done."""
        target = self.clock.now() + (by if isinstance(by, timedelta) else timedelta(seconds=by))
        await self.settle()
        while (moment := min(await self._moments(), default=target)) < target:
            self.clock.turn_to(moment)
            await self.settle()
        self.clock.turn_to(target)
        await self.settle()

    async def act(self) -> bool:
        """Do what people do, before time passes; false if there is nothing to do."""
        return self.people is not None and await self.people(self)

    async def settle(self) -> None:
        """Return when every run has ended or waits. Time passes only where a step pauses between two attempts."""
        step = _STEP_SECONDS
        for _ in range(_MOST_STEPS):
            await self._until_quiet()
            if self.engine.active_runs:
                step = _STEP_SECONDS
                moment = self.clock.next_step
                if moment is None:  # in the body of a step: a thread, a socket, a lock of the author's
                    await asyncio.sleep(0.001)
                else:
                    self.clock.turn_to(moment)
            elif await self.has_work():
                self.clock.turn(step)
                step = min(step * 1.5, _LONGEST_STEP_SECONDS)
            else:
                return
        raise AssertionError("the engine does not come to rest; is a run paused, or does a step never end?")

    async def has_work(self) -> bool:
        """Whether the engine has something to do that it has only not looked at yet."""
        scheduled = await self._next_scheduled()
        if scheduled is not None and scheduled <= self._now():
            return True
        return bool(await self.engine.read(Query(_HAS_WORK, [self._now()])))

    async def check_replay(self, run: RunHandle[Any]) -> Replay:
        """Replay a run that has ended, and those that went on in its place; returns what came of the last.

        Raises:
            AssertionError: it would go another way: something in the workflow's own code differs from call to call.
        """
        run_id: str | None = run.id
        while run_id is not None:
            recorded = await read_run(self.engine, run_id)
            found = await replay(recorded, run.workflow, engine=self.engine)
            if found.fault is not None:
                raise AssertionError(found.fault)
            run_id = (await self.engine.get_run(run_id)).continued_as
        return found

    # Ends ----------------------------------------------------------------------------------------------------------

    async def kill(self) -> None:
        """End as ``kill -9`` would: nothing is given back and nothing more is written."""
        self.database.has_crashed.set()
        for execution in (*self.engine.residents.running.values(), *self.engine.residents.warm.values()):
            execution.is_dead = True
        self.database.cut()
        await self._world.end(self.engine)
        await self.database.close()

    async def close(self) -> None:
        """End in good order; a process that has crashed is killed."""
        if self.database.is_gone():
            await self.kill()
        else:
            await self._pass_time_until(self.engine.close())
            await self._world.end(self.engine)
            await self.database.close()

    async def _pass_time_until(self, ending: Coroutine[Any, Any, None]) -> None:
        """An engine that closes waits a moment for its steps, by the clock."""
        task = asyncio.ensure_future(ending)
        while not task.done():
            self.clock.turn(_STEP_SECONDS)
            await asyncio.wait([task], timeout=0.001)
        task.result()

    # Time ----------------------------------------------------------------------------------------------------------

    def _now(self) -> Any:
        return self.clock.now()

    async def _next_moment(self) -> datetime | None:
        ((moment,),) = await self.engine.read(Query(_NEXT_MOMENT, [self._now()]))
        return read_moment(moment)

    async def _next_scheduled(self) -> datetime | None:
        names = self.engine.timetable.awaited
        if not names or not self.engine.options.is_worker:
            return None
        ((moment,),) = await self.engine.read(Query(_NEXT_SCHEDULED, [names]))
        return read_moment(moment)

    async def _moments(self) -> list[datetime]:
        """When something is due next: of the runs, and of the schedules."""
        found = (await self._next_moment(), await self._next_scheduled())
        return [moment for moment in found if moment is not None]

    async def _until_quiet(self) -> None:
        """Let everything happen that happens by itself: no call to the database is on its way or about to be."""
        still = 0
        while still < 5:
            if self.database.is_gone():
                await asyncio.Event().wait()  # whoever plays with this process is ended from outside
            await asyncio.sleep(0 if not self.database.under_way else 0.0002)
            still = 0 if self.database.under_way else still + 1


@asynccontextmanager
async def running_process(
    url: str,
    *workflows: Workflow[..., Any],
    clock: VirtualClock | None = None,
    crash: Crash | None = None,
    prepare: Callable[[Engine], None] | None = None,
    options: EngineOptions | None = None,
    payload_codec: PayloadCodec | None = None,
) -> AsyncIterator[Process]:
    """A process that works on the database ``url`` for the length of the block, or until it comes to ``crash``.

    ``prepare`` may give the engine resources before it opens. Two processes of one test share a ``clock``.
    """
    world = World(clock or VirtualClock())
    database = CrashingDatabase(url, clock=world.clock, crash=crash)
    if payload_codec is not None:
        database.use_codec(payload_codec)
    await database.open()
    engine = Engine(database, workflows=workflows, options=options, runtime=world.runtime)
    if prepare is not None:
        prepare(engine)
    process = Process(engine, database, world)
    try:
        await engine.open()
        yield process
    finally:
        await process.close()


async def crash_everywhere(
    play: Callable[[Process, str], Coroutine[Any, Any, R]],
    url: str,
    *workflows: Workflow[..., Any],
    clock: VirtualClock | None = None,
    prepare: Callable[[Engine], None] | None = None,
    every: int = 1,
    most: int = 500,
    payload_codec: PayloadCodec | None = None,
) -> dict[Crash, R]:
    """Play a scenario with a crash before, and again after, each commit that it makes; returns what each came to.

    ``play(process, key)`` starts what is to be played under the idempotency ``key`` and returns its outcome. It is
    called once more, on a second process, after the first has crashed: so it looks before it does something again. The
    last play of each series ends without a crash. With ``every=3`` only each third point is played.

    Raises:
        AssertionError: there are more than ``most`` points.
        ValueError: ``every`` or ``most`` is less than 1.
    """
    for name, number in (("every", every), ("most", most)):
        if number < 1:
            raise ValueError(f"{name} is {number}; expected 1 or more")
    world: dict[str, Any] = {"clock": clock or VirtualClock(), "prepare": prepare, "payload_codec": payload_codec}
    played: dict[Crash, R] = {}
    for when in ("before", "after"):
        for number in range(1, most + 1, every):
            crash = Crash(cast("Any", when), number)
            key = f"{crash} {len(played)}"
            outcome, has_crashed = await _play_once(play, url, workflows, crash=crash, key=key, **world)
            played[crash] = outcome
            if not has_crashed:
                break
        else:
            raise AssertionError(f"the scenario makes more than {most} commits; play a shorter one")
    return played


async def _play_once(
    play: Callable[[Process, str], Coroutine[Any, Any, R]],
    url: str,
    workflows: Sequence[Workflow[..., Any]],
    *,
    crash: Crash,
    key: str,
    **world: Any,
) -> tuple[R, bool]:
    async with running_process(url, *workflows, crash=crash, **world) as first:
        playing = asyncio.ensure_future(play(first, key))
        crashing = asyncio.ensure_future(first.has_crashed.wait())
        await asyncio.wait([playing, crashing], return_when=asyncio.FIRST_COMPLETED)
        crashing.cancel()
        if playing.done() and not first.database.is_gone():
            return playing.result(), False
        first.database.cut()
        playing.cancel()
        await asyncio.wait([playing])
        await first.kill()
    async with running_process(url, *workflows, **world) as second:
        return await play(second, key), True
