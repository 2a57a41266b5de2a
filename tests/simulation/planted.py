"""Planted bugs: each takes away one guard of the engine. A simulation that does not notice proves nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from tests.simulation.histories import play_history
from toolkit.storage import GroupCommit, Statement
from toolkit.workflows import branches, cancellations, groups, sessions, statements
from toolkit.workflows.batches import Batch, endings
from toolkit.workflows.batches.state import BatchState
from toolkit.workflows.commits import Commits
from toolkit.workflows.executions import Execution
from toolkit.workflows.journal import Journal
from toolkit.workflows.operations import AttachedRows, FireSchedule, OpenWait, RecordStep, Suspend
from toolkit.workflows.orchestrator import Orchestrator
from toolkit.workflows.outcomes import Fate, Fired, Recorded
from toolkit.workflows.residents import Residents
from toolkit.workflows.states import RunState


def _fence_without_epoch(self: Any, run_id: str, epoch: int) -> Any:
    run = self.runs.get(run_id)
    return run if run is not None and run.state is RunState.RUNNING else None


def _warm_by_id_alone(self: Residents, run_id: str, *, prior_epoch: int, epoch: int) -> bool:
    execution = self._take_warm(run_id)
    if execution is None:
        return False
    execution.epoch = epoch
    self.running[run_id] = execution
    return True


_REFRESH = Commits._refresh


def _timers_in_memory_only(self: Commits, operation: Any) -> Any:
    if isinstance(operation, Suspend):
        return replace(operation, due_at=None)
    refreshed = _REFRESH(self, operation)
    if isinstance(refreshed, OpenWait) and refreshed.suspension is not None:
        refreshed.suspension.due_at = None
    return refreshed


def _no_cursor(self: Any, asking: Any) -> Generator[Any, Any, dict[Any, int]]:
    yield from ()
    return {}


_HOLD = BatchState._hold


def _cancel_is_not_read(self: Any, row: Any) -> None:
    _HOLD(self, [*row[:12], None, *row[13:]])


async def _nothing(*_: Any, **__: Any) -> None:
    return None


def _blind(statement: Statement) -> Statement:
    """The statement, finding nothing."""
    return replace(statement, sqlite=f"SELECT * FROM ({statement.sqlite}) WHERE 1 = 0")


def _effect_without_checkpoint() -> Any:
    """What a step wrote is committed first, and its checkpoint in another transaction."""

    async def commit_alone(self: Any, record: Any) -> None:
        await self.flush()
        await self._commit()
        await self.close()
        await self._execution.record(record)

    return patch.object(sessions.StepSession, "commit_with", commit_alone)


def _acknowledged_early() -> Any:
    """Whoever waits for a checkpoint goes on when it is handed in, not when it is durable."""
    commit_batch = GroupCommit._commit_batch

    async def commit_late(self: Any, batch: Any) -> None:
        for entry in batch:
            if isinstance(entry.operation, RecordStep) and entry.operation.run is None and not entry.future.done():
                entry.future.set_result(Recorded(Fate.KEPT))
        await asyncio.sleep(0.01)
        await commit_batch(self, batch)

    return patch.object(GroupCommit, "_commit_batch", commit_late)


def _forgets_events(self: Any, run: Any, successor: Any) -> Generator[Any, Any, list[Any]]:
    yield from ()
    return []


def _unlike_the_record() -> Any:
    """A replay of a race lets all run again, and takes whoever is first this time."""
    return patch.object(branches, "details_of", lambda record: {"winner": 0})


def _no_children(self: Any, child_ids: Any, *, reason: str) -> Generator[Any, Any, None]:
    yield from ()


async def _until_poked(self: Orchestrator) -> None:
    await self._poked.wait()


def _asks_again() -> Any:
    """A section is entered if the run is not being cancelled, whatever is on record."""
    enter = cancellations._enter

    async def check_and_enter(scope: Any, name: str, *, mode: Any) -> None:
        scope.check()
        await enter(scope, name, mode=mode)

    return patch.object(cancellations, "_enter", check_and_enter)


@contextmanager
def _without_epochs() -> Iterator[None]:
    lone = {
        "RECORD_AT_ONCE": "epoch = ?14 AND worker_id = ?16",
        "FINISH_AT_ONCE": "t.epoch = ?2 AND t.worker_id = ?3",
        "SUSPEND_AT_ONCE": "t.epoch = ?2 AND t.worker_id = ?3",
    }
    unfenced: dict[str, Any] = {name: _without(getattr(statements, name), fence) for name, fence in lone.items()}
    with patch.object(BatchState, "_fenced", _fence_without_epoch), patch.multiple(statements, **unfenced):
        yield


def _without(statement: Statement, fence: str) -> Statement:
    """The statement without its fence; SQLite wants the parameters to be there."""
    assert fence in statement.sqlite
    open_fence = " AND ".join(f"{mark} IS NOT NULL" for mark in re.findall(r"\?\d+", fence))
    return replace(statement, sqlite=statement.sqlite.replace(fence, open_fence))


def _claim_in_the_same_epoch() -> Any:
    """A claim does not raise the epoch: whoever had the run before may go on writing."""
    claim = Batch.claim

    def claim_softly(self: Any) -> Any:
        before = len(self.effects.claimed)
        yield from claim(self)
        for at, run in enumerate(self.effects.claimed[before:], before):
            self.runs[run.id].epoch -= 1
            self.effects.claimed[at] = replace(run, epoch=run.epoch - 1)

    return patch.object(Batch, "claim", claim_softly)


def _submits_alone(self: Execution, operation: Any, *, then: Any) -> Any:
    """What the run commits leaves behind what stands before it."""
    return self.engine.submit(operation, then=then, failed=self.on_failed_commit)


def _fires_what_it_read(self: Any) -> Generator[Any, Any, None]:
    """The row is neither locked nor compared."""
    for at, operation in self._each(FireSchedule):
        for run in operation.runs:
            self._begin(run, {})
        last = (operation.last_due_at, operation.runs[-1].id)
        self.attached.append(AttachedRows(statements.MOVE_SCHEDULES, [(operation.name, operation.next_at, *last)]))
        self.outcomes[at] = Fired(Fate.KEPT)
    yield from ()


# What is wrong -> how to make it so.
PLANTED: dict[str, Callable[[], Any]] = {
    "a write is not fenced by the epoch": _without_epochs,
    "a claim does not raise the epoch": _claim_in_the_same_epoch,
    "a warm copy goes on whatever its epoch": lambda: patch.object(Residents, "_go_on", _warm_by_id_alone),
    "timers are in memory only": lambda: patch.object(Commits, "_refresh", _timers_in_memory_only),
    "a cursor is what memory says": lambda: patch.object(Batch, "_delivered_numbers", _no_cursor),
    "a cancel is not read under the lock": lambda: patch.object(BatchState, "_hold", _cancel_is_not_read),
    "a withdrawn branch keeps its waits": lambda: patch.object(groups, "withdraw_waits", _nothing),
    "a wait does not look for what is there": lambda: patch.object(
        statements, "NUMBERED_EVENTS", _blind(statements.NUMBERED_EVENTS)
    ),
    "a run that has work to do is suspended": lambda: patch.object(Commits, "_is_idle", lambda *_: True),
    "a step begins without a lease": lambda: patch.object(Orchestrator, "is_leased", property(lambda _: True)),
    "what a step wrote is committed before its checkpoint": _effect_without_checkpoint,
    "a commit is acknowledged before it is durable": _acknowledged_early,
    "a run that goes on as another forgets its events": lambda: patch.object(Batch, "_cursors_of", _forgets_events),
    "a replay takes another winner of a race": _unlike_the_record,
    "a shield that was entered asks again on a replay": _asks_again,
    "a branch that is given up is cut off in its sections": lambda: patch.object(
        groups.Branches, "_has_sections", lambda *_: False
    ),
    "a replay forgets what a branch that was given up has to end": lambda: patch.object(
        Journal, "has_section_below", lambda *_: False
    ),
    "a cancel ends the children that a shield waits for": lambda: patch.object(endings, "_is_kept", lambda *_: False),
    "children are left to themselves": lambda: patch.object(Batch, "_cancel_children", _no_children),
    "a schedule fires what it has read": lambda: patch.object(Batch, "fire_schedules", _fires_what_it_read),
    "what was deferred waits for the next look": lambda: patch.object(Execution, "_submit", _submits_alone),
    "a notification is the only thing that wakes": lambda: patch.object(Orchestrator, "_pause", _until_poked),
}


@contextmanager
def planted(what: str) -> Iterator[None]:
    """The engine with the bug ``what``."""
    with PLANTED[what]():
        yield


def find_planted(what: str, *, seeds: int, first: int = 1) -> int | None:
    """The first seed whose history shows the bug ``what``; ``None`` if none does."""
    with planted(what):
        for seed in range(first, first + seeds):
            try:
                if play_history(seed).faults:
                    return seed
            except Exception:  # noqa: BLE001 - a broken engine may break anything
                return seed
    return None
