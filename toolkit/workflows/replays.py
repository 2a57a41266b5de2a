"""Replaying a run's journal against the code as it is now, without doing anything: would the run go on, and as it did?

The author's function is performed from the top. What is on record comes back; where the journal ends, the branch stops
there for ever. Nothing is committed, no step's body is run, no time passes. Code of the workflow itself that is no step
is performed, as on every replay.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from toolkit.clock import Clock, SystemClock
from toolkit.ids import new_id
from toolkit.storage import Query
from toolkit.workflows import statements as sql
from toolkit.workflows.continuations import ContinuedAsNew
from toolkit.workflows.definitions import Workflow, workflow_key
from toolkit.workflows.differences import find_differences
from toolkit.workflows.executions import Execution
from toolkit.workflows.failures import RunCancelled, RunParked, record_error, summary_of
from toolkit.workflows.journal import PATCH
from toolkit.workflows.operations import Operation, StepRecord, WaitRecord
from toolkit.workflows.outcomes import ClaimedRun, Fate, Recorded
from toolkit.workflows.parking import Parking
from toolkit.workflows.performance import check_readable
from toolkit.workflows.rows import to_claimed, to_step, to_wait
from toolkit.workflows.runtime import Runtime
from toolkit.workflows.scopes import Scope, entered
from toolkit.workflows.states import RunState, StepKind
from toolkit.workflows.upcasters import decode_recorded

if TYPE_CHECKING:
    from toolkit.workflows.engine import Engine

logger = logging.getLogger(__name__)

LONGEST_REPLAY_SECONDS = 10.0
_PAGE = 100

Verdict = Literal["goes on", "doubtful", "breaks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run as it stands on record: how it began, its journal, its open waits, and its end if it has one."""

    run: ClaimedRun
    steps: Sequence[StepRecord] = ()
    waits: Sequence[WaitRecord] = ()
    state: RunState = RunState.SUSPENDED
    result: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of a replay.

    ``fault`` says why the run cannot go on (or did not go the same way), in lines for a person. ``unread`` are recorded
    paths that the code did not ask for, ``beyond`` those where it would begin something new, ``waiting`` the open waits
    that it came to.
    """

    run_id: str
    workflow: str
    version: str | None
    fault: str | None = None
    unread: Sequence[str] = ()
    beyond: Sequence[str] = ()
    waiting: Sequence[str] = ()
    has_ended: bool = False

    @property
    def verdict(self) -> Verdict:
        """``doubtful``: it would go on, but something that is on record is no longer asked for."""
        if self.fault is not None:
            return "breaks"
        return "doubtful" if self.unread else "goes on"


async def replay(recorded: RecordedRun, workflow: Workflow[Any, Any], *, engine: Engine | None = None) -> Replay:
    """Perform ``workflow`` on a journal. ``engine`` lends its resources, which steps' kinds may look at."""
    execution = _Rehearsal(recorded, workflow, engine)
    spawn = execution.engine.runtime.spawn
    task, at_rest = spawn(_perform(execution)), spawn(execution.at_rest.wait())
    done, _ = await asyncio.wait([task, at_rest], timeout=LONGEST_REPLAY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    ending = task.result() if task in done else None
    at_rest.cancel()
    unread, beyond = execution.journal.unread, [*execution.beyond, *execution.in_flight]
    await _end(execution, task)
    found = Replay(
        run_id=recorded.run.id,
        workflow=workflow.name,
        version=recorded.run.version,
        unread=unread,
        beyond=beyond,
        waiting=execution.waiting,
        has_ended=ending is not None,
    )
    if not done:
        fault = (
            f"the code did not come to the end of the journal within {LONGEST_REPLAY_SECONDS:g} s; it awaits something "
            "that is no step and no wait of the toolkit"
        )
        return replace(found, fault=fault)
    return replace(found, fault=_find_fault(recorded, found, ending))


async def read_run(engine: Engine, run_id: str) -> RecordedRun:
    """A run as it stands on record.

    Raises:
        NotFound: there is none.
    """
    detail = await engine.get_run(run_id)
    (found,) = await _read(engine, [run_id])
    return replace(found, state=detail.summary.state, result=detail.result, error=detail.error)


async def replay_at_once(execution: Execution, state: RunState, *, result: str | None, error: str | None) -> None:
    """Replay a run that has just ended here and log what would have gone another way: hidden nondeterminism."""
    engine = execution.engine
    steps, waits = list(execution.journal.values()), list(execution.waits.values())
    ended = RecordedRun(run=execution.run, steps=steps, waits=waits, state=state, result=result, error=error)
    found = await replay(ended, execution.workflow, engine=engine)
    if found.fault is not None:
        logger.error(
            "A finished run does not replay: %s",
            found.fault,
            extra={"event": "run.not_replayable", "run_id": found.run_id, "workflow": found.workflow},
        )


async def check_live_runs(engine: Engine) -> AsyncIterator[Replay]:
    """Replay every run that has not ended against the workflows of ``engine``, oldest first."""
    after = ""
    while rows := await engine.read(Query(sql.LIVE_RUNS, [after, _PAGE])):
        for recorded in await _read(engine, [id_ for (id_,) in rows]):
            run = recorded.run
            workflow = engine.registry.find(run.workflow, run.version)
            if workflow is None:
                key = workflow_key(run.workflow, run.version)
                fault = f"there is no workflow {key!r} in this code; runs keep the version that they began with"
                yield Replay(run_id=run.id, workflow=run.workflow, version=run.version, fault=fault)
            else:
                yield await replay(recorded, workflow, engine=engine)
        after = rows[-1][0]


async def _read(engine: Engine, ids: list[str]) -> list[RecordedRun]:
    waits: dict[str, list[WaitRecord]] = {id_: [] for id_ in ids}
    steps: dict[str, list[StepRecord]] = {id_: [] for id_ in ids}
    # In the order in which a worker reads them; a run that goes on meanwhile is seen as it was or as it is.
    for row in await engine.read(Query(sql.OPEN_WAITS_OF_RUNS, [ids])):
        waits[row[1]].append(to_wait(row))
    for row in await engine.read(Query(sql.STEPS_OF_RUNS, [ids])):
        steps[row[0]].append(to_step(row))
    runs = [to_claimed(row) for row in await engine.read(Query(sql.CLAIMED_RUNS, [ids]))]
    return [RecordedRun(run=run, steps=steps[run.id], waits=waits[run.id]) for run in sorted(runs, key=lambda r: r.id)]


# The end of a replay -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ending:
    """How the author's function ended; ``error`` is JSON as for a failed run."""

    state: RunState
    result: str | None = None
    error: str | None = None
    is_continued: bool = False


async def _perform(execution: _Rehearsal) -> _Ending:
    workflow, run = execution.workflow, execution.run
    try:
        with entered(Scope(execution, task=asyncio.current_task())):
            check_readable(execution)
            text = workflow.upcasters.input(run.input, version=run.version)
            arguments = decode_recorded(workflow.signature, text, what="the input of the run")
            value: Any = await workflow.function(**arguments)
            return _Ending(RunState.SUCCEEDED, result=workflow.signature.result.encode(value))
    except RunParked as parked:
        return _Ending(RunState.PARKED, error=parked.message)
    except RunCancelled:
        return _Ending(RunState.CANCELLED)
    except ContinuedAsNew:
        return _Ending(RunState.SUCCEEDED, is_continued=True)
    except asyncio.CancelledError:
        return _Ending(RunState.PARKED, error=execution.foreign_cancellation().message)
    except Exception as error:  # noqa: BLE001 - the author's code, whatever it raises
        return _Ending(RunState.FAILED, error=record_error(error))


async def _end(execution: _Rehearsal, task: asyncio.Task[_Ending]) -> None:
    """Let every branch end; whatever it does counts no more."""
    execution.is_dead = True
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.5)


