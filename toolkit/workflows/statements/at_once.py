"""What needs no decision, in one statement: see :mod:`toolkit.workflows.batches.at_once`."""

from __future__ import annotations

from toolkit.storage import PAYLOAD, Statement, for_rows, update
from toolkit.workflows.statements.columns import STEP_COLUMNS
from toolkit.workflows.statements.runs import INSERT_RUNS, RUN_TYPES, UPDATE_RUNS
from toolkit.workflows.statements.steps import INSERT_STEPS, KEEP_WHAT_SUCCEEDED, STEP_TYPES

# Runs that begin where they are started, in one statement; the moment is the server's where none is given.
_RUN_COLUMNS_NOW = ", ".join(
    f"coalesce({name}, now)" if name in {"created_at", "started_at"} else name for name in RUN_TYPES
)

START_AT_ONCE = for_rows(
    INSERT_RUNS.name,
    RUN_TYPES,
    sqlite=f"{INSERT_RUNS.sqlite} RETURNING created_at",
    postgresql=f"""INSERT INTO toolkit_run ({", ".join(RUN_TYPES)})
                   SELECT {_RUN_COLUMNS_NOW} FROM (SELECT clock_timestamp() AS now) AS c
                   CROSS JOIN ROWS AS v RETURNING created_at""",  # noqa: S608
)

# Checkpoints and nothing else, in one statement: all of them, if every run is locked here, ours and as we know it, and
# otherwise none. What must hold of a run is asked of the row as it is locked, which is the latest whatever the rest of
# the statement sees; then counting is enough. PostgreSQL plans for a few rows here: a join of what was asked for with
# what is there would compare each of a thousand with each, and so would a look by more than the id, by another index.
RECORD_AT_ONCE = for_rows(
    INSERT_STEPS.name,
    {**STEP_TYPES, "worker_id": "text"},
    sqlite=f"""INSERT INTO toolkit_step ({STEP_COLUMNS}) SELECT {", ".join(f"?{at}" for at in range(1, 16))}
               WHERE EXISTS (SELECT 1 FROM toolkit_run WHERE id = ?1 AND epoch = ?14 AND worker_id = ?16
                             AND state = 'running' AND losses = 0 AND cancel_requested_at IS NULL)
               {KEEP_WHAT_SUCCEEDED} RETURNING run_id, FALSE""",  # noqa: S608
    postgresql=f"""WITH v AS MATERIALIZED (SELECT * FROM ROWS AS v),
                   k AS MATERIALIZED (SELECT DISTINCT run_id, epoch, worker_id FROM v ORDER BY run_id),
                   locked AS MATERIALIZED (
                       SELECT r.id, r.cancel_requested_at IS NOT NULL AS is_cancelled,
                              r.epoch = k.epoch AND r.worker_id = k.worker_id AND r.state = 'running'
                              AND r.losses = 0 AS is_as_known
                       FROM k CROSS JOIN LATERAL (
                           SELECT id, epoch, worker_id, state, losses, cancel_requested_at FROM toolkit_run
                           WHERE id = k.run_id FOR NO KEY UPDATE SKIP LOCKED) AS r),
                   fit AS MATERIALIZED (SELECT (SELECT count(*) FROM locked WHERE is_as_known)
                                               = (SELECT count(*) FROM k) AS all_of_them),
                   kept AS (
                       INSERT INTO toolkit_step ({STEP_COLUMNS})
                       SELECT {STEP_COLUMNS} FROM v WHERE (SELECT all_of_them FROM fit) {KEEP_WHAT_SUCCEEDED})
                   SELECT id, is_cancelled FROM locked WHERE (SELECT all_of_them FROM fit)""",  # noqa: S608
    # The same without what only several need, which would take a tenth of a millisecond.
    postgresql_lone=f"""WITH locked AS MATERIALIZED (
                            SELECT epoch, worker_id, state, losses, cancel_requested_at FROM toolkit_run
                            WHERE id = $1::text FOR NO KEY UPDATE SKIP LOCKED),
                        fit AS MATERIALIZED (
                            SELECT cancel_requested_at IS NOT NULL AS is_cancelled FROM locked
                            WHERE epoch = $14::int AND worker_id = $16::text AND state = 'running' AND losses = 0),
                        kept AS (
                            INSERT INTO toolkit_step ({STEP_COLUMNS})
                            SELECT {STEP_COLUMNS} FROM (VALUES (VALUES_OF_V)) AS v({STEP_COLUMNS}, worker_id), fit
                            {KEEP_WHAT_SUCCEEDED})
                        SELECT $1::text, is_cancelled FROM fit""",  # noqa: S608
)


