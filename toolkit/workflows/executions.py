"""One run in this process's memory: its journal, its branches, and its way to the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from toolkit.storage import DataRejected, PayloadNotDecoded
from toolkit.workflows.deferrals import Deferrals
from toolkit.workflows.failures import RunCancelled, RunParked, RunUndecoded
from toolkit.workflows.journal import LINKED, Journal
from toolkit.workflows.operations import Operation, RecordStep, StepRecord, Suspend, WaitRecord
from toolkit.workflows.outcomes import ClaimedRun, Fate, Recorded, Suspended, WaitOpened
from toolkit.workflows.parking import Parking
from toolkit.workflows.scopes import BranchWithdrawn
from toolkit.workflows.states import CancelMode, StepKind, StepState

if TYPE_CHECKING:
    from toolkit.workflows.definitions import Workflow
    from toolkit.workflows.engine import Engine

logger = logging.getLogger(__name__)

Then = Callable[[Any], None]

# What a waiting coroutine costs beyond its journal, roughly; the payloads it has seen are added.
_COROUTINE_BYTES = 12_000
_MICROSECOND = timedelta(microseconds=1)


class StepCall(Protocol):
    """A step under way."""

    started_at: datetime

    def sighting(self) -> StepRecord: ...


class Execution:
    """A run between its claim and its end, or its eviction.

    ``active`` counts the branches that are not waiting for the engine. When it reaches nought, the run is suspended:
    its waits are on record, and the coroutine stays here, warm, until the run is due or the room is needed.
    """

    __slots__ = (  # there are more of them than Python keeps well in a dictionary: 1.7 KiB a run that waits
        "_is_given_up",
        "active",
        "cursors",
        "deferrals",
        "engine",
        "epoch",
        "has_progressed",
        "has_sections",
        "in_flight",
        "is_cancel_requested",
        "is_dead",
        "is_in_doubt",
        "is_pausing",
        "is_suspending",
        "is_warm",
        "journal",
        "last_pauses",
        "latest",
        "linked_ids",
        "memory",
        "parking",
        "payload_bytes",
        "run",
        "shields",
        "shown",
        "sightings",
        "task",
        "undoers",
        "unwinding",
        "waits",
        "workflow",
    )

    def __init__(
        self,
        engine: Engine,
        run: ClaimedRun,
        workflow: Workflow[Any, Any],
        *,
        steps: Sequence[StepRecord] = (),
        waits: Sequence[WaitRecord] = (),
    ) -> None:
        self.engine = engine
        self.run = run
        self.workflow = workflow
        self.epoch = run.epoch
        self.journal = Journal(
            (step for step in steps if step.state is not StepState.RUNNING),
            waits=[wait.path for wait in waits],
            upcast=self._upcast if workflow.upcasters else None,
        )
        self.sightings = {step.path: step for step in steps if step.state is StepState.RUNNING}
        self.waits = {wait.path: wait for wait in waits if not self.journal.holds(wait.path)}
        self.cursors: dict[str, int] = {}
        self.memory: dict[str, object] = {}
        self.task: asyncio.Task[None] | None = None
        self.active = 1
        self.is_dead = False
        self.is_cancel_requested = run.is_cancel_requested
        self.is_suspending = False
        self.is_warm = False  # on record it is suspended, even if its code has not come to its wait yet
        self._is_given_up = False
        self.is_in_doubt = False  # deliveries may be on record that it has not heard of
        self.is_pausing = False  # on record it is paused: nothing new begins
        self.has_progressed = False
        self.latest = run.created_at  # of the moments in the journal
        self.in_flight: dict[str, StepCall] = {}
        self.shown: set[str] = set()
        self.payload_bytes = len(run.input)
        self.last_pauses: dict[str, int] = {}  # of steps that are retried: the attempt before the last pause
        self.shields = 0  # sections under way that a cancel does not enter
        self.undoers = 0  # sections under way that undo what they did when the run is cancelled
        self.unwinding = 0  # gathers and races whose outcome is on record and waits for branches that were given up
        self.has_sections = bool(self.journal.sections)  # or has had: something may follow from a cancel
        self.linked_ids: list[str] = []  # runs that were started to be ended with this one
        self.deferrals = Deferrals(self)
        self.parking = Parking(self)
        for step in steps:
            self._note_cursor(step)
            self._note_moment(step)
            self._note_pause(step.path)
            if step.details == LINKED:
                self.link((step.result or "").strip('"'))
        for wait in waits:
            self._note_pause(wait.path)

    @property
    def cost_bytes(self) -> int:
        """An estimate of the memory that this copy holds."""
        return _COROUTINE_BYTES + 3 * self.payload_bytes

    @property
    def next_deadline(self) -> datetime | None:
        """The nearest limit of a wait that is open."""
        nearest = None
        for wait in self.waits.values():  # asked of every run at every look: ``min`` takes three times as long
            limit = wait.deadline_at
            if limit is not None and (nearest is None or limit < nearest):
                nearest = limit
        return nearest

    @property
    def wakes_at(self) -> datetime | None:
        """When a run that is suspended now is due: at once if a pause holds it up, for it goes on when that ends."""
        return self.engine.runtime.clock.now() if self.parking.is_holding else self.next_deadline

    @property
    def child_ids(self) -> list[str]:
        """The child runs that this run waits for, and those that it started to be ended with it."""
        awaited = [w.reference for w in self.waits.values() if w.kind == StepKind.CHILD and w.reference is not None]
        return awaited + self.linked_ids

    def link(self, run_id: str) -> None:
        """A run was started to be ended with this one, if only by a branch that is given up since."""
        if run_id not in self.linked_ids:
            self.linked_ids.append(run_id)

    @property
    def cancel_mode(self) -> CancelMode | None:
        """What a cancel is to do to this run while it waits."""
        if self.shields:
            return CancelMode.SHIELDED
        return CancelMode.UNWIND if self.undoers else None

    def upcast_fetched(self, record: StepRecord, text: str | None) -> str | None:
        """The result of ``record``, which the journal holds as a stub, brought up to date."""
        upcasters = self.workflow.upcasters
        return upcasters.record(record._replace(result=text), version=self.run.version).result if upcasters else text

    def _upcast(self, record: StepRecord) -> StepRecord:
        return self.workflow.upcasters.record(record, version=self.run.version)

    # The way to the database -------------------------------------------------------------------------------------

    async def commit(self, operation: Operation, *, then: Then | None = None) -> Any:
        """The outcome of ``operation`` once it is durable; a cancelled caller still waits for it.

        ``then`` hears of it at once, in the order of commits, even if the caller does not go on.

        Raises:
            asyncio.CancelledError: the run is not ours any more.
            RunParked: somebody other than the engine cancelled the caller, or it took something that cannot be decoded.
        """
        if self.is_dead:
            raise asyncio.CancelledError("this copy of the run was given up")
        try:
            outcome = await self._submit(operation, then=then)
        except asyncio.CancelledError:  # it comes when the commit is through
            if self.is_dead:
                raise
            raise self.foreign_cancellation() from None
        except PayloadNotDecoded as error:
            raise RunUndecoded(error.what) from None
        except DataRejected:
            raise
        except Exception as error:
            raise asyncio.CancelledError("a commit failed or its outcome is unknown; the run is read again") from error
        if outcome is Fate.LOST or getattr(outcome, "fate", None) is Fate.LOST:
            self.engine.residents.abandon(self)
            raise asyncio.CancelledError("another process owns the run")
        self.deferrals.check()
        return outcome

    def _submit(self, operation: Operation, *, then: Then | None) -> asyncio.Future[Any]:
        self.deferrals.send()
        return self.engine.submit(operation, then=then, failed=self.on_failed_commit, obstacle=self.deferrals.obstacle)

    async def record(self, step: StepRecord, *, then: Then | None = None, **more: Any) -> Recorded:
        """Make a checkpoint durable and keep it in the journal; ``then`` as in :meth:`commit`."""
        outcome: Recorded = await self.commit(RecordStep(self.run.id, self.epoch, step, **more), then=then)
        if outcome.fate is Fate.CANCELLED:
            self.request_cancel()
            raise RunCancelled
        self.note(step)
        if outcome.is_cancel_requested:
            self.request_cancel()
        return outcome

    def defer(self, step: StepRecord) -> None:
        """Make a checkpoint durable with what the run commits next, or at the engine's next look if that is sooner."""
        self.deferrals.add(step)
        self.note(step)

    def note(self, step: StepRecord) -> None:
        """Keep a checkpoint that is durable, or will be before anything that follows from it."""
        self.journal[step.path] = step
        self.has_progressed = True
        self.in_flight.pop(step.path, None)
        self.payload_bytes += len(step.result or "") + len(step.arguments or "")
        if step.event_seq is not None:
            self._note_cursor(step)
        self._note_moment(step)

    def moment(self) -> datetime:
        """Now, but after everything in the journal: what came of a step is dated after it, whatever clocks say.

        A retry and a fork tell by that what depends on the step from which they begin.
        """
        now = self.engine.runtime.clock.now()
        return now if now > self.latest else self.latest + _MICROSECOND

    def _note_moment(self, step: StepRecord) -> None:
        if step.ended_at is not None and step.ended_at > self.latest:
            self.latest = step.ended_at

    def _note_pause(self, path: str) -> None:
        step, is_pause, attempt = path.rpartition("/retry/")
        if is_pause:
            self.last_pauses[step] = max(self.last_pauses.get(step, 0), int(attempt))

    def note_wait(self, opened: WaitOpened) -> None:
        """Keep a wait that is on record, or its end; also when the branch that asked for it is given up meanwhile."""
        if opened.record is not None:
            self.note(opened.record)
        elif opened.wait is not None:
            self.waits[opened.wait.path] = opened.wait
        if opened.is_suspended and not self.is_dead:
            self.engine.residents.keep_warm(self)

    def _note_cursor(self, step: StepRecord) -> None:
        if step.event_seq is not None and step.kind == StepKind.WAIT:  # its name is the event's key
            self.cursors[step.name] = max(self.cursors.get(step.name, 0), step.event_seq)

    def is_on_record(self, path: str) -> bool:
        """Whether a wait at ``path`` is open or has ended; asking so does not count as the code's asking."""
        return path in self.waits or self.journal.holds(path)

    def is_given(self, recorded: StepRecord) -> bool:
        """Whether a result came with the fork that this run is: whoever made it said to keep it."""
        return self.run.is_fork and recorded.epoch == 0

    # Waiting -----------------------------------------------------------------------------------------------------

    def deliver(self, record: StepRecord) -> None:
        """A wait of this run has ended; whoever waited goes on."""
        if self.journal.holds(record.path):
            return
        self.note(record)
        self.journal.note_foreign(record.path)
        self.waits.pop(record.path, None)
        self.parking.let_go_on(record.path, record)

    def enter(self) -> None:
        """One more branch does something other than wait."""
        self.active += 1

    def leave(self) -> None:
        """One branch less does something other than wait."""
        self.active -= 1
        if self.active == 0 and not self.is_dead and not self.is_warm:
            self.suspend()

    @property
    def goes_to_wait(self) -> bool:
        """Whether the wait that a branch is about to open is all that keeps this run from being suspended."""
        has_more = self.is_in_doubt or self.parking.is_holding or self.is_cancel_requested or self.unwinding
        return self.active == 1 and not has_more

    def suspension(self, opening: WaitRecord) -> Suspend:
        """How this run is suspended when ``opening`` is open."""
        limits = [limit for limit in (self.next_deadline, opening.deadline_at) if limit is not None]
        return Suspend(self.run.id, self.epoch, min(limits, default=None), self.cancel_mode)

    def suspend(self) -> None:
        """Every branch waits: put that on record, unless something comes up before it is."""
        if not self.is_suspending:
            self.is_suspending = True
            operation = Suspend(self.run.id, self.epoch, self.next_deadline, self.cancel_mode)
            self._submit(operation, then=self._on_suspended)

    def on_failed_commit(self, error: BaseException) -> None:
        """After a commit that failed, only the journal knows where the run stands, whoever waited for the commit."""
        if not isinstance(error, DataRejected):
            self.engine.residents.abandon(self)

    def _on_suspended(self, outcome: Suspended) -> None:
        self.is_suspending = False
        if self.is_dead:
            return
        if outcome.fate is Fate.LOST:
            self.engine.residents.abandon(self)
        elif outcome.is_cancel_requested:
            self.request_cancel()
        elif outcome.is_suspended:
            self.engine.residents.keep_warm(self)
        elif outcome.must_read:
            self.is_in_doubt = False
            self.engine.residents.read_deliveries([self])
        elif self.active == 0:
            self.suspend()

    # Cancellation ------------------------------------------------------------------------------------------------

    def request_cancel(self) -> None:
        """The run is to be cancelled: every branch hears of it at its next verb, a waiting one at once."""
        self.is_cancel_requested = True
        self.parking.interrupt(lambda scope: not scope.is_shielded, RunCancelled)

    def withdraw_branches(self) -> None:
        """Branches with something to end are given up: each hears of it at its next verb, a waiting one at once."""
        self.parking.interrupt(lambda scope: scope.given_up is not None, BranchWithdrawn)

    def check(self) -> None:
        """Refuse to begin anything new in a run that is given up or being cancelled.

        Raises:
            asyncio.CancelledError: this copy was given up.
            RunCancelled: the run is being cancelled.
        """
        self.check_alive()
        if self.is_cancel_requested:
            raise RunCancelled

    def check_alive(self) -> None:
        """Refuse to go on with a copy that is given up.

        Raises:
            asyncio.CancelledError: this copy was given up.
        """
        if self.is_dead:
            raise asyncio.CancelledError("this copy of the run was given up")

    def foreign_cancellation(self) -> RunParked:
        """Somebody other than the engine cancelled a verb; a replay would take another branch."""
        return RunParked(
            "a step or wait was cancelled from outside the engine (asyncio.timeout or asyncio.wait_for around it?); "
            "use toolkit.workflows.timeout or the limit of the step or wait itself, which are on record"
        )

    def give_up(self) -> None:
        """Let this copy end. Whoever wants to know that it has awaits :meth:`evict`, which may be cut off."""
        self.is_dead = True
        if not self._is_given_up and self.task is not None and self.task is not asyncio.current_task():
            self._is_given_up = True
            self.task.cancel()

    async def evict(self) -> None:
        """Give up this copy and wait until its coroutine has ended; the run is rebuilt from its journal when due."""
        self.give_up()
        task = self.task
        if task is None or task is asyncio.current_task():
            return
        with suppress(asyncio.CancelledError):
            await self.engine.runtime.clock.sleep(0.0)  # most end at once; a wait with a limit costs four times as much
        for patience in (0.5, 1.5, 5.5):
            if task.done():
                return
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task], timeout=patience)
            task.cancel()
        if not task.done():
            logger.warning(
                "A run's code does not end although its task is cancelled",
                extra={"event": "run.stuck", "run_id": self.run.id, "workflow": self.run.workflow},
            )

    # Showing what takes long -------------------------------------------------------------------------------------

    def long_steps(self, *, began_before: datetime) -> list[StepRecord]:
        """Steps that have run for a while and are not on record yet."""
        return [
            call.sighting()
            for path, call in self.in_flight.items()
            if call.started_at < began_before and path not in self.shown
        ]
