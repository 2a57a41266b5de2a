"""Columns, in the order in which the statements give them and the records take them."""

from __future__ import annotations

RUN_COLUMNS = (
    "id, workflow, version, state, epoch, worker_id, warm_worker, due_at, losses, total_losses, parent_id, "
    "parent_wait, cancel_requested_at, paused_at, close_policy, cancel_mode, on_cancel, continued_as, is_watched"
)

CLAIM_COLUMNS = (
    "id, workflow, input, epoch, state, version, parent_id, parent_wait, started_by, created_at, losses, "
    "cancel_requested_at, forked_from, key_run_id, continued_from, originators, priority, deadline_at"
)

WAIT_COLUMNS = (
    "id, run_id, path, name, kind, event_key, after_seq, deadline_at, reference, arguments, display_name, state, "
    "created_at"
)

STEP_COLUMNS = (
    "run_id, path, name, kind, state, started_at, ended_at, arguments, result, error, details, display_name, attempts, "
    "epoch, event_seq"
)

# The code that a run began with: the workflow's name, and its version if it has one.
WORKFLOW_KEY = "workflow || coalesce(' ' || version, '')"
