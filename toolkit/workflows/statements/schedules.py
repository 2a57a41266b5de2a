"""Schedules: which moments are due, and the one transaction that starts a run and moves a schedule on."""

from __future__ import annotations

from toolkit.storage import Statement, both, for_rows, update

NOW = Statement("now", sqlite="SELECT ?1", postgresql="SELECT coalesce($1::timestamptz, clock_timestamp())")

# A look: what is paused is not looked for, and neither is what this process has no code for.
SCHEDULES_TO_FIRE = Statement(
    "schedules to fire",
    sqlite="""SELECT name, workflow, timing, due_at, ?2 FROM toolkit_schedule
              WHERE name IN (SELECT value FROM json_each(?1)) AND paused_at IS NULL ORDER BY name""",
    postgresql="""SELECT name, workflow, timing, due_at, coalesce($2::timestamptz, clock_timestamp())
                  FROM toolkit_schedule WHERE name = ANY($1::text[]) AND paused_at IS NULL ORDER BY name""",
)

# Never waited for: who has it fires it, or changes it, and either way there is nothing left to do for us.
LOCK_SCHEDULES = Statement(
    "lock schedules",
    sqlite="""SELECT name, workflow, timing, due_at, last_run_id FROM toolkit_schedule
              WHERE name IN (SELECT value FROM json_each(?1)) AND paused_at IS NULL""",
    postgresql="""SELECT name, workflow, timing, due_at, last_run_id FROM toolkit_schedule
                  WHERE name = ANY($1::text[]) AND paused_at IS NULL ORDER BY name
                  FOR NO KEY UPDATE SKIP LOCKED""",
)

MOVE_SCHEDULES = update(
    "toolkit_schedule",
    {"name": "text", "due_at": "timestamptz", "last_due_at": "timestamptz", "last_run_id": "text"},
    assign=(
        "due_at = v.due_at, last_due_at = coalesce(v.last_due_at, t.last_due_at), "
        "last_run_id = coalesce(v.last_run_id, t.last_run_id)"
    ),
    where="t.name = v.name",
    name="move schedules",
)

# Those of the runs that have not ended, or whose work goes on in a run that has not.
RUNS_NOT_OVER = Statement(
    "runs not over",
    sqlite="""WITH RECURSIVE chain(root, id) AS (
                  SELECT value, value FROM json_each(?1)
                  UNION SELECT chain.root, toolkit_run.continued_as FROM chain JOIN toolkit_run
                  ON toolkit_run.id = chain.id WHERE toolkit_run.continued_as IS NOT NULL)
              SELECT DISTINCT chain.root FROM chain JOIN toolkit_run ON toolkit_run.id = chain.id
              WHERE toolkit_run.finished_at IS NULL""",
    postgresql="""WITH RECURSIVE chain(root, id) AS (
                      SELECT id, id FROM unnest($1::text[]) AS id
                      UNION SELECT chain.root, toolkit_run.continued_as FROM chain JOIN toolkit_run
                      ON toolkit_run.id = chain.id WHERE toolkit_run.continued_as IS NOT NULL)
                  SELECT DISTINCT chain.root FROM chain JOIN toolkit_run ON toolkit_run.id = chain.id
                  WHERE toolkit_run.finished_at IS NULL""",
)

TIMINGS_OF_SCHEDULES = Statement(
    "timings of schedules",
    sqlite="SELECT name, workflow, timing FROM toolkit_schedule WHERE name IN (SELECT value FROM json_each(?1))",
    postgresql="SELECT name, workflow, timing FROM toolkit_schedule WHERE name = ANY($1::text[])",
)

# Of two processes that see a new schedule, or a new timing, one writes it; the other finds it as it would write it.
KEEP_SCHEDULES = for_rows(
    "keep schedules",
    {"name": "text", "workflow": "text", "timing": "text", "due_at": "timestamptz", "created_at": "timestamptz"},
    sqlite="""INSERT INTO toolkit_schedule (name, workflow, timing, due_at, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
              ON CONFLICT (name) DO UPDATE SET workflow = excluded.workflow, timing = excluded.timing,
              due_at = CASE WHEN toolkit_schedule.timing = excluded.timing THEN toolkit_schedule.due_at
                       ELSE excluded.due_at END""",
    postgresql="""INSERT INTO toolkit_schedule (name, workflow, timing, due_at, created_at) SELECT * FROM ROWS AS v
                  ON CONFLICT (name) DO UPDATE SET workflow = excluded.workflow, timing = excluded.timing,
                  due_at = CASE WHEN toolkit_schedule.timing = excluded.timing THEN toolkit_schedule.due_at
                           ELSE excluded.due_at END""",
)

_COLUMNS = "name, workflow, timing, due_at, last_due_at, last_run_id, paused_at, paused_by, created_at"

SCHEDULES = both("schedules", f"SELECT {_COLUMNS} FROM toolkit_schedule ORDER BY name")  # noqa: S608

SCHEDULE = both("schedule", f"SELECT {_COLUMNS} FROM toolkit_schedule WHERE name = $1")  # noqa: S608

PAUSE_SCHEDULE = Statement(
    "pause schedule",
    sqlite="""UPDATE toolkit_schedule SET paused_at = ?3, paused_by = ?2 WHERE name = ?1 AND paused_at IS NULL
              RETURNING name""",
    postgresql="""UPDATE toolkit_schedule SET paused_at = coalesce($3::timestamptz, clock_timestamp()), paused_by = $2
                  WHERE name = $1 AND paused_at IS NULL RETURNING name""",
)

RESUME_SCHEDULE = Statement(
    "resume schedule",
    sqlite="""UPDATE toolkit_schedule SET paused_at = NULL, paused_by = NULL, workflow = ?2, timing = ?3, due_at = ?4
              WHERE name = ?1 AND paused_at IS NOT NULL RETURNING name""",
    postgresql="""UPDATE toolkit_schedule SET paused_at = NULL, paused_by = NULL, workflow = $2, timing = $3,
                  due_at = $4::timestamptz WHERE name = $1 AND paused_at IS NOT NULL RETURNING name""",
)
