"""What the engine asks of the database: one small record an operation. What comes back is in ``outcomes``.

Operations of one process are committed in groups (:mod:`toolkit.workflows.batches`). Those that carry ``epoch`` are
fenced: they count only while the run is ``running`` in that very epoch.

Nobody changes a record once it is made, but they are not frozen: a frozen one sets each field through
``object.__setattr__``, which takes ten times as long (5 microseconds for a checkpoint), and each step makes several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from toolkit.storage import Statement
from toolkit.workflows.states import CancelMode, RunState, StepKind, StepState, WaitState


class StepRecord(NamedTuple):
    """One row of the journal, in the order of its columns in ``statements``: it is written as it is."""

    run_id: str
    path: str
    name: str
    kind: str
    state: StepState
    started_at: datetime
    ended_at: datetime | None
    arguments: str | None = None
    result: str | None = None
    error: str | None = None
    details: str | None = None
    display_name: str | None = None
    attempts: int = 1
    epoch: int = 0
    event_seq: int | None = None


@dataclass(slots=True)
class WaitRecord:
    """One standing request of a run. ``reference`` is the kind's own: the id of a task or of a child run."""

    id: str
    run_id: str
    path: str
    name: str
    kind: str
    event_key: str | None = None
    after_seq: int = 0
    deadline_at: datetime | None = None
    reference: str | None = None
    arguments: str | None = None
    display_name: str | None = None
    state: WaitState = WaitState.OPEN
    created_at: datetime | None = None

    @property
    def hears_events(self) -> bool:
        """Whether an event of its key ends it. The wait of a step kind is ended by its id alone, by ``resolve_wait``:
        whoever emits a key has not shown that they may answer.
        """
        return self.kind == StepKind.WAIT and self.event_key is not None


@dataclass(slots=True)
class NewRun:
    """A run to be started; ``due_at`` is now when it is ``None``."""

    id: str
    workflow: str
    input: str
    input_digest: str
    version: str | None = None
    idempotency_key: str | None = None
    parent_id: str | None = None
    parent_wait: str | None = None
    started_by: str | None = None
    priority: int = 0
    due_at: datetime | None = None
    deadline_at: datetime | None = None
    close_policy: str | None = None
    on_cancel: str | None = None
    continued_from: str | None = None
    originators: str | None = None
    attributes: Sequence[tuple[str, str, str, float | None]] = ()  # as ``attributes`` encodes them


@dataclass(slots=True)
class NewEvent:
    """An event to be kept and numbered; ``run_id`` targets one run, without it every run may hear it.

    Of those with one ``key`` and one ``idempotency_key`` the first is kept, and no other.
    """

    id: str
    key: str
    payload: str | None = None
    run_id: str | None = None
    idempotency_key: str | None = None


# Operations -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class StartRun:
    """Start a run that no other run asked for. Outcome: :class:`Started`."""

    run: NewRun


@dataclass(slots=True)
class RecordStep:
    """Write a checkpoint, with what began or was emitted in it. Outcome: :class:`Recorded`."""

    run_id: str
    epoch: int
    step: StepRecord
    run: NewRun | None = None
    event: NewEvent | None = None
    is_shielded: bool = False  # it counts although a cancel is under way
    cancel_mode: CancelMode | None = None  # what a cancel is to do from now on
    attached: Sequence[AttachedRows] = ()


@dataclass(slots=True)
class AttachedRows:
    """Rows that a step kind writes in the transaction that opens its wait, or a verb in that of its record."""

    statement: Statement
    rows: Sequence[Sequence[Any]]


@dataclass(slots=True)
class OpenWait:
    """Look for what is awaited; if it is not there, register. Outcome: :class:`WaitOpened`.

    ``watched`` is a run whose end is awaited. ``since`` leaves out events from before that moment, ``is_from_now``
    all that exist. ``suspension`` is decided when the batch begins: the run goes to wait in the same commit, unless it
    has something to go on with.
    """

    run_id: str
    epoch: int
    wait: WaitRecord
    child: NewRun | None = None
    attached: Sequence[AttachedRows] = ()
    watched: str | None = None
    since: datetime | None = None
    is_from_now: bool = False
    is_shielded: bool = False
    suspension: Suspend | None = None


