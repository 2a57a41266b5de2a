"""Workers: their heartbeats, what they may claim, and what they hold."""

from __future__ import annotations

from toolkit.storage import Statement, both
from toolkit.workflows.statements.columns import CLAIM_COLUMNS, RUN_COLUMNS, WORKFLOW_KEY

# What may become due, and the priorities that it has, each found by one look into the index: those that are not due yet
# may be a million, and SQLite, which keeps no statistics by itself, would go through them, or through every run that
# waits, at each look.
_MAY_BE_DUE = "state IN ('pending', 'suspended') AND due_at IS NOT NULL"


def _priorities(table: str) -> str:
    return f"""RECURSIVE p(priority) AS (
                   SELECT max(priority) FROM {table} WHERE {_MAY_BE_DUE}
                   UNION ALL
                   SELECT (SELECT max(r.priority) FROM {table.replace("toolkit_run", "toolkit_run AS r", 1)}
                           WHERE {_MAY_BE_DUE} AND r.priority < p.priority)
                   FROM p WHERE p.priority IS NOT NULL)"""  # noqa: S608


_BY_INDEX = "toolkit_run INDEXED BY ix_toolkit_run_due"

# A warm copy elsewhere gets a head start: otherwise every worker replays what one could simply go on with.
DUE_RUNS = Statement(
    "due runs",
    sqlite=f"""WITH {_priorities(_BY_INDEX)},
               due(id) AS (
                   SELECT j.value FROM p CROSS JOIN json_each((SELECT json_group_array(id) FROM (
                       SELECT id FROM {_BY_INDEX} WHERE {_MAY_BE_DUE} AND priority = p.priority AND due_at <= ?1
                       AND (paused_at IS NULL OR cancel_requested_at IS NOT NULL)
                       AND (warm_worker IS NULL OR warm_worker = ?2 OR due_at <= ?3)
                       AND {WORKFLOW_KEY} IN (SELECT value FROM json_each(?4)) AND (losses >= 2) = ?5
                       ORDER BY due_at LIMIT ?6))) AS j
                   LIMIT ?6)
               SELECT {CLAIM_COLUMNS} FROM toolkit_run WHERE id IN (SELECT id FROM due)
               ORDER BY priority DESC, due_at""",  # noqa: S608
    postgresql=f"""SELECT {CLAIM_COLUMNS} FROM toolkit_run
                   WHERE {_MAY_BE_DUE} AND due_at <= $1::timestamptz
                   AND (paused_at IS NULL OR cancel_requested_at IS NOT NULL)
                   AND (warm_worker IS NULL OR warm_worker = $2 OR due_at <= $3::timestamptz)
                   AND {WORKFLOW_KEY} = ANY($4::text[]) AND (losses >= 2) = $5
                   ORDER BY priority DESC, due_at LIMIT $6 FOR NO KEY UPDATE SKIP LOCKED""",  # noqa: S608
)

CLAIMED_RUNS = Statement(
    "claimed runs",
    sqlite=f"SELECT {CLAIM_COLUMNS} FROM toolkit_run WHERE id IN (SELECT value FROM json_each(?1))",  # noqa: S608
    postgresql=f"SELECT {CLAIM_COLUMNS} FROM toolkit_run WHERE id = ANY($1::text[])",  # noqa: S608
)

NEXT_DUE = Statement(
    "next due",
    sqlite=f"""WITH {_priorities(_BY_INDEX)}
               SELECT min((SELECT due_at FROM {_BY_INDEX} WHERE {_MAY_BE_DUE} AND priority = p.priority AND due_at > ?1
                           ORDER BY due_at LIMIT 1)) FROM p""",  # noqa: S608
    postgresql=f"""WITH {_priorities("toolkit_run")}
                   SELECT min((SELECT due_at FROM toolkit_run WHERE {_MAY_BE_DUE} AND toolkit_run.priority = p.priority
                               AND due_at > coalesce($1::timestamptz, clock_timestamp()) ORDER BY due_at LIMIT 1))
                   FROM p""",  # noqa: S608
)

DUE_SUSPECTS = Statement(
    "due suspects",
    sqlite=f"""SELECT id FROM toolkit_run INDEXED BY ix_toolkit_run_suspect
               WHERE losses >= 2 AND state IN ('pending', 'suspended') AND due_at <= ?1
               AND (paused_at IS NULL OR cancel_requested_at IS NOT NULL)
               AND {WORKFLOW_KEY} IN (SELECT value FROM json_each(?2)) LIMIT 1""",  # noqa: S608
    postgresql=f"""SELECT id FROM toolkit_run WHERE losses >= 2 AND state IN ('pending', 'suspended')
                   AND due_at <= coalesce($1::timestamptz, clock_timestamp())
                   AND (paused_at IS NULL OR cancel_requested_at IS NOT NULL)
                   AND {WORKFLOW_KEY} = ANY($2::text[]) LIMIT 1""",  # noqa: S608
)

