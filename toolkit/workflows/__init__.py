"""The durable engine: ordinary async functions that survive crashes. It knows no kind of step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.workflows.attributes import Attribute, add_tags, check_attributes, remove_tags, set_attributes
from toolkit.workflows.batches import Closer
from toolkit.workflows.branches import gather, race, timeout, wait_any
from toolkit.workflows.calls import Checkpoint, checkpoint, run_step
from toolkit.workflows.cancellations import check_cancellation, compensation, shield
from toolkit.workflows.continuations import continue_as_new
from toolkit.workflows.control import BulkAction, BulkJob, BulkOutcome, Forked, RunControl, Standing
from toolkit.workflows.current import RunContext, current_engine, current_run, resource, using_engine
from toolkit.workflows.definitions import (
    CancelledRun,
    ConfiguredWorkflow,
    RunHandle,
    Workflow,
    wait_for_completion,
    workflow,
)
from toolkit.workflows.engine import Engine
from toolkit.workflows.failures import RunCancelled, tells_of
from toolkit.workflows.groups import First
from toolkit.workflows.keys import OwnKey, check_idempotency_key
from toolkit.workflows.operations import AttachedRows, StepRecord
from toolkit.workflows.options import EngineOptions
from toolkit.workflows.patches import patched
from toolkit.workflows.polling import poll_until
from toolkit.workflows.progress import heartbeat, message, set_progress
from toolkit.workflows.queries import OpenWaitSummary, RunDetail, RunSummary
from toolkit.workflows.retries import RetryPolicy
from toolkit.workflows.runtime import Runtime
from toolkit.workflows.schedule_control import ScheduleControl
from toolkit.workflows.schedules import Schedule, ScheduleSummary
from toolkit.workflows.scopes import StepContext, step_context
from toolkit.workflows.searches import RunFilter
from toolkit.workflows.states import ClosePolicy, RunState, StepKind, StepState, WaitState
from toolkit.workflows.steps import Step, step
from toolkit.workflows.upcasters import Upcaster
from toolkit.workflows.values import now, random, uuid4
from toolkit.workflows.waits import WaitOutcome, emit_event, next_wait_id, suspend, wait_for, wait_for_event

if TYPE_CHECKING:
    from toolkit.workflows.replays import RecordedRun, Replay, check_live_runs, read_run, replay
    from toolkit.workflows.sessions import get_session, resolve_wait
    from toolkit.workflows.starts import start_in, start_on

__all__ = [
    "AttachedRows",
    "Attribute",
    "BulkAction",
    "BulkJob",
    "BulkOutcome",
    "CancelledRun",
    "Checkpoint",
    "ClosePolicy",
    "Closer",
    "ConfiguredWorkflow",
    "Engine",
    "EngineOptions",
    "First",
    "Forked",
    "OpenWaitSummary",
    "OwnKey",
    "RecordedRun",
    "Replay",
    "RetryPolicy",
    "RunCancelled",
    "RunContext",
    "RunControl",
    "RunDetail",
    "RunFilter",
    "RunHandle",
    "RunState",
    "RunSummary",
    "Runtime",
    "Schedule",
    "ScheduleControl",
    "ScheduleSummary",
    "Standing",
    "Step",
    "StepContext",
    "StepKind",
    "StepRecord",
    "StepState",
    "Upcaster",
    "WaitOutcome",
    "WaitState",
    "Workflow",
    "add_tags",
    "check_attributes",
    "check_cancellation",
    "check_idempotency_key",
    "check_live_runs",
    "checkpoint",
    "compensation",
    "continue_as_new",
    "current_engine",
    "current_run",
    "emit_event",
    "gather",
    "get_session",
    "heartbeat",
    "message",
    "next_wait_id",
    "now",
    "patched",
    "poll_until",
    "race",
    "random",
    "read_run",
    "remove_tags",
    "replay",
    "resolve_wait",
    "resource",
    "run_step",
    "set_attributes",
    "set_progress",
    "shield",
    "start_in",
    "start_on",
    "step",
    "step_context",
    "suspend",
    "tells_of",
    "timeout",
    "using_engine",
    "uuid4",
    "wait_any",
    "wait_for",
    "wait_for_completion",
    "wait_for_event",
    "workflow",
]


def __getattr__(name: str) -> Any:
    """Sessions need SQLAlchemy, which a run without them does not: load it when it is asked for."""
    if name in {"get_session", "resolve_wait"}:
        from toolkit.workflows import sessions

        return getattr(sessions, name)
    if name in {"start_in", "start_on"}:
        from toolkit.workflows import starts

        return getattr(starts, name)
    if name in {"RecordedRun", "Replay", "check_live_runs", "read_run", "replay"}:  # a run that goes on needs none
        from toolkit.workflows import replays

        return getattr(replays, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
