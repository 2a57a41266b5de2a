"""Steps: the journal."""

from __future__ import annotations

from toolkit.storage import PAYLOAD, Statement, insert
from toolkit.workflows.statements.columns import STEP_COLUMNS

STEPS_OF_RUNS = Statement(
    "steps of runs",
    sqlite=f"""SELECT {STEP_COLUMNS} FROM toolkit_step
               WHERE run_id IN (SELECT value FROM json_each(?1)) ORDER BY run_id, ended_at, path""",  # noqa: S608
    postgresql=f"""SELECT {STEP_COLUMNS} FROM toolkit_step
                   WHERE run_id = ANY($1::text[]) ORDER BY run_id, ended_at, path""",  # noqa: S608
)

# By run and path: SQLite takes a list of pairs, PostgreSQL two lists.
STEPS_AT = Statement(
    "steps at",
    sqlite=f"""SELECT {STEP_COLUMNS} FROM (SELECT json_extract(value, '$[0]') AS k_run,
               json_extract(value, '$[1]') AS k_path FROM json_each(?1)) CROSS JOIN toolkit_step
               ON run_id = k_run AND path = k_path""",  # noqa: S608
    postgresql=f"""SELECT {STEP_COLUMNS} FROM toolkit_step
                   WHERE (run_id, path) IN (SELECT * FROM unnest($1::text[], $2::text[]))""",  # noqa: S608
)

# Written once; only what is not yet final may be written over (a long step shown early, a failure inside a step).
STEP_TYPES = {
    "run_id": "text",
    "path": "text",
    "name": "text",
    "kind": "text",
    "state": "text",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "arguments": PAYLOAD,
    "result": PAYLOAD,
    "error": PAYLOAD,
    "details": PAYLOAD,
    "display_name": PAYLOAD,
    "attempts": "int",
    "epoch": "int",
    "event_seq": "bigint",
}

KEEP_WHAT_SUCCEEDED = (
    "ON CONFLICT (run_id, path) DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at, "
    "result = excluded.result, error = excluded.error, details = excluded.details, attempts = excluded.attempts, "
    "epoch = excluded.epoch WHERE toolkit_step.state <> 'succeeded' "
    "AND (excluded.state <> 'running' OR toolkit_step.state = 'running')"
)

INSERT_STEPS = insert("toolkit_step", STEP_TYPES, on_conflict=KEEP_WHAT_SUCCEEDED)
