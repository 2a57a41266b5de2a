"""The engine's statements, each under its name, in both dialects.

Statements that only read stand first, then those that write. Where the dialects part ways the reason stands beside it.
"""

from __future__ import annotations

from toolkit.storage import Statement, both, for_rows, insert, update

_RUN_COLUMNS = (
    "id, workflow, version, state, epoch, worker_id, warm_worker, due_at, losses, total_losses, parent_id, "
    "parent_wait, cancel_requested_at, paused_at, close_policy, cancel_mode, on_cancel, continued_as, is_watched"
)
_CLAIM_COLUMNS = (
    "id, workflow, input, epoch, state, version, parent_id, parent_wait, started_by, created_at, losses, "
    "cancel_requested_at, forked_from, key_run_id"
)
_WAIT_COLUMNS = (
    "id, run_id, path, name, kind, event_key, after_seq, deadline_at, reference, arguments, display_name, state, "
    "created_at"
)
_STEP_COLUMNS = (
    "run_id, path, name, kind, state, started_at, ended_at, arguments, result, error, details, display_name, attempts, "
    "epoch, event_seq"
)

# The code that a run began with: the workflow's name, and its version if it has one.
WORKFLOW_KEY = "workflow || coalesce(' ' || version, '')"

# Locking. PostgreSQL: see the protocol of a batch in batches.py. SQLite: a transaction that writes is alone. --------

LOCK_KEYS = Statement(
    "lock keys",
    sqlite="SELECT value FROM json_each(?1)",
    postgresql=(
        "SELECT key FROM (SELECT key FROM unnest($1::text[]) AS key ORDER BY key) AS k "
        "WHERE pg_try_advisory_xact_lock(hashtextextended('toolkit:' || key, 0))"
    ),
)

# The time is the server's unless the caller brings one: leases of many machines are compared on one clock. The ids come
# sorted, and PostgreSQL locks one after the other in that order. It looks each up by itself because a plan for
# ``id = ANY`` that was made while the table was new, and is kept, reads the whole table: 40 ms instead of 5 for a
# thousand runs of ten thousand.
LOCK_RUNS = Statement(
    "lock runs",
    sqlite=f"""SELECT ?2, id, {_RUN_COLUMNS} FROM (SELECT 1) LEFT JOIN toolkit_run
               ON id IN (SELECT value FROM json_each(?1))""",  # noqa: S608
    postgresql=f"""SELECT c.now, r.id, r.* FROM (SELECT coalesce($2::timestamptz, clock_timestamp()) AS now) AS c
                   LEFT JOIN LATERAL (SELECT r.* FROM unnest($1::text[]) AS k(id) CROSS JOIN LATERAL
                   (SELECT {_RUN_COLUMNS} FROM toolkit_run WHERE toolkit_run.id = k.id
                    FOR NO KEY UPDATE SKIP LOCKED) AS r) AS r ON true""",  # noqa: S608
)

# The same for the runs with these ids and for those that wait for one of these keys, in one journey: the keys are
# locked, so who waits for them is settled. One that is locked elsewhere comes as its id alone.
LOCK_RUNS_AND_WAITERS = Statement(
    "lock runs and waiters",
    sqlite=f"""SELECT ?2, id, {_RUN_COLUMNS} FROM (SELECT 1) LEFT JOIN toolkit_run
               ON id IN (SELECT value FROM json_each(?1) UNION SELECT run_id FROM toolkit_wait
                         WHERE state = 'open' AND event_key IN (SELECT value FROM json_each(?3)))""",  # noqa: S608
    postgresql=f"""SELECT c.now, k.id, r.* FROM (SELECT coalesce($2::timestamptz, clock_timestamp()) AS now) AS c
                   LEFT JOIN LATERAL (
                       SELECT * FROM (SELECT unnest($1::text[]) AS id UNION SELECT run_id FROM toolkit_wait
                                      WHERE state = 'open' AND event_key = ANY($3::text[])) AS u
                       ORDER BY id COLLATE "C") AS k ON true
                   LEFT JOIN LATERAL (SELECT {_RUN_COLUMNS} FROM toolkit_run WHERE toolkit_run.id = k.id
                                      FOR NO KEY UPDATE SKIP LOCKED) AS r ON true""",  # noqa: S608
)

