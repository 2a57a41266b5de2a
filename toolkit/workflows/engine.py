"""The engine: starts runs, finds those that are due, keeps them in memory while it pays, and gives them back."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from toolkit.errors import Conflict, DefinitionError, NotFound, RunFailed, RunStateError, StorageError
from toolkit.serialization import codec_for
from toolkit.storage import Database, GroupCommit, OutcomeUnknown, Query, Rows, Script, StorageUnavailable
from toolkit.workflows import statements as sql
from toolkit.workflows.batches import Closer, Worker, commit
from toolkit.workflows.current import using_engine
from toolkit.workflows.definitions import RunHandle, Workflow
from toolkit.workflows.executions import Execution
from toolkit.workflows.failures import revive_error
from toolkit.workflows.heart import Heart
from toolkit.workflows.liveness import Liveness
from toolkit.workflows.operations import (
    Cancelled,
    CancelRun,
    ClaimedRun,
    ClaimRuns,
    DeliverEvents,
    Effects,
    EmitEvent,
    ExpireWaits,
    Fate,
    NewEvent,
    NewRun,
    Operation,
    ParkUnknown,
    RecordStep,
    ReleaseRuns,
    Started,
    StartRun,
    StepRecord,
    Suspend,
    Suspended,
    TakeOver,
)
from toolkit.workflows.performance import perform
from toolkit.workflows.queries import RunDetail, RunSummary, find_run, list_runs, list_steps, run_states
from toolkit.workflows.rows import to_claimed, to_step, to_wait
from toolkit.workflows.runtime import Runtime
from toolkit.workflows.states import RunState

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How one process works; the defaults suit most.

    ``concurrency`` limits the runs that are active at once, ``warm_bytes`` the estimated memory of those that wait.
    ``poll_seconds`` is how often a worker looks without being told. ``max_losses`` counts losses in a row without a
    new checkpoint, ``max_total_losses`` all of a run.
    """

    lease_seconds: float = 30.0
    poll_seconds: float = 1.0
    concurrency: int = 1000
    warm_bytes: int = 24_000_000
    max_losses: int = 5
    max_total_losses: int = 50
    unknown_grace_seconds: float = 600.0
    drain_seconds: float = 2.0
    is_worker: bool = True


