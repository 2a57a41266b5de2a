"""The durable engine: ordinary async functions that survive crashes. It knows no kind of step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.workflows.batches import Closer
from toolkit.workflows.branches import gather
from toolkit.workflows.calls import Checkpoint, checkpoint, run_step
from toolkit.workflows.current import RunContext, current_engine, current_run, resource, using_engine
from toolkit.workflows.definitions import RunHandle, Workflow, workflow
from toolkit.workflows.engine import Engine, EngineOptions
from toolkit.workflows.failures import RunCancelled
from toolkit.workflows.operations import AttachedRows, StepRecord
from toolkit.workflows.queries import OpenWaitSummary, RunDetail, RunSummary
from toolkit.workflows.retries import RetryPolicy
from toolkit.workflows.runtime import Runtime
from toolkit.workflows.scopes import StepContext, step_context
from toolkit.workflows.states import RunState, StepKind, StepState, WaitState
from toolkit.workflows.steps import Step, step
from toolkit.workflows.values import now, random, uuid4
from toolkit.workflows.waits import WaitOutcome, emit_event, next_wait_id, suspend, wait_for, wait_for_event

if TYPE_CHECKING:
    from toolkit.workflows.sessions import get_session, resolve_wait

__all__ = [
    "AttachedRows",
    "Checkpoint",
    "Closer",
    "Engine",
    "EngineOptions",
    "OpenWaitSummary",
    "RetryPolicy",
    "RunCancelled",
    "RunContext",
    "RunDetail",
    "RunHandle",
    "RunState",
    "RunSummary",
    "Runtime",
    "Step",
    "StepContext",
    "StepKind",
    "StepRecord",
    "StepState",
    "WaitOutcome",
    "WaitState",
    "Workflow",
    "checkpoint",
    "current_engine",
    "current_run",
    "emit_event",
    "gather",
    "get_session",
    "next_wait_id",
    "now",
    "random",
    "resolve_wait",
    "resource",
    "run_step",
    "step",
    "step_context",
    "suspend",
    "using_engine",
    "uuid4",
    "wait_for",
    "wait_for_event",
    "workflow",
]


def __getattr__(name: str) -> Any:
    """Sessions need SQLAlchemy, which a run without them does not: load it when it is asked for."""
    if name in {"get_session", "resolve_wait"}:
        from toolkit.workflows import sessions

        return getattr(sessions, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