def _find_fault(recorded: RecordedRun, found: Replay, ending: _Ending | None) -> str | None:
    if ending is not None and ending.state is RunState.PARKED:
        return ending.error
    if recorded.state not in {RunState.SUCCEEDED, RunState.FAILED}:
        if ending is not None and ending.state is RunState.FAILED and not _is_recorded(ending.error, recorded):
            return f"the code raises what is not on record: {summary_of(ending.error or '{}')}"
        return None
    lines = [f"  asked for, not on record:     {path}" for path in (*found.beyond, *found.waiting)]
    lines += [f"  on record, not asked for:     {path}" for path in found.unread]
    if ending is not None and not ending.is_continued:
        lines += [f"  {line}" for line in _compare_ends(recorded, ending)]
    if not lines:
        return None
    return "\n".join(
        [
            "the run does not go the same way when it is replayed",
            *lines,
            "what differs from call to call belongs in a step, or comes from now(), uuid4() and random()",
        ]
    )


def _compare_ends(recorded: RecordedRun, ending: _Ending) -> list[str]:
    if ending.state is not recorded.state:
        why = f": {summary_of(ending.error)}" if ending.error is not None else ""
        return [f"it {recorded.state} then and {ending.state} now{why}"]
    if ending.state is RunState.SUCCEEDED:
        return [f"result: {line}" for line in find_differences(recorded.result or "null", ending.result or "null")]
    then, now = summary_of(recorded.error or "{}"), summary_of(ending.error or "{}")
    return [] if then == now else [f"error: recorded {then}, now {now}"]