@dataclass(slots=True)
class CloseWaits:
    """Withdraw waits that the run gives up. Outcome: :class:`WaitsClosed`."""

    run_id: str
    epoch: int
    wait_ids: Sequence[str]
    child_ids: Sequence[str] = ()


@dataclass(slots=True)
class ExpireWaits:
    """End those waits of a running run whose limit has passed. Outcome: :class:`Fate`."""

    run_id: str
    epoch: int


@dataclass(slots=True)
class Suspend:
    """Every branch waits. ``due_at`` is the nearest limit. Outcome: :class:`Suspended`.

    One that ``is_in_doubt`` looks first: the journal may have ends of its waits that its process has not heard of.
    """

    run_id: str
    epoch: int
    due_at: datetime | None
    cancel_mode: CancelMode | None = None
    is_in_doubt: bool = False


@dataclass(slots=True)
class NoteProgress:
    """Show how far a run has come, as JSON text; a later word may take its place until it is committed.

    Outcome: :class:`Fate`.
    """

    run_id: str
    epoch: int
    progress: str


@dataclass(slots=True)
class FinishRun:
    """The run's code has ended, or the run is parked. Outcome: :class:`Finished`.

    ``continued`` is the run that goes on in its place.
    """

    run_id: str
    epoch: int
    state: RunState
    result: str | None = None
    error: str | None = None
    parent_id: str | None = None
    parent_wait: str | None = None
    has_open_waits: bool = False
    child_ids: Sequence[str] = ()
    continued: NewRun | None = None


@dataclass(slots=True)
class ReleaseRuns:
    """Give runs back so that anybody may go on with them: at shutdown, or because this process lost them.

    ``runs`` holds ``(run_id, epoch)``. Outcome: the number of runs released.
    """

    runs: Sequence[tuple[str, int]]


@dataclass(slots=True)
class EmitEvent:
    """Keep an event and deliver it to whoever waits. Outcome: :class:`Emitted`."""

    event: NewEvent


@dataclass(slots=True)
class DeliverEvents:
    """Number what callers' transactions have left, and match ``keys`` again. Outcome: how many were numbered."""

    keys: Sequence[str] = ()


@dataclass(slots=True)
class CancelRun:
    """Cancel a run and its linked children. Outcome: :class:`Cancelled`."""

    run_id: str
    reason: str | None
    by: str | None


@dataclass(slots=True)
class ClaimRuns:
    """Take runs that are due. Outcome: the number taken; the runs themselves are effects."""

    limit: int
    workflows: Sequence[str]
    is_isolated: bool = False


@dataclass(slots=True)
class TakeOver:
    """Make the runs of dead workers due again, or park those that keep killing. Outcome: the run ids."""

    dead_workers: Sequence[str]
    lease_seconds: float
    max_losses: int
    max_total_losses: int


@dataclass(slots=True)
class ParkUnknown:
    """Park runs of workflows that nobody here knows and nobody else took in time. Outcome: the run ids."""

    workflows: Sequence[str]
    grace_seconds: float


@dataclass(slots=True)
class FireSchedule:
    """Start the runs of the moments that have come, and move the schedule on to ``next_at``. Outcome: :class:`Fired`.

    It counts only while the schedule is as it was read: not paused, with this workflow and timing, waiting for
    ``due_at``. ``last_due_at`` is the moment that the last of ``runs`` is for. One that ``waits_its_turn`` starts
    nothing while the last run that the schedule has started is not over.
    """

    name: str
    workflow: str
    timing: str
    due_at: datetime
    next_at: datetime
    runs: Sequence[NewRun] = ()
    last_due_at: datetime | None = None
    waits_its_turn: bool = False


Operation = (
    StartRun
    | FireSchedule
    | RecordStep
    | OpenWait
    | CloseWaits
    | ExpireWaits
    | Suspend
    | NoteProgress
    | FinishRun
    | ReleaseRuns
    | EmitEvent
    | DeliverEvents
    | CancelRun
    | ClaimRuns
    | TakeOver
    | ParkUnknown
)