# Looking ----------------------------------------------------------------------------------------------------------

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

FIND_KEYED_EVENTS = for_rows(
    "find keyed events",
    {"key": "text", "idempotency_key": "text"},
    sqlite="""SELECT key, idempotency_key, payload FROM toolkit_event WHERE key = ?1 AND idempotency_key = ?2""",
    postgresql="""SELECT e.key, e.idempotency_key, e.payload FROM toolkit_event AS e
                  JOIN ROWS AS v ON e.key = v.key AND e.idempotency_key = v.idempotency_key""",
)

UNNUMBERED_EVENTS = both(
    "unnumbered events",
    "SELECT id, key, run_id, wait_id, payload FROM toolkit_event WHERE seq IS NULL ORDER BY id LIMIT 1000",
)

# Asked again under the locks of the keys: another worker may have numbered them since.
STILL_UNNUMBERED = Statement(
    "still unnumbered",
    sqlite="SELECT id FROM toolkit_event WHERE seq IS NULL AND id IN (SELECT value FROM json_each(?1))",
    postgresql="SELECT id FROM toolkit_event WHERE seq IS NULL AND id = ANY($1::text[])",
)

LAST_NUMBERS = Statement(
    "last numbers",
    sqlite="SELECT key, max(seq) FROM toolkit_event WHERE key IN (SELECT value FROM json_each(?1)) GROUP BY key",
    postgresql="SELECT key, max(seq) FROM toolkit_event WHERE key = ANY($1::text[]) GROUP BY key",
)

