"""The states of runs, steps and waits, and the moves between them."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """Where a run stands. ``succeeded``, ``failed`` and ``cancelled`` are final: such a run is never changed."""

    PENDING = "pending"  # due, or due later, and in nobody's memory
    RUNNING = "running"  # a worker advances it, under a lease
    SUSPENDED = "suspended"  # every branch waits; a row, and perhaps a warm coroutine
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PARKED = "parked"  # needs an operator; it keeps its journal and its waits

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})

MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset({RunState.RUNNING, RunState.CANCELLED, RunState.PARKED}),
    RunState.RUNNING: frozenset({RunState.PENDING, RunState.SUSPENDED, RunState.PARKED}) | FINAL,
    RunState.SUSPENDED: frozenset({RunState.RUNNING, RunState.PENDING, RunState.CANCELLED, RunState.PARKED}),
    RunState.PARKED: frozenset({RunState.PENDING, RunState.CANCELLED}),
    **dict.fromkeys(FINAL, frozenset[RunState]()),
}


class ClosePolicy(StrEnum):
    """What becomes of a child that still goes on when the run above it ends or is cancelled."""

    CANCEL = "cancel"  # it is cancelled with it
    REQUEST = "request"  # it is asked to stop: its code is woken to unwind even if it only waits
    ABANDON = "abandon"  # it goes on by itself


class CancelMode(StrEnum):
    """What a cancel does to a run that nobody advances; without a mode such a run ends at once."""

    UNWIND = "unwind"  # its code is woken, to undo what it has done
    SHIELDED = "shielded"  # it stands in a section that is run to its end first


class StepState(StrEnum):
    """What became of a step."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class WaitState(StrEnum):
    """What became of a wait; it leaves ``open`` once, by compare-and-set."""

    OPEN = "open"
    RESOLVED = "resolved"  # answered in a caller's transaction; the engine delivers it next
    DELIVERED = "delivered"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"  # the run no longer asks
    CANCELLED = "cancelled"  # the run was cancelled


class StepKind(StrEnum):
    """What a step is; a kind above the engine brings its own word."""

    COMPUTE = "compute"
    AGENT = "agent"
    MODEL_CALL = "model_call"
    TOOL_CALL = "tool_call"
    RULE = "rule"
    HUMAN = "human"
    WAIT = "wait"
    TIMER = "timer"
    CHILD = "child"
    MESSAGE = "message"
