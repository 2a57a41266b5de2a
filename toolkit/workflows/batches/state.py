"""What one batch knows: its operations, the rows it has locked, what it will write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from toolkit.storage import read_moment
from toolkit.workflows.operations import AttachedRows, NewEvent, NewRun, Operation, StepRecord, WaitRecord
from toolkit.workflows.outcomes import Effects
from toolkit.workflows.states import RunState, WaitState

# Ends the wait of a kind in the kind's own tables: rows of (reference, wait state, moment) -> what to write.
Closer = Callable[[Sequence[tuple[str, str, datetime]]], Sequence[AttachedRows]]


_STATES = {state.value: state for state in RunState}  # looking one up takes a tenth of what calling the enum does


@dataclass(slots=True)
class LockedRun:
    """A locked run; what is changed here is written at the end."""

    id: str
    workflow: str
    version: str | None
    state: RunState
    epoch: int
    worker_id: str | None
    warm_worker: str | None
    due_at: datetime | None
    losses: int
    total_losses: int
    parent_id: str | None
    parent_wait: str | None
    is_cancel_requested: bool
    is_paused: bool
    close_policy: str | None = None
    cancel_mode: str | None = None
    on_cancel: str | None = None
    continued_as: str | None = None
    is_watched: bool = False
    is_changed: bool = False
    is_delivered: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel: tuple[datetime, str | None, str | None] | None = None
    result: str | None = None
    error: str | None = None


@dataclass(slots=True)
class Worker:
    """Who commits: its id, how many more runs it may take, and the ways in which kinds end their waits.

    ``rooms`` says how many more it may take of each workflow that has a limit of its own. Unless it ``is_taking`` it
    takes none. It ``is_far`` from its database where each statement is a journey to a server.
    """

    id: str
    room: int
    closers: Mapping[str, Closer]
    new_id: Callable[[], str]
    rooms: Mapping[str, int] = field(default_factory=dict)
    is_taking: bool = True
    is_far: bool = False


class BatchState:
    """The state that the parts of a batch share; each part is a class of its own below."""

    def __init__(self, operations: Sequence[Operation], *, worker: Worker) -> None:
        self.operations = operations
        self.worker = worker
        self.room = worker.room
        self.rooms = dict(worker.rooms)
        self.outcomes: list[Any] = [None] * len(operations)
        self.effects = Effects()
        self.runs: dict[str, LockedRun] = {}
        self.by_type: dict[type, list[tuple[int, Any]]] = {}
        for at, operation in enumerate(operations):
            self.by_type.setdefault(type(operation), []).append((at, operation))
        self.held: set[str] = set()  # locked keys
        self.left: list[tuple[str, str, str | None, str | None, str | None]] = []  # events to number
        self.broadcast: set[str] = set()
        self.families: dict[str, list[str]] = {}
        self.guardians: dict[str, list[str]] = {}  # the runs that wait for members of a family
        self.fresh_waits: dict[str, WaitRecord] = {}  # opened by this batch
        self.new_runs: list[tuple[NewRun, RunState, int, str | None, datetime | None]] = []
        self.new_steps: list[StepRecord] = []
        self.new_events: list[tuple[NewEvent, int]] = []
        self.numbered: list[tuple[str, int]] = []
        self.asked_for: dict[str, list[tuple[int, str | None, str | None]]] = {}  # on record for who is about to wait
        self.last_numbers: dict[str, int] = {}  # of keys, before what is new
        self.cursors: dict[str, int] = {}
        self.attached: list[AttachedRows] = []
        self.closed: list[tuple[WaitRecord, WaitState]] = []
        self.ended: set[str] = set()  # the ids of the closed waits
        self.opened: dict[str, int] = {}  # where among the operations a fresh wait was asked for
        self.cancelled: list[LockedRun] = []  # that have a clean-up of their own
        self.watched: dict[str, bool] = {}  # new runs whose end somebody awaits
        self.retargeted: list[tuple[str, str]] = []
        self.progress: dict[str, str] = {}
        self.endings: list[tuple[str, str]] = []  # of watched runs: (key, what became of the run)

    @property
    def now(self) -> datetime:
        assert self.effects.now is not None
        return self.effects.now

    def _each(self, kind: type) -> Iterable[tuple[int, Any]]:
        """The operations of one type that have no outcome yet."""
        of_kind = self.by_type.get(kind)
        if of_kind is None:  # most batches hold two or three of the types
            return ()
        return [(at, operation) for at, operation in of_kind if self.outcomes[at] is None]

    def _hold_all(self, rows: Iterable[Sequence[Any]]) -> set[str]:
        """Hold the runs of a statement that locks runs; the ids of all that it met, those locked elsewhere too."""
        met = set()
        for _, id_, *row in rows:
            if id_ is not None:
                met.add(id_)
            if row[0] is not None:
                self._hold(row)
        return met

    def _hold(self, row: Sequence[Any]) -> None:
        self.runs[row[0]] = LockedRun(
            id=row[0],
            workflow=row[1],
            version=row[2],
            state=_STATES[row[3]],
            epoch=row[4],
            worker_id=row[5],
            warm_worker=row[6],
            due_at=read_moment(row[7]),
            losses=row[8],
            total_losses=row[9],
            parent_id=row[10],
            parent_wait=row[11],
            is_cancel_requested=row[12] is not None,
            is_paused=row[13] is not None,
            close_policy=row[14],
            cancel_mode=row[15],
            on_cancel=row[16],
            continued_as=row[17],
            is_watched=bool(row[18]),
        )

    def _take_room(self, workflow: str) -> None:
        """One run more is advanced here."""
        self.room -= 1
        if workflow in self.rooms:
            self.rooms[workflow] -= 1

    def _fenced(self, run_id: str, epoch: int) -> LockedRun | None:
        """The run, if it is ours in this epoch."""
        run = self.runs.get(run_id)
        if run is None or run.state is not RunState.RUNNING or run.epoch != epoch:
            return None
        return run if run.worker_id == self.worker.id else None

    def _suspended(self, run_id: str, epoch: int) -> LockedRun | None:
        """The run, if it waits and its copy here is still the latest."""
        run = self.runs.get(run_id)
        is_latest = run is not None and run.epoch == epoch and run.warm_worker == self.worker.id
        return run if is_latest and run is not None and run.state is RunState.SUSPENDED else None