def _is_recorded(error: str | None, recorded: RecordedRun) -> bool:
    """Whether a step or a wait on record failed with this very error: then the run was about to fail anyway."""
    raised = json.loads(error or "{}")
    failures = [json.loads(step.error) for step in recorded.steps if step.error is not None]
    return any((kept["type"], kept["message"]) == (raised["type"], raised["message"]) for kept in failures)


# A stage without a database ----------------------------------------------------------------------------------------


class _Rehearsal(Execution):
    """An execution that does nothing new: what is not on record stops the branch that asks for it."""

    def __init__(self, recorded: RecordedRun, workflow: Workflow[Any, Any], engine: Engine | None) -> None:
        self.at_rest = asyncio.Event()
        self.beyond: list[str] = []
        self.waiting: list[str] = []
        stage: Any = _Stage(self, engine)
        run = replace(recorded.run, is_cancel_requested=False)
        super().__init__(stage, run, workflow, steps=recorded.steps, waits=recorded.waits)
        self.parking = _Places(self)

    async def commit(self, operation: Operation, **_: Any) -> NoReturn:
        part: Any = getattr(operation, "step", None) or getattr(operation, "wait", None)
        await self.halt(self.beyond, part.path if part is not None else type(operation).__name__)

    async def record(self, step: StepRecord, **more: Any) -> Recorded:
        """What has no effect outside of the journal (a patch, a line for people, a section's entry) is let pass."""
        has_effect = more.get("run") is not None or more.get("event") is not None
        if not has_effect and (step.path.startswith(PATCH) or step.kind == StepKind.MESSAGE):
            self.note(step)
            return Recorded(Fate.KEPT)
        return await super().record(step, **more)

    async def halt(self, where: list[str], path: str | None = None) -> NoReturn:
        """Stop the branch for ever: it has come to the end of the journal."""
        if self.is_dead:
            raise asyncio.CancelledError("the replay is over")
        if path is not None:
            where.append(path)
        self.leave()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody ends this wait")

    def suspend(self) -> None:
        self.at_rest.set()


class _Places(Parking):
    """Where branches wait, which is where the journal ends."""

    __slots__ = ("_rehearsal",)

    def __init__(self, rehearsal: _Rehearsal) -> None:
        super().__init__(rehearsal)
        self._rehearsal = rehearsal

    async def wait_at(self, path: str, scope: Scope) -> NoReturn:
        await self._rehearsal.halt(self._rehearsal.waiting, path)


@dataclass
class _HaltingClock:
    """Tells the time and lets none pass: a step that waits for its lease has come to the end of the journal."""

    rehearsal: _Rehearsal
    clock: Clock

    def now(self) -> datetime:
        return self.clock.now()

    def monotonic(self) -> float:
        return self.clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self.rehearsal.halt([])


@dataclass
class _Stage:
    """What an execution sees of its engine. It holds no lease, so no step begins."""

    rehearsal: _Rehearsal
    engine: Engine | None
    is_leased: bool = False
    resources: dict[type, object] = field(default_factory=dict)
    residents: Any = None

    def __post_init__(self) -> None:
        clock = self.engine.runtime.clock if self.engine is not None else SystemClock()
        self.runtime = Runtime(clock=_HaltingClock(self.rehearsal, clock))
        self.resources = dict(self.engine.resources) if self.engine is not None else {}
        self.large_values = self.engine.large_values if self.engine is not None else None
        self.residents = self

    def new_id(self) -> str:
        return new_id()

    def require(self, workflow: Workflow[Any, Any]) -> None:
        """Any workflow may be named; none is started."""

    def note_deadline(self, deadline_at: datetime | None) -> None:
        """No limit passes here."""

    def note_progress(self, progress: Operation) -> None:
        """What was shown is shown."""

    def abandon(self, execution: Execution) -> None:
        """There is nothing to give up."""
