"""The engine of one process: the door through which runs are started, told things, cancelled and looked at."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from toolkit.errors import Conflict, NotFound, RunFailed, RunStateError, StorageError
from toolkit.serialization import check_keys
from toolkit.storage import Database, OutcomeUnknown, Query, Row, Script, StorageUnavailable, readable
from toolkit.workflows import statements as sql
from toolkit.workflows.attributes import Attribute
from toolkit.workflows.batches import Closer
from toolkit.workflows.commits import Commits
from toolkit.workflows.completions import Completions
from toolkit.workflows.control import RunControl
from toolkit.workflows.current import using_engine
from toolkit.workflows.definitions import RunHandle, Workflow
from toolkit.workflows.failures import message_of, revive_error
from toolkit.workflows.keys import check_event_key
from toolkit.workflows.large_values import LargeValues
from toolkit.workflows.operations import (
    CancelRun,
    EmitEvent,
    NewEvent,
    NoteProgress,
    Operation,
    ReleaseRuns,
    StartRun,
    StepRecord,
)
from toolkit.workflows.options import EngineOptions
from toolkit.workflows.orchestrator import Orchestrator
from toolkit.workflows.outcomes import Cancelled, Emitted, Started
from toolkit.workflows.queries import (
    RunDetail,
    RunSummary,
    count_runs,
    find_run,
    list_runs,
    list_steps,
    run_states,
)
from toolkit.workflows.registry import Registry
from toolkit.workflows.residents import Residents
from toolkit.workflows.runtime import Runtime
from toolkit.workflows.schedule_control import ScheduleControl
from toolkit.workflows.schedules import Schedule
from toolkit.workflows.searches import RunFilter
from toolkit.workflows.signatures import UNSAID
from toolkit.workflows.states import RunState
from toolkit.workflows.timetables import Timetable
from toolkit.workflows.waits import encode_payload

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_GIVE_BACK_SECONDS = 1.0


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
        """``resources`` and ``closers`` are for who puts an installation together: what ``resource(...)`` finds, and
        how each kind of step ends its waits in tables of its own.
        """
        self.database = database
        self.options = options or EngineOptions()
        self.runtime = runtime or Runtime(clock=database.clock)
        self.new_id = self.runtime.id_source()
        self.worker_id = self.new_id()
        self.resources: dict[type, object] = {}
        self.closers: dict[str, Closer] = {}
        self.large_values: LargeValues | None = None
        self.registry = Registry()
        self.completions = Completions(database)
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in the order of their start: a history plays the same again
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.context = contextvars.Context()  # what runs inherit: that of whoever opened the engine
        self.residents = Residents(self)
        self.control = RunControl(self)
        self.timetable = Timetable(self)
        self.schedules = ScheduleControl(self)
        self._orchestrator = Orchestrator(self)
        self._commits = Commits(self)
        for workflow in workflows:
            self.register(workflow)

    # What it knows -------------------------------------------------------------------------------------------------

    @property
    def workflows(self) -> Mapping[str, Workflow[Any, Any]]:
        """The workflows that this engine can start, by name: of several versions the one that was registered first."""
        return self.registry.workflows

    def register(self, workflow: Workflow[Any, Any]) -> None:
        """Let this engine run ``workflow``.

        Raises:
            DefinitionError: another workflow has its name.
        """
        self.registry.add(workflow)

    def require(self, workflow: Workflow[Any, Any]) -> None:
        """Refuse a workflow that is not registered here; its runs would wait for ever.

        Raises:
            NotFound: it is not.
        """
        self.registry.require(workflow)

    def register_schedule(self, schedule: Schedule) -> None:
        """Have this engine start runs by ``schedule``, and let it run the workflow.

        Raises:
            DefinitionError: another schedule or workflow has its name, or its arguments do not fit.
        """
        self.timetable.add(schedule)
        self.register(schedule.workflow)
        self.poke()

    @property
    def is_open(self) -> bool:
        """Whether it takes and advances runs."""
        return self._is_open

    @property
    def is_healthy(self) -> bool:
        """Whether it is open, has taken up what was left by the dead, and the database answers."""
        is_served = self._commits.unavailable_since is None
        return self._is_open and self._orchestrator.has_recovered and is_served

    @property
    def active_runs(self) -> int:
        """How many runs this process advances now."""
        return self.residents.active_count

    @property
    def warm_runs(self) -> int:
        """How many waiting runs this process keeps in memory."""
        return len(self.residents.warm)

    # Opening and closing -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin to look for runs that are due. The database must be open."""
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self.context = contextvars.copy_context()
        self.database.on_foreign_commit = self.poke
        await self._orchestrator.open()

    async def close(self) -> None:
        """Stop: steps under way may end within ``drain_seconds``, everything else is given back at once.

        What is given up has as long again to unwind. Nothing is waited for beyond that, neither code that does not
        unwind nor a database that is away.
        """
        self._is_open = False
        self.poke()
        deadline = self.runtime.clock.monotonic() + self.options.drain_seconds
        while self._has_steps_under_way() and self.runtime.clock.monotonic() < deadline:
            await self.runtime.clock.sleep(0.01)
        owned = self.residents.owned()
        await self.residents.evict_all()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))
        if self.options.is_worker:
            await self._give_back(owned)
        await self._orchestrator.close()

    def _has_steps_under_way(self) -> bool:
        return any(execution.in_flight for execution in self.residents.running.values())

    async def _give_back(self, owned: Sequence[tuple[str, int]]) -> None:
        """Release our runs, unless the database is away; then their lease runs out."""
        released = self.submit(ReleaseRuns(owned))
        await asyncio.wait([released], timeout=_GIVE_BACK_SECONDS)
        if not released.done() or released.exception() is not None:
            logger.warning(
                "Runs could not be given back; others take them when the lease has run out",
                extra={"event": "worker.not_released", "runs": len(owned)},
            )

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task of the engine's own; a failure of it is logged, never lost."""
        task = self.runtime.spawn(work)
        self._tasks[task] = None
        task.add_done_callback(self._forget_task)
        return task

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            logger.error("A task of the engine failed", exc_info=task.exception(), extra={"event": "engine.failed"})

    def poke(self) -> None:
        """Something may be due: look now instead of at the next turn."""
        self._orchestrator.poke()

    def announce(self) -> None:
        """A caller's transaction has left something for the workers: look now, and let others look."""
        self.poke()
        if self.database.dialect == "postgresql" and not self.options.is_worker and self._is_open:
            self.spawn(self._notify())

    async def _notify(self) -> None:
        try:
            await self.run_script(_notification())
        except StorageError as error:
            logger.info(
                "Workers could not be told of new runs; they look by themselves",
                extra={"event": "engine.not_told", "reason": str(error)},
            )

    def call_in_loop(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the engine's event loop: at once from there, soon from a thread of a plain step."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(callback)
        else:
            callback()

    def note_progress(self, note: NoteProgress) -> None:
        """Put on record how far a run has come, with the next commit; only the last word counts."""
        self.call_in_loop(lambda: self._commits.submit_note(note))

    def note_deadline(self, deadline_at: datetime | None) -> None:
        """See that somebody looks when this limit of a wait passes."""
        self._orchestrator.note_deadline(deadline_at)

    @property
    def is_leased(self) -> bool:
        """Whether this is a worker whose runs are certainly its own: nobody can have taken them over."""
        return self.options.is_worker and self._orchestrator.is_leased

    @property
    def is_taking_runs(self) -> bool:
        """Whether a batch may take runs for this worker."""
        return self._is_open and self.is_leased and not self._orchestrator.is_isolating

    def within(self) -> AbstractContextManager[Engine]:
        """Make this engine the caller's for the length of a block."""
        return using_engine(self)

    # Starting, emitting, cancelling ------------------------------------------------------------------------------

    async def start(
        self,
        workflow: Workflow[P, R],
        /,
        *args: Any,
        idempotency_key: str | None = UNSAID,
        started_by: str | None = UNSAID,
        priority: int = UNSAID,
        **kwargs: Any,
    ) -> RunHandle[R]:
        """Start a run; when this returns, it is durable.

        With an ``idempotency_key`` the same run comes back however often it is started. Where the workflow itself has a
        parameter of that name, or ``started_by`` or ``priority``, it is an argument; use ``with_options`` then.

        Raises:
            Conflict: the key started a run with other arguments.
            InvalidInput: the key holds characters that no database keeps.
            NotFound: the workflow is not registered here.
        """
        arguments, options = workflow.signature.bind_beside(
            args, kwargs, idempotency_key=idempotency_key, started_by=started_by, priority=priority
        )
        return await self.start_bound(workflow, arguments, **options)

    async def start_json(
        self,
        name: str,
        input: Mapping[str, Any] | str | bytes,
        *,
        idempotency_key: str | None = None,
        started_by: str | None = None,
        tags: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
    ) -> RunHandle[Any]:
        """Like :meth:`start`, by the workflow's name and with its arguments as a JSON object.

        ``tags`` and ``attributes`` are what the run is found by.

        Raises:
            InvalidInput: the arguments do not fit; one entry a field.
            NotFound, Conflict: as for :meth:`start`.
        """
        workflow = self.workflows.get(name)
        if workflow is None:
            raise NotFound("workflow", name, known=list(self.workflows))
        arguments = workflow.signature.parse(input)
        return await self.start_bound(
            workflow,
            arguments,
            idempotency_key=idempotency_key,
            started_by=started_by,
            tags=tags,
            attributes=attributes,
        )

    async def start_bound(self, workflow: Workflow[Any, R], arguments: dict[str, Any], **more: Any) -> RunHandle[R]:
        """Like :meth:`start`, with the arguments bound to their names."""
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

    async def emit_event(
        self,
        key: str,
        payload: Any = None,
        *,
        run_id: str | None = None,
        payload_json: str | None = None,
        idempotency_key: str | None = None,
    ) -> bool:
        """Emit event ``key`` to every run that waits for it now or later, or to ``run_id`` alone.

        ``payload_json`` is the payload as JSON text, for a caller that has it so. When
        this returns, the event is durable. With an ``idempotency_key`` it is emitted once, however often it is asked
        for; returns whether it was this time.

        Raises:
            Conflict: the idempotency key has emitted this event with another payload.
            InvalidInput: a key is one of the toolkit's own, or holds characters that no database keeps.
            SerializationError: the payload is not plain JSON.
        """
        check_event_key(key)
        check_keys(key=key, idempotency_key=idempotency_key, run_id=run_id)
        text = payload_json if payload_json is not None else encode_payload(payload)
        event = NewEvent(self.new_id(), key, text, run_id, idempotency_key)
        emitted: Emitted = await self._submit_durably(EmitEvent(event))
        if not emitted.is_same:
            raise Conflict(
                f"the idempotency key {idempotency_key!r} has emitted event {key!r} with another payload; use another "
                "key, or the same payload",
                idempotency_key=idempotency_key,
            )
        return emitted.is_new

    async def cancel(self, run_id: str, *, reason: str | None = None, by: str | None = None) -> RunState:
        """Cancel a run and the children that it waits for; returns the state it has now.

        A run that a worker advances is ``running`` until its code has unwound.

        Raises:
            NotFound: there is no such run.
            RunStateError: it has ended already.
        """
        outcome: Cancelled = await self._submit_durably(CancelRun(run_id, reason, by))
        while outcome.continued_as is not None:
            outcome = await self._submit_durably(CancelRun(outcome.continued_as, reason, by))
        if outcome.state is None:
            raise NotFound("run", run_id)
        if outcome.was_final:
            raise RunStateError(run_id, state=outcome.state, wanted=RunState.CANCELLED)
        return outcome.state

    async def _submit_durably(self, operation: Operation) -> Any:
        try:
            return await self.submit(operation)
        except OutcomeUnknown as error:
            raise StorageError(
                "the database connection broke during the commit: it is unknown whether this was kept; look, or try "
                "again with the same idempotency key"
            ) from error

    # Looking ------------------------------------------------------------------------------------------------------

    async def list_runs(
        self,
        where: RunFilter | None = None,
        *,
        workflow: str | None = None,
        state: RunState | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> list[RunSummary]:
        """Runs without their payloads, newest first; ``after`` is the id of the last one of the page before.

        ``workflow`` and ``state`` stand in for a filter that says no more than these.

        Raises:
            InvalidInput: the filter cannot be read.
        """
        if where is None:
            where = RunFilter(workflows=[workflow] if workflow else (), states=[state] if state else ())
        return await list_runs(self.database.reader, where, after=after, limit=limit)

    async def count_runs(self, where: RunFilter) -> int:
        """How many runs are meant.

        Raises:
            InvalidInput: the filter cannot be read.
        """
        return await count_runs(self.database.reader, where)

    async def get_run(self, run_id: str) -> RunDetail:
        """One run with its payloads.

        Raises:
            NotFound: there is no such run.
        """
        return await find_run(self.database.reader, run_id)

    async def list_steps(self, run_id: str, *, after: str | None = None, limit: int | None = None) -> list[StepRecord]:
        """The journal of a run, in the order in which its steps began; or a page of it, after the step at a path.

        Raises:
            NotFound: there is no such run.
        """
        if run_id not in await run_states(self.database.reader, [run_id]):
            raise NotFound("run", run_id)
        return await list_steps(self.database.reader, run_id, after=after, limit=limit)

    async def wait_for_completion(self, run_id: str) -> str:
        """The JSON text of the run's result, once it has ended.

        Raises:
            NotFound: there is no such run.
            RunFailed: it failed or was cancelled.
            PayloadNotDecoded: this process cannot decode how it ended.
        """
        # A copy that waits may be out of date: the run may have gone on, and ended, elsewhere.
        ended = await self.completions.wait(run_id, is_resident=self.residents.holds(run_id))
        while ended.continued_as is not None:
            ended = await self.completions.wait(ended.continued_as, is_resident=False)
        if ended.state is RunState.SUCCEEDED:
            return readable(ended.result, what=f"the result of run {run_id}") or "null"
        error = readable(ended.error, what=f"the error of run {run_id}")
        cause = revive_error(error) if error else None
        raise RunFailed(
            run_id,
            state=ended.state,
            error_type=type(cause).__qualname__ if cause else "",
            error_message=message_of(cause) if cause else "",
        ) from cause

    @property
    def awaits_others(self) -> bool:
        """Whether somebody here waits for a run that other processes advance."""
        return bool(self.completions.awaited_elsewhere(self.residents.holds))

    async def look_for_completions(self) -> None:
        """See whether runs that somebody here waits for have ended elsewhere."""
        await self.completions.look(is_running=self.residents.holds)

    # The way to the database ---------------------------------------------------------------------------------------

    def submit(
        self,
        operation: Operation,
        *,
        then: Callable[[Any], None] | None = None,
        failed: Callable[[BaseException], None] | None = None,
        obstacle: Callable[[], bool] | None = None,
    ) -> asyncio.Future[Any]:
        """Commit ``operation`` with the next group; see :class:`~toolkit.storage.GroupCommit`."""
        return self._commits.submit(operation, then=then, failed=failed, obstacle=obstacle)

    async def settle(self) -> None:
        """Return when no commit of this process is waiting or under way."""
        await self._commits.settle()

    async def run_script(self, script: Script[T]) -> T:
        """Run ``script`` in a transaction of its own, in turn with everybody else who writes."""
        return await self.database.run(script)

    def own_now(self) -> datetime | None:
        """The moment where time is ours; ``None`` where it is the database server's."""
        return self.runtime.clock.now() if self.database.is_own_time else None

    async def read(self, query: Query) -> Sequence[Row]:
        """The rows of ``query``; waits while the database is away."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self.database.reader.read(query)
            except StorageUnavailable:
                await self.runtime.clock.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)


def _notification() -> Script[None]:
    yield Query(sql.NOTIFY)