# A loss without a checkpoint since the claim counts; progress starts the count again.
RUNS_OF_DEAD = Statement(
    "runs of dead workers",
    sqlite=f"""SELECT {RUN_COLUMNS}, EXISTS (SELECT 1 FROM toolkit_step AS s
                   WHERE s.run_id = toolkit_run.id AND s.epoch = toolkit_run.epoch AND s.state <> 'running')
               FROM toolkit_run WHERE state = 'running' AND (worker_id IN (SELECT value FROM json_each(?1))
               OR worker_id NOT IN (SELECT id FROM toolkit_worker WHERE heartbeat_at >= ?2)) ORDER BY id LIMIT 1000""",  # noqa: S608
    postgresql=f"""SELECT {RUN_COLUMNS}, EXISTS (SELECT 1 FROM toolkit_step AS s
                       WHERE s.run_id = toolkit_run.id AND s.epoch = toolkit_run.epoch AND s.state <> 'running')
                   FROM toolkit_run WHERE state = 'running' AND (worker_id = ANY($1::text[])
                   OR NOT EXISTS (SELECT 1 FROM toolkit_worker AS w
                       WHERE w.id = worker_id AND w.heartbeat_at >= $2::timestamptz))
                   ORDER BY id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED""",  # noqa: S608
)

RUNS_OF_WORKER = both(
    "runs of worker", "SELECT id, epoch FROM toolkit_run WHERE state = 'running' AND worker_id = $1 ORDER BY id"
)

# Runs of ours that another process has touched: it delivered something, or asked for a cancel.
TOUCHED_RUNS = both(
    "touched runs",
    "SELECT id, cancel_requested_at IS NOT NULL, paused_at IS NOT NULL, due_at IS NOT NULL FROM toolkit_run "
    "WHERE state = 'running' AND worker_id = $1 "
    "AND (due_at IS NOT NULL OR cancel_requested_at IS NOT NULL OR paused_at IS NOT NULL)",
)

UNKNOWN_RUNS = Statement(
    "unknown runs",
    sqlite=f"""WITH {_priorities(_BY_INDEX)}
               SELECT id FROM p CROSS JOIN {_BY_INDEX} ON toolkit_run.priority = p.priority
               WHERE {_MAY_BE_DUE} AND due_at <= ?2 AND paused_at IS NULL
               AND {WORKFLOW_KEY} NOT IN (SELECT value FROM json_each(?1)) ORDER BY id LIMIT 100""",  # noqa: S608
    postgresql=f"""SELECT id FROM toolkit_run WHERE {_MAY_BE_DUE}
                  AND due_at <= $2::timestamptz AND paused_at IS NULL AND {WORKFLOW_KEY} <> ALL($1::text[])
                  ORDER BY id LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED""",  # noqa: S608
)

BEAT = Statement(
    "beat",
    sqlite="""INSERT INTO toolkit_worker (id, host, process_id, started_at, heartbeat_at) VALUES (?1, ?2, ?3, ?4, ?4)
              ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at RETURNING heartbeat_at""",
    postgresql="""INSERT INTO toolkit_worker (id, host, process_id, started_at, heartbeat_at)
                  VALUES ($1, $2, $3, coalesce($4::timestamptz, clock_timestamp()),
                          coalesce($4::timestamptz, clock_timestamp()))
                  ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at RETURNING heartbeat_at""",
)

HEARTBEAT_AGE = Statement(
    "heartbeat age",
    sqlite="SELECT (julianday(?2) - julianday(heartbeat_at)) * 86400.0 FROM toolkit_worker WHERE id = ?1",
    postgresql="""SELECT extract(epoch FROM coalesce($2::timestamptz, clock_timestamp()) - heartbeat_at)::float8
                  FROM toolkit_worker WHERE id = $1""",
)

LAST_BEAT = both("last beat", "SELECT heartbeat_at FROM toolkit_worker WHERE id = $1")

WORKERS = both("workers", "SELECT id FROM toolkit_worker ORDER BY id")

FORGET_WORKER = both("forget worker", "DELETE FROM toolkit_worker WHERE id = $1")

# A row goes when its worker has been silent for a day and runs nothing.
FORGET_SILENT = Statement(
    "forget silent workers",
    sqlite="""DELETE FROM toolkit_worker WHERE heartbeat_at < ?1
              AND id NOT IN (SELECT worker_id FROM toolkit_run WHERE state = 'running')""",
    postgresql="""DELETE FROM toolkit_worker AS w WHERE heartbeat_at < $1::timestamptz
                  AND NOT EXISTS (SELECT 1 FROM toolkit_run WHERE state = 'running' AND worker_id = w.id)""",
)
