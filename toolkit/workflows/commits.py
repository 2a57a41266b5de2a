"""How the operations of one engine reach the database, in groups, and how what a batch did reaches memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from toolkit.storage import GroupCommit, OutcomeUnknown, Script
from toolkit.workflows.batches import Worker, commit
from toolkit.workflows.operations import (
    DeliverEvents,
    EmitEvent,
    NoteProgress,
    OpenWait,
    Operation,
    ReleaseRuns,
    StartRun,
    Suspend,
)
from toolkit.workflows.outcomes import Effects, Fate, Suspended

if TYPE_CHECKING:
    from toolkit.workflows.engine import Engine

# What memory may have overtaken between the moment it was asked for and that of its batch.
_DEPEND_ON_MEMORY = {OpenWait, Suspend, ReleaseRuns, NoteProgress}


_FROM_OUTSIDE = {StartRun, EmitEvent}


class Commits(GroupCommit[Operation]):
    """Group commit; what depends on memory is decided when its batch begins, after every batch before it."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(self._commit_group, clock=engine.runtime.clock, spawn=engine.runtime.spawn)
        self._engine = engine
        self._notes: dict[str, NoteProgress] = {}

    def goes_first(self, operation: Operation) -> bool:
        """What is under way goes before what comes from outside: it makes the room that this needs."""
        return type(operation) not in _FROM_OUTSIDE

    def submit_note(self, note: NoteProgress) -> None:
        """Commit how far a run has come; of several words before the next group only the last counts."""
        waiting = self._notes.get(note.run_id)
        if waiting is not None and waiting.epoch == note.epoch:
            waiting.progress = note.progress
        else:
            self._notes[note.run_id] = note
            self.submit(note)

    async def _commit_group(self, operations: Sequence[Operation]) -> Sequence[Any]:
        if _DEPEND_ON_MEMORY.isdisjoint({type(operation) for operation in operations}):
            return await self._commit_current(operations)
        # A run that has something to do again since it asked to be suspended is not suspended.
        stale = {at for at, o in enumerate(operations) if isinstance(o, Suspend) and not self._is_idle(o)}
        current = [self._refresh(operation) for at, operation in enumerate(operations) if at not in stale]
        outcomes = iter(await self._commit_current(current) if current else ())
        return [Suspended(Fate.KEPT) if at in stale else next(outcomes) for at in range(len(operations))]

    def _is_idle(self, operation: Suspend) -> bool:
        execution = self._engine.residents.running.get(operation.run_id)
        return execution is not None and execution.epoch == operation.epoch and execution.active == 0

    def _refresh(self, operation: Operation) -> Operation:
        """``operation`` as memory has it now: every batch before this one has been applied."""
        residents = self._engine.residents
        if isinstance(operation, OpenWait):
            execution = residents.running.get(operation.run_id)
            is_last = execution is not None and execution.epoch == operation.epoch and execution.goes_to_wait
            operation.suspension = execution.suspension(operation.wait) if is_last and execution else None
            return operation
        if isinstance(operation, Suspend):
            execution = residents.running[operation.run_id]
            return replace(
                operation,
                due_at=execution.wakes_at,
                cancel_mode=execution.cancel_mode,
                is_in_doubt=execution.is_in_doubt,
            )
        if isinstance(operation, NoteProgress):
            self._notes.pop(operation.run_id, None)  # a later word comes as an operation of its own
        if isinstance(operation, ReleaseRuns):  # a run that was found as a stray may have arrived since
            runs = [*operation.runs, *residents.unwanted]
            return replace(operation, runs=[run for run in runs if not residents.holds(*run)])
        return operation

    async def _commit_current(self, operations: Sequence[Operation]) -> Sequence[Any]:
        engine = self._engine
        is_taking = engine.is_taking_runs
        worker = Worker(
            engine.worker_id,
            engine.residents.room if is_taking else 0,
            engine.closers,
            engine.new_id,
            engine.residents.rooms() if is_taking else {},
            is_taking=is_taking,
            is_far=engine.database.dialect == "postgresql",
        )
        try:  # not in a task of its own: nobody cancels a group's
            outcomes, effects = await engine.database.run(self._script(operations, worker), in_own_task=False)
        except OutcomeUnknown:
            engine.residents.doubt_deliveries()
            raise
        engine.residents.apply(effects)
        for ended in effects.ended:
            engine.completions.tell(ended)
        if effects.unmatched:
            self.submit(DeliverEvents(sorted(effects.unmatched)))
        if effects.has_due_runs:
            engine.poke()
        return outcomes

    def _script(self, operations: Sequence[Operation], worker: Worker) -> Script[tuple[list[Any], Effects]]:
        """Where time is ours it is read when the transaction has begun: its moments come after those of the last one,
        whichever process that was in.
        """
        return (yield from commit(operations, worker=worker, own_now=self._engine.own_now()))
