"""What became of operations, and what a batch of them did beyond that."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from toolkit.workflows.operations import StepRecord, WaitRecord
from toolkit.workflows.states import RunState


class Fate(Enum):
    """What became of a fenced operation."""

    KEPT = "kept"
    LOST = "lost"  # the epoch has moved on: another process owns the run, and nothing was written
    CANCELLED = "cancelled"  # a cancel is under way, so nothing new begins


@dataclass(slots=True)
class Started:
    """``run_id`` is the new run, or the one that the idempotency key had started before."""

    run_id: str
    is_new: bool
    input_digest: str


@dataclass(slots=True)
class Fired:
    """``fate`` is lost when somebody else has moved the schedule, or has it; ``is_skipped``: its last run goes on."""

    fate: Fate
    is_skipped: bool = False


@dataclass(slots=True)
class Emitted:
    """``is_new`` is false when the idempotency key had been used; ``is_same`` then compares the payloads."""

    is_new: bool
    is_same: bool


@dataclass(slots=True)
class Recorded:
    fate: Fate
    is_cancel_requested: bool = False
    started: Started | None = None


@dataclass(slots=True)
class WaitOpened:
    """``record`` is there when the wait was over before it began; ``wait`` is the one on record otherwise."""

    fate: Fate
    record: StepRecord | None = None
    wait: WaitRecord | None = None
    is_suspended: bool = False


@dataclass(slots=True)
class WaitsClosed:
    """``are_all`` is false when one of them had ended before: its end is in the journal."""

    fate: Fate
    are_all: bool = True


@dataclass(slots=True)
class Suspended:
    """``is_suspended`` is false when something was delivered meanwhile; ``must_read``: what, only the journal knows."""

    fate: Fate
    is_suspended: bool = False
    must_read: bool = False
    is_cancel_requested: bool = False


@dataclass(slots=True)
class Finished:
    """``state`` is what the run became: a cancel that came first wins over a result."""

    fate: Fate
    state: RunState | None = None


@dataclass(slots=True)
class Cancelled:
    """``state`` after the request: ``cancelled``, ``running`` when its owner unwinds it, or the final state it had."""

    state: RunState | None
    was_final: bool = False
    continued_as: str | None = None


@dataclass(slots=True)
class ClaimedRun:
    """A run that this process owns now. ``prior_epoch`` is what a warm copy must have to go on."""

    id: str
    workflow: str
    input: str
    epoch: int
    prior_epoch: int
    prior_state: RunState
    version: str | None
    parent_id: str | None
    parent_wait: str | None
    started_by: str | None
    created_at: datetime
    losses: int = 0
    is_cancel_requested: bool = False
    is_fork: bool = False  # the results that were copied into it hold, whatever its arguments are
    key_run_id: str | None = None  # of a retry: the run whose idempotency keys its steps go on with
    is_untouched: bool = False  # nobody has had it before, and nothing was copied into it
    priority: int = 0
    deadline_at: datetime | None = None
    originators: str | None = None  # who started the runs that it was made of, as JSON

    @property
    def starters(self) -> dict[str, Any]:
        """What a run that this one starts has of it: in whose name."""
        return {"started_by": self.started_by, "originators": self.originators}


class EndedRun(NamedTuple):
    """A run that a batch ended or parked."""

    id: str
    state: RunState
    result: str | None
    error: str | None
    continued_as: str | None = None


@dataclass(slots=True)
class Effects:
    """What a batch did beyond the outcomes of its operations; applied before anybody hears of an outcome."""

    now: datetime | None = None
    started: list[ClaimedRun] = field(default_factory=list)  # new runs that are ours from the beginning
    claimed: list[ClaimedRun] = field(default_factory=list)
    woken: list[tuple[str, int, int]] = field(default_factory=list)  # warm here: (run, prior epoch, new epoch)
    delivered: list[StepRecord] = field(default_factory=list)  # to runs that are ours
    cancel_requested: list[str] = field(default_factory=list)  # runs of ours
    ended: list[EndedRun] = field(default_factory=list)
    unmatched: set[str] = field(default_factory=set)  # event keys to look at again: a run was locked elsewhere
    has_due_runs: bool = False  # something became due that this batch did not take
    must_notify: bool = False  # another process has something to do