def _change_at_once(columns: dict[str, str], *, assign: str, as_known: str) -> Statement:
    """Change runs in one statement: all of them, if each is locked here, ours and ``as_known``, and otherwise none.

    ``columns`` are those of the values, after id, epoch and worker; ``{now}`` in ``assign`` is the value ``now``, or
    the server's moment where that is null. What must hold of a run is asked of its row as it is locked.
    """
    columns = {"id": "text", "epoch": "int", "worker_id": "text", **columns}
    own_time, any_time = assign.format(now="v.now"), assign.format(now="coalesce(v.now, clock_timestamp())")
    fence = f"t.epoch = v.epoch AND t.worker_id = v.worker_id AND {as_known}"
    look = f"""SELECT epoch = v.epoch AND worker_id = v.worker_id AND {as_known} AS is_as_known
               FROM toolkit_run WHERE id = v.id FOR NO KEY UPDATE SKIP LOCKED"""  # noqa: S608
    return for_rows(
        UPDATE_RUNS.name,
        columns,
        sqlite=update(
            "toolkit_run", columns, assign=own_time, where=f"t.id = v.id AND {fence}", returning="t.id"
        ).sqlite,
        postgresql=f"""WITH v AS MATERIALIZED (SELECT * FROM ROWS AS v ORDER BY id),
                       locked AS MATERIALIZED (SELECT r.is_as_known FROM v CROSS JOIN LATERAL ({look}) AS r)
                       UPDATE toolkit_run AS t SET {any_time} FROM v WHERE t.id = v.id
                       AND (SELECT count(*) FROM locked WHERE is_as_known) = (SELECT count(*) FROM v)
                       RETURNING t.id""",  # noqa: S608
        postgresql_lone=f"""WITH v AS MATERIALIZED (SELECT * FROM (VALUES (VALUES_OF_V)) AS v({", ".join(columns)})),
                            locked AS MATERIALIZED (SELECT r.is_as_known FROM v CROSS JOIN LATERAL ({look}) AS r)
                            UPDATE toolkit_run AS t SET {any_time} FROM v, locked
                            WHERE t.id = v.id AND locked.is_as_known RETURNING t.id""",  # noqa: S608
    )


# Ends of runs that nothing else hangs on, and runs that go to wait and have heard of nothing meanwhile.
FINISH_AT_ONCE = _change_at_once(
    {"state": "text", "result": PAYLOAD, "error": PAYLOAD, "error_summary": "text", "now": "timestamptz"},
    assign=(
        "state = v.state, worker_id = NULL, warm_worker = NULL, due_at = NULL, result = coalesce(v.result, t.result), "
        "error = coalesce(v.error, t.error), error_summary = coalesce(v.error_summary, t.error_summary), "
        "finished_at = {now}"
    ),
    as_known=(
        "state = 'running' AND cancel_requested_at IS NULL AND parent_id IS NULL AND NOT coalesce(is_watched, FALSE)"
    ),
)

SUSPEND_AT_ONCE = _change_at_once(
    {"due_at": "timestamptz", "cancel_mode": "text"},
    assign=(
        "state = 'suspended', worker_id = NULL, warm_worker = v.worker_id, due_at = v.due_at, "
        "cancel_mode = v.cancel_mode"
    ),
    as_known="state = 'running' AND cancel_requested_at IS NULL AND due_at IS NULL",
)