# The highest number of a key before a moment: a wait may leave out what came earlier.
NUMBER_BEFORE = both(
    "number before", "SELECT coalesce(max(seq), 0) FROM toolkit_event WHERE key = $1 AND created_at < $2"
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

OPEN_WAITS_OF_KEYS = Statement(
    "open waits of keys",
    sqlite=f"""SELECT {_WAIT_COLUMNS} FROM toolkit_wait
               WHERE state = 'open' AND event_key IN (SELECT value FROM json_each(?1)) ORDER BY id""",  # noqa: S608
    postgresql=f"""SELECT {_WAIT_COLUMNS} FROM toolkit_wait
                   WHERE state = 'open' AND event_key = ANY($1::text[]) ORDER BY id""",  # noqa: S608
)

# Found by the index on key and run: a key may have been used for a hundred thousand runs, each with its own event.
OPEN_WAITS_OF_PAIRS = for_rows(
    "open waits of pairs",
    {"key": "text", "run": "text"},
    sqlite=f"SELECT {_WAIT_COLUMNS} FROM toolkit_wait WHERE state = 'open' AND event_key = ?1 AND run_id = ?2",  # noqa: S608
    postgresql=f"""SELECT {_WAIT_COLUMNS} FROM toolkit_wait JOIN ROWS AS v
                   ON event_key = v.key AND run_id = v.run WHERE state = 'open'""",  # noqa: S608
)

# The events of a key above a number: those for everybody where no run is given, and those for one run where one is.
NUMBERED_EVENTS = for_rows(
    "numbered events",
    {"key": "text", "run": "text", "after": "bigint"},
    sqlite="""SELECT key, seq, run_id, payload FROM toolkit_event
              WHERE key = ?1 AND run_id IS ?2 AND seq > ?3 AND wait_id IS NULL""",
    postgresql="""WITH k AS MATERIALIZED (SELECT * FROM ROWS AS v)
                  SELECT e.key, e.seq, e.run_id, e.payload FROM k
                  JOIN toolkit_event AS e ON e.key = k.key AND e.run_id IS NULL AND e.seq > k.after
                  WHERE k.run IS NULL AND e.wait_id IS NULL
                  UNION ALL
                  SELECT e.key, e.seq, e.run_id, e.payload FROM k
                  JOIN toolkit_event AS e ON e.key = k.key AND e.run_id = k.run AND e.seq > k.after
                  WHERE e.wait_id IS NULL""",
)

# How far each run has come with each key: the highest number that was delivered to it.
DELIVERED_NUMBERS = Statement(
    "delivered numbers",
    sqlite="""SELECT run_id, name, max(event_seq) FROM toolkit_step
              WHERE event_seq IS NOT NULL AND run_id IN (SELECT value FROM json_each(?1))
              AND name IN (SELECT value FROM json_each(?2)) GROUP BY run_id, name""",
    postgresql="""SELECT run_id, name, max(event_seq) FROM toolkit_step
                  WHERE event_seq IS NOT NULL AND run_id = ANY($1::text[]) AND name = ANY($2::text[])
                  GROUP BY run_id, name""",
)

CURSORS_OF_RUN = both(
    "cursors of run",
    "SELECT name, max(event_seq) FROM toolkit_step WHERE run_id = $1 AND event_seq IS NOT NULL GROUP BY name",
)

WAITS_BY_ID = Statement(
    "waits by id",
    sqlite=f"SELECT {_WAIT_COLUMNS} FROM toolkit_wait WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",  # noqa: S608
    postgresql=f"SELECT {_WAIT_COLUMNS} FROM toolkit_wait WHERE id = ANY($1::text[]) ORDER BY id",  # noqa: S608
)

DUE_WAITS_OF_RUNS = Statement(
    "due waits of runs",
    sqlite=f"""SELECT {_WAIT_COLUMNS} FROM toolkit_wait WHERE run_id IN (SELECT value FROM json_each(?1))
               AND state = 'open' AND deadline_at <= ?2 ORDER BY id""",  # noqa: S608
    postgresql=f"""SELECT {_WAIT_COLUMNS} FROM toolkit_wait WHERE run_id = ANY($1::text[])
                   AND state = 'open' AND deadline_at <= $2::timestamptz ORDER BY id""",  # noqa: S608
)

OPEN_WAITS_OF_RUNS = Statement(
    "open waits of runs",
    sqlite=f"""SELECT {_WAIT_COLUMNS} FROM toolkit_wait
               WHERE run_id IN (SELECT value FROM json_each(?1)) AND state IN ('open', 'resolved') ORDER BY id""",  # noqa: S608
    postgresql=f"""SELECT {_WAIT_COLUMNS} FROM toolkit_wait
                   WHERE run_id = ANY($1::text[]) AND state IN ('open', 'resolved') ORDER BY id""",  # noqa: S608
)

STEPS_OF_RUNS = Statement(
    "steps of runs",
    sqlite=f"""SELECT {_STEP_COLUMNS} FROM toolkit_step
               WHERE run_id IN (SELECT value FROM json_each(?1)) ORDER BY run_id, ended_at, path""",  # noqa: S608
    postgresql=f"""SELECT {_STEP_COLUMNS} FROM toolkit_step
                   WHERE run_id = ANY($1::text[]) ORDER BY run_id, ended_at, path""",  # noqa: S608
)

STEPS_AT = Statement(
    "steps at",
    sqlite=f"SELECT {_STEP_COLUMNS} FROM toolkit_step WHERE run_id = ?1 AND path = ?2",  # noqa: S608
    postgresql=f"""SELECT {_STEP_COLUMNS} FROM toolkit_step
                   WHERE (run_id, path) IN (SELECT * FROM unnest($1::text[], $2::text[]))""",  # noqa: S608
)

# A warm copy elsewhere gets a head start: otherwise every worker replays what one could simply go on with.
DUE_RUNS = Statement(
    "due runs",
    sqlite=f"""SELECT {_CLAIM_COLUMNS} FROM toolkit_run
               WHERE state IN ('pending', 'suspended') AND due_at IS NOT NULL AND due_at <= ?1
               AND (paused_at IS NULL OR cancel_requested_at IS NOT NULL)
               AND (warm_worker IS NULL OR warm_worker = ?2 OR due_at <= ?3)
               AND {WORKFLOW_KEY} IN (SELECT value FROM json_each(?4)) AND (losses >= 2) = ?5
               ORDER BY priority DESC, due_at LIMIT ?6""",  # noqa: S608
    postgresql=f"""SELECT {_CLAIM_COLUMNS} FROM toolkit_run
                   WHERE state IN ('pending', 'suspended') AND due_at IS NOT NULL AND due_at <= $1::timestamptz
                   AND (paused_at IS NULL OR cancel_requested_at IS NOT NULL)
                   AND (warm_worker IS NULL OR warm_worker = $2 OR due_at <= $3::timestamptz)
                   AND {WORKFLOW_KEY} = ANY($4::text[]) AND (losses >= 2) = $5
                   ORDER BY priority DESC, due_at LIMIT $6 FOR NO KEY UPDATE SKIP LOCKED""",  # noqa: S608
)

CLAIMED_RUNS = Statement(
    "claimed runs",
    sqlite=f"SELECT {_CLAIM_COLUMNS} FROM toolkit_run WHERE id IN (SELECT value FROM json_each(?1))",  # noqa: S608
    postgresql=f"SELECT {_CLAIM_COLUMNS} FROM toolkit_run WHERE id = ANY($1::text[])",  # noqa: S608
)

# Before a deploy: everything that has not ended, oldest first.
LIVE_RUNS = both(
    "live runs",
    """SELECT id FROM toolkit_run WHERE state IN ('pending', 'running', 'suspended', 'parked') AND id > $1
       ORDER BY id LIMIT $2""",
)

NEXT_DUE = Statement(
    "next due",
    sqlite="""SELECT min(due_at) FROM toolkit_run WHERE state IN ('pending', 'suspended') AND due_at IS NOT NULL
              AND due_at > ?1""",
    postgresql="""SELECT min(due_at) FROM toolkit_run WHERE state IN ('pending', 'suspended')
                  AND due_at IS NOT NULL AND due_at > coalesce($1::timestamptz, clock_timestamp())""",
)

DUE_SUSPECTS = Statement(
    "due suspects",
    sqlite=f"""SELECT id FROM toolkit_run WHERE losses >= 2 AND state IN ('pending', 'suspended') AND due_at <= ?1
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
    sqlite=f"""SELECT {_RUN_COLUMNS}, EXISTS (SELECT 1 FROM toolkit_step AS s
                   WHERE s.run_id = toolkit_run.id AND s.epoch = toolkit_run.epoch AND s.state <> 'running')
               FROM toolkit_run WHERE state = 'running' AND (worker_id IN (SELECT value FROM json_each(?1))
               OR worker_id NOT IN (SELECT id FROM toolkit_worker WHERE heartbeat_at >= ?2)) ORDER BY id LIMIT 1000""",  # noqa: S608
    postgresql=f"""SELECT {_RUN_COLUMNS}, EXISTS (SELECT 1 FROM toolkit_step AS s
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
    sqlite=f"""SELECT id FROM toolkit_run WHERE state IN ('pending', 'suspended') AND due_at IS NOT NULL
              AND due_at <= ?2 AND paused_at IS NULL AND {WORKFLOW_KEY} NOT IN (SELECT value FROM json_each(?1))
              ORDER BY id LIMIT 100""",  # noqa: S608
    postgresql=f"""SELECT id FROM toolkit_run WHERE state IN ('pending', 'suspended') AND due_at IS NOT NULL
                  AND due_at <= $2::timestamptz AND paused_at IS NULL AND {WORKFLOW_KEY} <> ALL($1::text[])
                  ORDER BY id LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED""",  # noqa: S608
)

# What slipped through: a wait that is open although its event is on record (its run was locked elsewhere).
MISSED_KEYS = both(
    "missed keys",
    """SELECT DISTINCT e.key FROM toolkit_event AS e WHERE e.id > $1 AND e.seq IS NOT NULL AND e.wait_id IS NULL AND (
           EXISTS (SELECT 1 FROM toolkit_wait AS w WHERE w.state = 'open' AND w.event_key = e.key
                   AND w.run_id = e.run_id AND w.after_seq < e.seq)
           OR (e.run_id IS NULL AND EXISTS (SELECT 1 FROM toolkit_wait AS w WHERE w.state = 'open'
                                            AND w.event_key = e.key AND w.after_seq < e.seq))) LIMIT 1000""",
)

RUN_STATES = Statement(
    "run states",
    sqlite="""SELECT id, state, result, error, continued_as FROM toolkit_run
              WHERE id IN (SELECT value FROM json_each(?1))""",
    postgresql="SELECT id, state, result, error, continued_as FROM toolkit_run WHERE id = ANY($1::text[])",
)

# Writing ----------------------------------------------------------------------------------------------------------

_RUN_TYPES = {
    "id": "text",
    "workflow": "text",
    "version": "text",
    "state": "text",
    "input": "text",
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
}
INSERT_RUNS = insert("toolkit_run", _RUN_TYPES)

# Runs that begin where they are started, in one statement; the moment is the server's where none is given.
_RUN_COLUMNS_NOW = ", ".join(
    f"coalesce({name}, now)" if name in {"created_at", "started_at"} else name for name in _RUN_TYPES
)
START_AT_ONCE = for_rows(
    INSERT_RUNS.name,
    _RUN_TYPES,
    sqlite=f"{INSERT_RUNS.sqlite} RETURNING created_at",
    postgresql=f"""INSERT INTO toolkit_run ({", ".join(_RUN_TYPES)})
                   SELECT {_RUN_COLUMNS_NOW} FROM (SELECT clock_timestamp() AS now) AS c
                   CROSS JOIN ROWS AS v RETURNING created_at""",  # noqa: S608
)

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
        "result": "text",
        "error": "text",
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
    {"state": "text", "result": "text", "error": "text", "error_summary": "text", "now": "timestamptz"},
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

# Written once; only what is not yet final may be written over (a long step shown early, a failure inside a step).
_STEP_TYPES = {
    "run_id": "text",
    "path": "text",
    "name": "text",
    "kind": "text",
    "state": "text",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "arguments": "text",
    "result": "text",
    "error": "text",
    "details": "text",
    "display_name": "text",
    "attempts": "int",
    "epoch": "int",
    "event_seq": "bigint",
}
_KEEP_WHAT_SUCCEEDED = (
    "ON CONFLICT (run_id, path) DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at, "
    "result = excluded.result, error = excluded.error, details = excluded.details, attempts = excluded.attempts, "
    "epoch = excluded.epoch WHERE toolkit_step.state <> 'succeeded' "
    "AND (excluded.state <> 'running' OR toolkit_step.state = 'running')"
)
INSERT_STEPS = insert("toolkit_step", _STEP_TYPES, on_conflict=_KEEP_WHAT_SUCCEEDED)

# Checkpoints and nothing else, in one statement: all of them, if every run is locked here, ours and as we know it, and
# otherwise none. What must hold of a run is asked of the row as it is locked, which is the latest whatever the rest of
# the statement sees; then counting is enough. PostgreSQL plans for a few rows here: a join of what was asked for with
# what is there would compare each of a thousand with each, and so would a look by more than the id, by another index.
RECORD_AT_ONCE = for_rows(
    INSERT_STEPS.name,
    {**_STEP_TYPES, "worker_id": "text"},
    sqlite=f"""INSERT INTO toolkit_step ({_STEP_COLUMNS}) SELECT {", ".join(f"?{at}" for at in range(1, 16))}
               WHERE EXISTS (SELECT 1 FROM toolkit_run WHERE id = ?1 AND epoch = ?14 AND worker_id = ?16
                             AND state = 'running' AND losses = 0 AND cancel_requested_at IS NULL)
               {_KEEP_WHAT_SUCCEEDED} RETURNING run_id, FALSE""",  # noqa: S608
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
                       INSERT INTO toolkit_step ({_STEP_COLUMNS})
                       SELECT {_STEP_COLUMNS} FROM v WHERE (SELECT all_of_them FROM fit) {_KEEP_WHAT_SUCCEEDED})
                   SELECT id, is_cancelled FROM locked WHERE (SELECT all_of_them FROM fit)""",  # noqa: S608
    # The same without what only several need, which would take a tenth of a millisecond.
    postgresql_lone=f"""WITH locked AS MATERIALIZED (
                            SELECT epoch, worker_id, state, losses, cancel_requested_at FROM toolkit_run
                            WHERE id = $1::text FOR NO KEY UPDATE SKIP LOCKED),
                        fit AS MATERIALIZED (
                            SELECT cancel_requested_at IS NOT NULL AS is_cancelled FROM locked
                            WHERE epoch = $14::int AND worker_id = $16::text AND state = 'running' AND losses = 0),
                        kept AS (
                            INSERT INTO toolkit_step ({_STEP_COLUMNS})
                            SELECT {_STEP_COLUMNS} FROM (VALUES (VALUES_OF_V)) AS v({_STEP_COLUMNS}, worker_id), fit
                            {_KEEP_WHAT_SUCCEEDED})
                        SELECT $1::text, is_cancelled FROM fit""",  # noqa: S608
)

INSERT_WAITS = insert(
    "toolkit_wait",
    {
        "id": "text",
        "run_id": "text",
        "path": "text",
        "name": "text",
        "kind": "text",
        "event_key": "text",
        "after_seq": "bigint",
        "deadline_at": "timestamptz",
        "reference": "text",
        "arguments": "text",
        "display_name": "text",
        "state": "text",
        "created_at": "timestamptz",
        "ended_at": "timestamptz",
    },
)

# The one compare-and-set that ends a wait. Whoever gets the row back has won.
END_WAITS = update(
    "toolkit_wait",
    {"id": "text", "state": "text", "expected": "text", "ended_at": "timestamptz"},
    assign="state = v.state, ended_at = v.ended_at",
    where="t.id = v.id AND t.state = v.expected",
    returning="t.id",
    name="end waits",
)

MOVE_CURSORS = update(
    "toolkit_wait",
    {"id": "text", "after_seq": "bigint"},
    assign="after_seq = v.after_seq",
    where="t.id = v.id AND t.after_seq < v.after_seq",
    name="move cursors",
)

INSERT_EVENTS = insert(
    "toolkit_event",
    {
        "id": "text",
        "key": "text",
        "seq": "bigint",
        "run_id": "text",
        "wait_id": "text",
        "payload": "text",
        "idempotency_key": "text",
        "created_at": "timestamptz",
    },
)

NUMBER_EVENTS = update(
    "toolkit_event",
    {"id": "text", "seq": "bigint"},
    assign="seq = v.seq",
    where="t.id = v.id AND t.seq IS NULL",
    name="number events",
)

# What was meant for a run reaches the run that goes on in its place.
RETARGET_EVENTS = update(
    "toolkit_event",
    {"run_id": "text", "successor": "text"},
    assign="run_id = v.successor",
    where="t.run_id = v.run_id AND t.wait_id IS NULL",
    name="retarget events",
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
    {"id": "text", "progress": "text"},
    assign="progress = v.progress",
    where="t.id = v.id",
    name="show progress",
)

# At most one a batch: every notification takes a lock on the whole database at its commit.
NOTIFY = Statement("notify", sqlite="SELECT 1", postgresql="SELECT pg_notify('toolkit', '')::text")

# Heartbeats -------------------------------------------------------------------------------------------------------

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
