"""Runs: looking at them and writing them."""

from __future__ import annotations

from toolkit.storage import PAYLOAD, Statement, both, for_rows, insert, update

EXISTING_RUNS = Statement(
    "existing runs",
    sqlite="SELECT id FROM toolkit_run WHERE id IN (SELECT value FROM json_each(?1))",
    postgresql="SELECT id FROM toolkit_run WHERE id = ANY($1::text[])",
)

# A run, everything below it that does not go on by itself, whatever these went on as, and the runs that wait for them.
FAMILIES = Statement(
    "families",
    sqlite="""WITH RECURSIVE family(root, id) AS (
                  SELECT value, value FROM json_each(?1)
                  UNION SELECT family.root, toolkit_run.id FROM family JOIN toolkit_run
                  ON toolkit_run.continued_from = family.id
                  OR (toolkit_run.parent_id = family.id AND toolkit_run.close_policy IS NOT 'abandon'))
              SELECT family.root, family.id, toolkit_run.parent_id
              FROM family JOIN toolkit_run ON toolkit_run.id = family.id""",
    postgresql="""WITH RECURSIVE family(root, id) AS (
                      SELECT id, id FROM unnest($1::text[]) AS id
                      UNION SELECT family.root, toolkit_run.id FROM family JOIN toolkit_run
                      ON toolkit_run.continued_from = family.id
                      OR (toolkit_run.parent_id = family.id AND toolkit_run.close_policy IS DISTINCT FROM 'abandon'))
                  SELECT family.root, family.id, toolkit_run.parent_id
                  FROM family JOIN toolkit_run ON toolkit_run.id = family.id""",
)

FIND_KEYED = for_rows(
    "find keyed",
    {"workflow": "text", "key": "text"},
    sqlite="""SELECT workflow, idempotency_key, id, input_digest FROM toolkit_run
              WHERE workflow = ?1 AND idempotency_key = ?2""",
    postgresql="""SELECT r.workflow, r.idempotency_key, r.id, r.input_digest FROM toolkit_run AS r
                  JOIN ROWS AS v ON r.workflow = v.workflow AND r.idempotency_key = v.key""",
)

# What a run went on as, and so on, to the last.
CONTINUATIONS = Statement(
    "continuations",
    sqlite="""WITH RECURSIVE chain(root, id) AS (
                  SELECT value, value FROM json_each(?1)
                  UNION SELECT chain.root, toolkit_run.continued_as FROM chain JOIN toolkit_run
                  ON toolkit_run.id = chain.id WHERE toolkit_run.continued_as IS NOT NULL)
              SELECT chain.root, chain.id FROM chain JOIN toolkit_run ON toolkit_run.id = chain.id
              WHERE toolkit_run.continued_as IS NULL""",
    postgresql="""WITH RECURSIVE chain(root, id) AS (
                      SELECT id, id FROM unnest($1::text[]) AS id
                      UNION SELECT chain.root, toolkit_run.continued_as FROM chain JOIN toolkit_run
                      ON toolkit_run.id = chain.id WHERE toolkit_run.continued_as IS NOT NULL)
                  SELECT chain.root, chain.id FROM chain JOIN toolkit_run ON toolkit_run.id = chain.id
                  WHERE toolkit_run.continued_as IS NULL""",
)

# What the clean-up of a cancelled run is told of it.
CANCELLED_RUNS = Statement(
    "cancelled runs",
    sqlite="""SELECT id, workflow, input, cancel_reason, cancelled_by FROM toolkit_run
              WHERE id IN (SELECT value FROM json_each(?1))""",
    postgresql="""SELECT id, workflow, input, cancel_reason, cancelled_by FROM toolkit_run
                  WHERE id = ANY($1::text[])""",
)