class Engine:
    """The durable engine of one process. Open it on the event loop that runs the workflows."""

    def __init__(
        self,
        database: Database,
        *,
        workflows: Sequence[Workflow[Any, Any]] = (),
        options: EngineOptions | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.database = database
        self.options = options or EngineOptions()
        self.runtime = runtime or Runtime(clock=database.clock)
        self.new_id = self.runtime.id_source()
        self.worker_id = self.new_id()
        self.resources: dict[type, object] = {}
        self.closers: dict[str, Closer] = {}
        self._workflows: dict[str, Workflow[Any, Any]] = {}
        self._running: dict[str, Execution] = {}
        self._warm: OrderedDict[str, Execution] = OrderedDict()
        self._warm_bytes = 0
        self._loading: dict[str, list[StepRecord]] = {}
        self._cancel_on_load: set[str] = set()
        self._watchers: dict[str, list[asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._poked = asyncio.Event()
        self._is_open = False
        self._is_draining = False
        self._last_tick = 0.0
        self._no_takeover_before = 0.0
        self._next_deadline: datetime | None = None
        self._missed_sweep_at = 0.0
        self._heart: Heart | None = None
        self._liveness: Liveness | None = None
        self._commits: GroupCommit[Operation] = GroupCommit(
            self._commit, clock=self.runtime.clock, spawn=self.runtime.spawn
        )
        for workflow in workflows:
            self.register(workflow)

    # What it knows ------------------------------------------------------------------------------------------------

    @property
    def workflows(self) -> Mapping[str, Workflow[Any, Any]]:
        """The workflows that this engine can run, by name."""
        return self._workflows

    def register(self, workflow: Workflow[Any, Any]) -> None:
        """Let this engine run ``workflow``.

        Raises:
            DefinitionError: another workflow has its name.
        """
        known = self._workflows.setdefault(workflow.name, workflow)
        if known is not workflow:
            raise DefinitionError(
                f"two workflows are called {workflow.name!r}: {_place(known)} and {_place(workflow)}; give one a name= "
                "of its own"
            )

    def require(self, workflow: Workflow[Any, Any]) -> None:
        """Refuse a workflow that this engine does not know; its runs would wait for ever."""
        if self._workflows.get(workflow.name) is not workflow:
            raise NotFound("registered workflow", workflow.name, known=list(self._workflows))

    @property
    def is_healthy(self) -> bool:
        """Whether the database answers and the event loop is served."""
        return self._is_open and self._commits.unavailable_since is None

    @property
    def active_runs(self) -> int:
        """How many runs this process advances now."""
        return len(self._running) + len(self._loading)

    @property
    def warm_runs(self) -> int:
        """How many waiting runs this process keeps in memory."""
        return len(self._warm)

    # Opening and closing -----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin to look for runs that are due. The database must be open."""
        self._is_open, self._is_draining = True, False
        self.database.on_foreign_commit = self.poke
        if self.options.is_worker:
            if self.database.dialect == "sqlite" and self.runtime.has_threads:
                self._liveness = Liveness(self.database.path, worker_id=self.worker_id)
                self._liveness.hold()
            await self._start_heart()
            self._spawn(self._work())
        self._spawn(self._watch())

    async def close(self) -> None:
        """Stop within ``drain_seconds``: running steps may end, everything else is given back at once."""
        self._is_draining = True
        deadline = self.runtime.clock.monotonic() + self.options.drain_seconds
        while any(e.in_flight for e in self._running.values()) and self.runtime.clock.monotonic() < deadline:
            await self.runtime.clock.sleep(0.01)
        self._is_open = False
        self.poke()
        owned = [(execution.run.id, execution.epoch) for execution in self._running.values()]
        for execution in [*self._running.values(), *self._warm.values()]:
            await execution.evict()
        self._running.clear()
        self._warm.clear()
        self._warm_bytes = 0
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if owned:
            with suppress(StorageError):
                await self.submit(ReleaseRuns(owned))
        await self._commits.settle()
        if self._heart is not None:
            await self._heart.stop()
            with suppress(StorageError):
                await self.database.writer.run(_forget(self.worker_id))
        if self._liveness is not None:
            self._liveness.release()

    async def _start_heart(self) -> None:
        self._last_tick = self.runtime.clock.monotonic()
        interval = self.options.lease_seconds / 3
        self._heart = Heart(
            self.database,
            worker_id=self.worker_id,
            interval=interval,
            is_ticking=lambda: self.runtime.clock.monotonic() - self._last_tick < self.options.lease_seconds / 2,
            on_lapse=self._note_beat,
        )
        await self._heart.start()

    def _note_beat(self, age: float) -> None:
        """A worker that was away itself (sleep, outage) must not think that everybody else was."""
        if age > self.options.lease_seconds:
            self._no_takeover_before = self.runtime.clock.monotonic() + self.options.lease_seconds

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = self.runtime.spawn(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget_task)
        return task

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("A task of the engine failed", exc_info=task.exception(), extra={"event": "engine.failed"})

    # Starting, emitting, cancelling ------------------------------------------------------------------------------

    async def start(
        self,
        workflow: Workflow[P, R],
        *args: Any,
        idempotency_key: str | None = None,
        started_by: str | None = None,
        priority: int = 0,
        **kwargs: Any,
    ) -> RunHandle[R]:
        """Start a run; when this returns, it is durable.

        With an ``idempotency_key`` the same run comes back however often it is started.

        Raises:
            Conflict: the key started a run with other arguments.
            NotFound: the workflow is not registered here.
        """
        arguments = workflow.signature.bind(args, kwargs)
        return await self._start(
            workflow, arguments, idempotency_key=idempotency_key, started_by=started_by, priority=priority
        )

    async def start_json(
        self,
        name: str,
        input: Mapping[str, Any] | str | bytes,
        *,
        idempotency_key: str | None = None,
        started_by: str | None = None,
    ) -> RunHandle[Any]:
        """Like :meth:`start`, by the workflow's name and with its arguments as a JSON object.

        Raises:
            InvalidInput: the arguments do not fit; one entry a field.
            NotFound, Conflict: as for :meth:`start`.
        """
        workflow = self._workflows.get(name)
        if workflow is None:
            raise NotFound("workflow", name, known=list(self._workflows))
        arguments = workflow.signature.parse(input)
        return await self._start(workflow, arguments, idempotency_key=idempotency_key, started_by=started_by)

    async def _start(self, workflow: Workflow[Any, R], arguments: dict[str, Any], **more: Any) -> RunHandle[R]:
        self.require(workflow)
        run = workflow.new_run(self, arguments, **more)
        started: Started = await self._submit_durably(StartRun(run))
        if not started.is_new and started.input_digest != run.input_digest:
            raise Conflict(
                f"the idempotency key {run.idempotency_key!r} has started run {started.run_id} of "
                f"{workflow.name!r} with other arguments; use another key, or the same arguments",
                run_id=started.run_id,
                idempotency_key=run.idempotency_key,
            )
        return RunHandle(self, started.run_id, workflow, is_new=started.is_new)

    async def emit_event(self, key: str, payload: Any = None, *, run_id: str | None = None) -> None:
        """Emit event ``key`` to every run that waits for it now or later, or to ``run_id`` alone.

        When this returns, the event is durable.
        """
        text = codec_for(Any).encode(payload)
        await self._submit_durably(EmitEvent(NewEvent(self.new_id(), key, text, run_id)))

    async def cancel(self, run_id: str, *, reason: str | None = None, by: str | None = None) -> RunState:
        """Cancel a run and the children that it waits for; returns the state it has now.

        A run that a worker advances is ``running`` until its code has unwound.

        Raises:
            NotFound: there is no such run.
            RunStateError: it has ended already.
        """
        outcome: Cancelled = await self._submit_durably(CancelRun(run_id, reason, by))
        if outcome.state is None:
            raise NotFound("run", run_id)
        if outcome.was_final:
            raise RunStateError(run_id, state=outcome.state, wanted=RunState.CANCELLED)
        return outcome.state

    async def _submit_durably(self, operation: Operation) -> Any:
        future = self.submit(operation)
        try:
            return await asyncio.shield(future)
        except OutcomeUnknown as error:
            raise StorageError(
                "the database connection broke during the commit: it is unknown whether this was kept; look, or try "
                "again with the same idempotency key"
            ) from error

    # Looking ------------------------------------------------------------------------------------------------------

    async def list_runs(
        self, *, workflow: str | None = None, state: RunState | None = None, after: str | None = None, limit: int = 50
    ) -> list[RunSummary]:
        """Runs without their payloads, newest first; ``after`` is the id of the last one of the page before."""
        return await list_runs(self.database.reader, workflow=workflow, state=state, after=after, limit=limit)

    async def get_run(self, run_id: str) -> RunDetail:
        """One run with its payloads.

        Raises:
            NotFound: there is no such run.
        """
        return await find_run(self.database.reader, run_id)

    async def list_steps(self, run_id: str) -> list[StepRecord]:
        """The journal of a run, in the order in which its steps began.

        Raises:
            NotFound: there is no such run.
        """
        await find_run(self.database.reader, run_id)
        return await list_steps(self.database.reader, run_id)

    async def wait_for_completion(self, run_id: str) -> str:
        """The JSON text of the run's result, once it has ended.

        Raises:
            NotFound: there is no such run.
            RunFailed: it failed or was cancelled.
        """
        while True:
            watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.setdefault(run_id, []).append(watcher)
            try:
                found = (await run_states(self.database.reader, [run_id])).get(run_id)
                if found is None:
                    raise NotFound("run", run_id)
                state, result, error = found
                if state is RunState.SUCCEEDED:
                    return result or "null"
                if state.is_final:
                    cause = revive_error(error) if error else None
                    raise RunFailed(
                        run_id,
                        state=state,
                        error_type=type(cause).__qualname__ if cause else "",
                        error_message=str(cause) if cause else "",
                    ) from cause
                await watcher
            finally:
                watchers = self._watchers.get(run_id, [])
                if watcher in watchers:
                    watchers.remove(watcher)
                if not watchers:
                    self._watchers.pop(run_id, None)

    # Commits and their effects -----------------------------------------------------------------------------------

    def submit(self, operation: Operation, *, then: Callable[[Any], None] | None = None) -> asyncio.Future[Any]:
        """Commit ``operation`` with the next group."""
        return self._commits.submit(operation, then=then)

    async def _commit(self, operations: Sequence[Operation]) -> Sequence[Any]:
        # A run that has something to do again since it asked to be suspended is not suspended.
        stale = {at for at, o in enumerate(operations) if isinstance(o, Suspend) and not self._is_idle(o)}
        current = [operation for at, operation in enumerate(operations) if at not in stale]
        outcomes = iter(await self._commit_current(current)) if current else iter(())
        return [Suspended(Fate.KEPT) if at in stale else next(outcomes) for at in range(len(operations))]

    def _is_idle(self, operation: Suspend) -> bool:
        execution = self._running.get(operation.run_id)
        return execution is None or execution.active == 0

    async def _commit_current(self, operations: Sequence[Operation]) -> Sequence[Any]:
        room = self.options.concurrency - self.active_runs
        is_taking = self._is_open and not self._is_draining and self.options.is_worker
        worker = Worker(self.worker_id, room if is_taking else 0, self.closers, self.new_id)
        own_now = self.runtime.clock.now() if self.database.is_own_time else None
        script = commit(operations, worker=worker, own_now=own_now)
        if self.database.dialect == "sqlite":
            async with self.database.ticket:
                outcomes, effects = await self.database.writer.run(script)
        else:
            outcomes, effects = await self.database.writer.run(script)
        self._apply(effects)
        return outcomes

    def _apply(self, effects: Effects) -> None:
        for run_id, prior_epoch, epoch in effects.woken:
            self._resume_woken(run_id, prior_epoch=prior_epoch, epoch=epoch)
        cold = list(effects.started)
        warm: list[Execution] = []
        for run in effects.claimed:
            execution = self._take_warm(run.id)
            if execution is not None and execution.epoch == run.prior_epoch and run.prior_state is RunState.SUSPENDED:
                self._go_on(execution, run.epoch)
                warm.append(execution)
            else:
                if execution is not None:
                    self._spawn(execution.evict())
                self._loading[run.id] = []
        self._begin_all(cold)
        load = [run for run in effects.claimed if run.id in self._loading]
        if load:
            self._spawn(self._load(load))
        if warm:
            self.read_deliveries(warm)
        for record in effects.delivered:
            self._deliver(record)
        for run_id in effects.cancel_requested:
            self._request_cancel(run_id)
        for run_id, _ in effects.ended:
            self._notify_watchers(run_id)
            execution = self._take_warm(run_id)
            if execution is not None:
                self._spawn(execution.evict())
        if effects.unmatched:
            self.submit(DeliverEvents(sorted(effects.unmatched)))
        if effects.has_due_runs:
            self.poke()

    def _deliver(self, record: StepRecord) -> None:
        if record.run_id in self._loading:
            self._loading[record.run_id].append(record)
        elif (execution := self._running.get(record.run_id)) is not None:
            execution.deliver(record)

    def _request_cancel(self, run_id: str) -> None:
        if run_id in self._loading:
            self._cancel_on_load.add(run_id)
        elif (execution := self._running.get(run_id)) is not None:
            execution.request_cancel()

    def _notify_watchers(self, run_id: str) -> None:
        for watcher in self._watchers.get(run_id, ()):
            if not watcher.done():
                watcher.set_result(None)

    # Runs in memory ----------------------------------------------------------------------------------------------

    def _begin_all(self, runs: Sequence[ClaimedRun]) -> None:
        for run in runs:
            self._begin(Execution(self, run, self._workflows[run.workflow]))

    def _begin(self, execution: Execution) -> None:
        self._running[execution.run.id] = execution
        execution.task = self.runtime.spawn(perform(execution))

    def _go_on(self, execution: Execution, epoch: int) -> None:
        execution.epoch = epoch
        self._running[execution.run.id] = execution

    def _resume_woken(self, run_id: str, *, prior_epoch: int, epoch: int) -> None:
        execution = self._take_warm(run_id)
        if execution is not None and execution.epoch == prior_epoch:
            self._go_on(execution, epoch)
            return
        if execution is not None:
            self._spawn(execution.evict())
        self._loading[run_id] = []
        self._spawn(self._load_woken(run_id, epoch))

    async def _load_woken(self, run_id: str, epoch: int) -> None:
        rows = await self._read(Query(sql.CLAIMED_RUNS, [[run_id]]))
        runs = [run for run in map(to_claimed, rows) if run.epoch - 1 == epoch]
        if runs:
            await self._load([_at_epoch(run, epoch) for run in runs])
        else:
            self._loading.pop(run_id, None)

    async def _load(self, runs: Sequence[ClaimedRun]) -> None:
        """Rebuild claimed runs from their journals."""
        ids = [run.id for run in runs]
        steps: dict[str, list[StepRecord]] = {id_: [] for id_ in ids}
        for row in await self._read(Query(sql.STEPS_OF_RUNS, [ids])):
            steps[row[0]].append(to_step(row))
        waits: dict[str, list[Any]] = {id_: [] for id_ in ids}
        for row in await self._read(Query(sql.OPEN_WAITS_OF_RUNS, [ids])):
            waits[row[1]].append(to_wait(row))
        for run in runs:
            delivered = self._loading.pop(run.id, None)
            if delivered is None or not self._is_open:
                continue
            execution = Execution(self, run, self._workflows[run.workflow], steps=steps[run.id], waits=waits[run.id])
            for record in delivered:
                execution.deliver(record)
            if run.id in self._cancel_on_load:
                self._cancel_on_load.discard(run.id)
                execution.is_cancel_requested = True
            self._begin(execution)

    async def _read(self, query: Query) -> Sequence[Any]:
        pause = 0.05
        while True:
            try:
                return await self.database.reader.read(query)
            except StorageUnavailable:
                await self.runtime.clock.sleep(pause)
                pause = min(pause * 2, 5.0)

    def read_deliveries(self, executions: Sequence[Execution]) -> None:
        """Look into the journal for what other processes delivered to runs that are ours."""
        self._spawn(self._read_deliveries(list(executions)))

    async def _read_deliveries(self, executions: Sequence[Execution]) -> None:
        wanted = [(e.run.id, path) for e in executions for path in e.waits]
        found: list[Any] = []
        if wanted and self.database.dialect == "sqlite":
            for run_id, path in wanted:
                found += await self._read(Query(sql.STEPS_AT, [run_id, path]))
        elif wanted:
            found += await self._read(Query(sql.STEPS_AT, [[w[0] for w in wanted], [w[1] for w in wanted]]))
        for row in found:
            self._deliver(to_step(row))
        for execution in executions:
            if execution.active == 0 and not execution.is_dead and execution.run.id in self._running:
                execution.suspend()

    def keep_warm(self, execution: Execution) -> None:
        """A run is suspended: keep its coroutine while there is room."""
        run_id = execution.run.id
        if self._running.get(run_id) is not execution:
            return
        del self._running[run_id]
        self._warm[run_id] = execution
        self._warm_bytes += execution.cost_bytes
        while self._warm_bytes > self.options.warm_bytes and self._warm:
            _, coldest = self._warm.popitem(last=False)
            self._warm_bytes -= coldest.cost_bytes
            self._spawn(coldest.evict())
        if self.active_runs < self.options.concurrency and self.active_runs + 1 >= self.options.concurrency:
            self.poke()

    def _take_warm(self, run_id: str) -> Execution | None:
        execution = self._warm.pop(run_id, None)
        if execution is not None:
            self._warm_bytes -= execution.cost_bytes
        return execution

    def abandon(self, execution: Execution) -> None:
        """This process has lost the run: let its copy end without a trace."""
        if not execution.is_dead:
            execution.is_dead = True
            self.dismiss(execution)
            self._spawn(execution.evict())

    def dismiss(self, execution: Execution) -> None:
        """The run's code has ended here, or counts no more."""
        run_id = execution.run.id
        if self._running.get(run_id) is execution:
            was_full = self.active_runs >= self.options.concurrency
            del self._running[run_id]
            if was_full:
                self.poke()
        if self._warm.get(run_id) is execution:
            self._take_warm(run_id)

    def note_deadline(self, execution: Execution, deadline_at: datetime | None) -> None:
        """See that the worker looks when this limit passes."""
        if deadline_at is not None and (self._next_deadline is None or deadline_at < self._next_deadline):
            self._next_deadline = deadline_at
            self.poke()

    # The worker ---------------------------------------------------------------------------------------------------

    def poke(self) -> None:
        """Something may be due: look now instead of at the next turn."""
        self._poked.set()

    async def _work(self) -> None:
        """Look for what is due, again and again."""
        clock = self.runtime.clock
        next_sweep = clock.monotonic()
        while self._is_open:
            self._last_tick = clock.monotonic()
            self._poked.clear()
            if not self._is_draining:
                if clock.monotonic() >= next_sweep:
                    await self._sweep()
                    next_sweep = clock.monotonic() + self.options.lease_seconds / 3
                self._expire_running()
                await self._claim()
            await self._sleep_until_poked()

    async def _sleep_until_poked(self) -> None:
        pause = self.options.poll_seconds
        if self._next_deadline is not None:
            pause = min(pause, max((self._next_deadline - self.runtime.clock.now()).total_seconds(), 0.001))
        sleeper = self.runtime.spawn(self.runtime.clock.sleep(pause))
        poked = self.runtime.spawn(self._poked.wait())
        try:
            await asyncio.wait([sleeper, poked], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            poked.cancel()

    async def _claim(self) -> None:
        names = list(self._workflows)
        while self._is_open and not self._is_draining:
            room = self.options.concurrency - self.active_runs
            if room <= 0:
                return
            limit = min(room, 500)
            taken = await self._try(ClaimRuns(limit, names))
            if not taken:
                break
            if taken < limit:
                break
        if not self.active_runs and self._is_open:
            await self._try(ClaimRuns(1, names, is_isolated=True))
        rows = await self._read(Query(sql.NEXT_DUE, [self.runtime.clock.now() if self.database.is_own_time else None]))
        self._note_next_due(rows[0][0])

    def _note_next_due(self, value: Any) -> None:
        from toolkit.storage import read_moment

        deadlines = [e.next_deadline for e in self._running.values()]
        deadlines.append(read_moment(value))
        self._next_deadline = min((d for d in deadlines if d is not None), default=None)

    def _expire_running(self) -> None:
        now = self.runtime.clock.now()
        for execution in self._running.values():
            deadline = execution.next_deadline
            if deadline is not None and deadline <= now and not execution.is_dead:
                self.submit(ExpireWaits(execution.run.id, execution.epoch))

    async def _try(self, operation: Operation) -> Any:
        try:
            return await asyncio.shield(self.submit(operation))
        except OutcomeUnknown:
            return None  # the sweep finds what it left

    async def _sweep(self) -> None:
        """Make good what events and notifications may have missed, and take over from the dead."""
        clock = self.runtime.clock
        if clock.monotonic() >= self._no_takeover_before:
            await self._try(
                TakeOver(
                    await self._dead_workers(),
                    self.options.lease_seconds,
                    self.options.max_losses,
                    self.options.max_total_losses,
                )
            )
        await self._release_strays()
        await self._try(ParkUnknown(list(self._workflows), self.options.unknown_grace_seconds))
        keys = [key for (key,) in await self._read(Query(sql.MISSED_KEYS))]
        await self._try(DeliverEvents(keys))
        silent = clock.now() - timedelta(days=1)
        await self.database.writer.run(_forget_silent(silent))

    async def _dead_workers(self) -> list[str]:
        if self._liveness is None:
            return []
        workers = [worker for (worker,) in await self._read(Query(sql.WORKERS))]
        return [worker for worker in workers if self._liveness.is_dead(worker)]

    async def _release_strays(self) -> None:
        """Runs that are ours on record but not in memory: a commit with an unknown outcome left them."""
        if self._commits.unavailable_since is not None:
            return
        rows = await self._read(Query(sql.RUNS_OF_WORKER, [self.worker_id]))
        strays = [(run_id, epoch) for run_id, epoch in rows if run_id not in self._running and run_id not in self._loading]
        await self.runtime.clock.sleep(0)
        strays = [s for s in strays if s[0] not in self._running and s[0] not in self._loading]
        if strays:
            await self._try(ReleaseRuns(strays))

    async def _watch(self) -> None:
        """Hear other processes, and look from time to time whatever was heard."""
        listener = self.database.listener(self.poke)
        try:
            while self._is_open:
                if listener is not None:
                    try:
                        await listener.listen()
                    except StorageError as error:
                        logger.warning(
                            "Notifications cannot be heard; looking from time to time instead",
                            extra={"event": "worker.deaf", "reason": str(error)},
                        )
                await self.runtime.clock.sleep(min(self.options.poll_seconds, 0.5))
                await self._look_at_watched()
                await self._look_at_own()
                self._show_long_steps()
        finally:
            if listener is not None:
                await listener.close()

    async def _look_at_watched(self) -> None:
        if not self._watchers:
            return
        for run_id, (state, _, _) in (await run_states(self.database.reader, list(self._watchers))).items():
            if state.is_final:
                self._notify_watchers(run_id)

    async def _look_at_own(self) -> None:
        """What other processes did to runs that are ours: deliveries and cancels."""
        if not self._running:
            return
        rows = await self._read(Query(sql.TOUCHED_RUNS, [self.worker_id]))
        for run_id, is_cancelled in rows:
            execution = self._running.get(run_id)
            if execution is None:
                continue
            if is_cancelled and not execution.is_cancel_requested:
                execution.request_cancel()
            elif execution.waits:
                self.read_deliveries([execution])

    def _show_long_steps(self) -> None:
        before = self.runtime.clock.now() - timedelta(seconds=1)
        for execution in self._running.values():
            for step in execution.long_steps(began_before=before):
                execution.shown.add(step.path)
                self.submit(RecordStep(execution.run.id, execution.epoch, step))

    def within(self) -> Any:
        """A context manager that makes this engine the caller's."""
        return using_engine(self)


def _place(workflow: Workflow[Any, Any]) -> str:
    code = workflow.function.__code__  # type: ignore[attr-defined]
    return f"{code.co_filename}:{code.co_firstlineno}"


def _at_epoch(run: ClaimedRun, epoch: int) -> ClaimedRun:
    from dataclasses import replace

    return replace(run, epoch=epoch, prior_epoch=epoch - 1)


def _forget(worker_id: str) -> Script[None]:
    yield Query(sql.FORGET_WORKER, [worker_id])


def _forget_silent(before: datetime) -> Script[None]:
    yield Query(sql.FORGET_SILENT, [before])


__all__ = ["Engine", "EngineOptions", "NewRun", "Rows"]