# Runs whose time is up, and the moment at which the next one's is.
OVERDUE_RUNS = Statement(
    "overdue runs",
    sqlite="""SELECT id, deadline_at FROM toolkit_run WHERE deadline_at IS NOT NULL AND finished_at IS NULL
              AND cancel_requested_at IS NULL ORDER BY deadline_at LIMIT 100""",
    postgresql="""SELECT id, deadline_at FROM toolkit_run WHERE deadline_at IS NOT NULL AND finished_at IS NULL
                  AND cancel_requested_at IS NULL ORDER BY deadline_at LIMIT 100""",
)

RUN_STATES = Statement(
    "run states",
    sqlite="""SELECT id, state, result, error, continued_as FROM toolkit_run
              WHERE id IN (SELECT value FROM json_each(?1))""",
    postgresql="SELECT id, state, result, error, continued_as FROM toolkit_run WHERE id = ANY($1::text[])",
)

# Before a deploy: everything that has not ended, oldest first.
LIVE_RUNS = both(
    "live runs",
    """SELECT id FROM toolkit_run WHERE state IN ('pending', 'running', 'suspended', 'parked') AND id > $1
       ORDER BY id LIMIT $2""",
)

RUN_TYPES = {
    "id": "text",
    "workflow": "text",
    "version": "text",
    "state": "text",
    "input": PAYLOAD,
    "input_digest": "text",
    "priority": "int",
    "epoch": "int",
    "worker_id": "text",
    "due_at": "timestamptz",
    "losses": "int",
    "total_losses": "int",
    "idempotency_key": "text",
    "parent_id": "text",
    "parent_wait": "text",
    "started_by": "text",
    "created_at": "timestamptz",
    "started_at": "timestamptz",
    "deadline_at": "timestamptz",
    "close_policy": "text",
    "on_cancel": "text",
    "continued_from": "text",
    "is_watched": "boolean",
    "originators": "text",
}

INSERT_RUNS = insert("toolkit_run", RUN_TYPES)

UPDATE_RUNS = update(
    "toolkit_run",
    {
        "id": "text",
        "state": "text",
        "epoch": "int",
        "worker_id": "text",
        "warm_worker": "text",
        "due_at": "timestamptz",
        "losses": "int",
        "total_losses": "int",
        "started_at": "timestamptz",
        "finished_at": "timestamptz",
        "cancel_requested_at": "timestamptz",
        "cancel_reason": "text",
        "cancelled_by": "text",
        "result": PAYLOAD,
        "error": PAYLOAD,
        "cancel_mode": "text",
        "continued_as": "text",
        "is_watched": "boolean",
        "error_summary": "text",
    },
    assign=(
        "state = v.state, epoch = v.epoch, worker_id = v.worker_id, warm_worker = v.warm_worker, due_at = v.due_at, "
        "losses = v.losses, total_losses = v.total_losses, started_at = coalesce(t.started_at, v.started_at), "
        "finished_at = v.finished_at, cancel_requested_at = coalesce(t.cancel_requested_at, v.cancel_requested_at), "
        "cancel_reason = coalesce(t.cancel_reason, v.cancel_reason), "
        "cancelled_by = coalesce(t.cancelled_by, v.cancelled_by), "
        "result = coalesce(v.result, t.result), error = coalesce(v.error, t.error), cancel_mode = v.cancel_mode, "
        "continued_as = v.continued_as, is_watched = v.is_watched, "
        "error_summary = coalesce(v.error_summary, t.error_summary)"
    ),
    where="t.id = v.id",
)

INHERIT_PAUSE = update(
    "toolkit_run",
    {"source": "text", "id": "text"},
    assign=(
        "paused_at = (SELECT paused_at FROM toolkit_run WHERE id = v.source), "
        "paused_by = (SELECT paused_by FROM toolkit_run WHERE id = v.source)"
    ),
    where="t.id = v.id",
    name="inherit pause",
)

SHOW_PROGRESS = update(
    "toolkit_run",
    {"id": "text", "progress": PAYLOAD},
    assign="progress = v.progress",
    where="t.id = v.id",
    name="show progress",
)
