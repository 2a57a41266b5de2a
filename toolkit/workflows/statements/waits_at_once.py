"""A run that goes to wait for an event, and the event that has it go on: see :mod:`toolkit.workflows.batches.at_once`.

For PostgreSQL alone. On SQLite, where a transaction that writes is alone and a statement is no journey, they keep
nothing, so the batch goes the usual way.

A statement sees the database as it was before it took its locks. So each writes only what it has found and found
unchanged on the rows as they are locked; what may have come in between is looked for afterwards.
"""

from __future__ import annotations

from toolkit.storage import PAYLOAD, Statement, for_rows
from toolkit.workflows.statements.columns import STEP_COLUMNS
from toolkit.workflows.statements.events import INSERT_EVENTS
from toolkit.workflows.statements.locks import HOLD
from toolkit.workflows.statements.steps import KEEP_WHAT_SUCCEEDED
from toolkit.workflows.statements.waits import INSERT_WAITS

_NOTHING = "SELECT NULL WHERE FALSE"

# Whether an event is on record that a wait with this cursor has to have first: for everybody, or for its run.
_IS_BEHIND = """EXISTS (SELECT FROM toolkit_event AS e WHERE e.key = {key} AND e.run_id IS NULL
                        AND e.seq > {after_seq} AND e.wait_id IS NULL)
                OR EXISTS (SELECT FROM toolkit_event AS e WHERE e.key = {key} AND e.run_id = {run_id}
                           AND e.seq > {after_seq} AND e.wait_id IS NULL)"""


def _hold(key: str) -> str:
    """The lock of an event key, as a batch takes it."""
    return HOLD.format(key=f"'event:' || {key}")


# The wait of a run that has nothing else under way, and that nothing is there for; without a key it is for a moment.
OPEN_WAIT_AT_ONCE = for_rows(
    INSERT_WAITS.name,
    {
        "id": "text",
        "run_id": "text",
        "path": "text",
        "name": "text",
        "kind": "text",
        "event_key": "text",
        "after_seq": "bigint",
        "deadline_at": "timestamptz",
        "created_at": "timestamptz",
        "epoch": "int",
        "worker_id": "text",
        "due_at": "timestamptz",
        "cancel_mode": "text",
        "now": "timestamptz",
    },
    sqlite=_NOTHING,
    postgresql=f"""WITH v AS MATERIALIZED (SELECT * FROM ROWS AS v),
                   held AS MATERIALIZED (
                       SELECT CASE WHEN event_key IS NULL THEN TRUE ELSE {_hold("event_key")} END AS is_held
                       FROM v),
                   locked AS MATERIALIZED (
                       SELECT r.is_as_known FROM v CROSS JOIN LATERAL (
                           SELECT epoch = v.epoch AND worker_id = v.worker_id AND state = 'running'
                                  AND cancel_requested_at IS NULL AND due_at IS NULL AS is_as_known
                           FROM toolkit_run WHERE id = v.run_id FOR NO KEY UPDATE SKIP LOCKED) AS r),
                   opened AS (
                       INSERT INTO toolkit_wait (id, run_id, path, name, kind, event_key, after_seq, deadline_at,
                                                 state, created_at)
                       SELECT v.id, v.run_id, v.path, v.name, v.kind, v.event_key, v.after_seq, v.deadline_at,
                              'open', greatest(coalesce(v.now, clock_timestamp()), v.created_at)
                       FROM v, held, locked WHERE held.is_held AND locked.is_as_known
                       AND NOT ({_IS_BEHIND.format(key="v.event_key", after_seq="v.after_seq", run_id="v.run_id")})
                       RETURNING created_at)
                   UPDATE toolkit_run AS r SET state = 'suspended', worker_id = NULL, warm_worker = v.worker_id,
                          due_at = v.due_at, cancel_mode = v.cancel_mode
                   FROM v, opened WHERE r.id = v.run_id RETURNING opened.created_at""",  # noqa: S608
)

# Asked when the wait is open: an event may have been numbered after the statement began and before it had the key.
IS_BEHIND = Statement(
    "is behind",
    sqlite=_NOTHING,
    postgresql=f"""SELECT {_IS_BEHIND.format(key="$1", after_seq="$2::bigint", run_id="$3")}""",
)


def _emit(of_run: str) -> Statement:
    """An event that one wait is open for, of a run that is warm here and has not changed; otherwise nothing is kept.

    The number is the next as the statement sees it; where it has been given meanwhile, nothing is kept either. Whatever
    depends on the event refers to the row that was kept. Rows are found by values, not by joins: PostgreSQL keeps the
    plan that it makes while the tables are small, and would read all of them for a join.
    """
    is_behind = _IS_BEHIND.format(key="v.key", after_seq="one.after_seq", run_id="one.run_id")
    return for_rows(
        INSERT_EVENTS.name,
        {
            "id": "text",
            "key": "text",
            "run_id": "text",
            "payload": PAYLOAD,
            "result": PAYLOAD,
            "worker_id": "text",
            "now": "timestamptz",
        },
        sqlite=_NOTHING,
        postgresql=f"""WITH v AS MATERIALIZED (
                           SELECT v.*, coalesce(v.now, clock_timestamp()) AS moment FROM ROWS AS v),
                       waiting AS MATERIALIZED (
                           SELECT w.*, r.epoch, r.state = 'suspended' AND w.has_no_more AS is_plain
                           FROM v CROSS JOIN LATERAL (
                               SELECT id, run_id, path, name, after_seq, created_at,
                                      arguments IS NULL AND display_name IS NULL AS has_no_more
                               FROM toolkit_wait
                               WHERE event_key = v.key {of_run} AND state = 'open' AND kind = 'wait' LIMIT 2) AS w
                           JOIN toolkit_run AS r ON r.id = w.run_id),
                       one AS MATERIALIZED (
                           SELECT w.*, coalesce((SELECT max(seq) FROM toolkit_event WHERE key = v.key), 0) + 1 AS seq
                           FROM v, waiting AS w WHERE w.is_plain AND (SELECT count(*) FROM waiting) = 1),
                       locked AS MATERIALIZED (
                           SELECT {_hold("v.key")} AS is_held, r.is_as_seen
                           FROM v CROSS JOIN one CROSS JOIN LATERAL (
                               SELECT epoch = one.epoch AND warm_worker = v.worker_id AND state = 'suspended'
                                      AND paused_at IS NULL AND losses < 2 AND (due_at IS NULL OR due_at > v.moment)
                                      AS is_as_seen
                               FROM toolkit_run WHERE id = one.run_id FOR NO KEY UPDATE SKIP LOCKED) AS r),
                       emitted AS (
                           INSERT INTO toolkit_event (id, key, seq, run_id, payload, created_at)
                           SELECT v.id, v.key, one.seq, v.run_id, v.payload, v.moment FROM v, one, locked
                           WHERE locked.is_held AND locked.is_as_seen AND one.seq > one.after_seq
                           AND (one.seq = one.after_seq + 1 OR NOT ({is_behind}))
                           ON CONFLICT (key, seq) DO NOTHING RETURNING seq),
                       ended AS (
                           UPDATE toolkit_wait AS w SET state = 'delivered', ended_at = v.moment FROM v, emitted
                           WHERE w.id = (SELECT id FROM one) AND w.state = 'open' RETURNING w.id),
                       kept AS (
                           INSERT INTO toolkit_step ({STEP_COLUMNS})
                           SELECT one.run_id, one.path, one.name, 'wait', 'succeeded', one.created_at,
                                  greatest(v.moment, one.created_at), NULL, v.result, NULL, NULL, NULL, 1, one.epoch,
                                  emitted.seq
                           FROM v, one, emitted, ended {KEEP_WHAT_SUCCEEDED}),
                       woken AS (
                           UPDATE toolkit_run AS r SET state = 'running', epoch = r.epoch + 1, worker_id = v.worker_id,
                                  due_at = NULL
                           FROM v, ended WHERE r.id = (SELECT run_id FROM one))
                       SELECT one.run_id, one.path, one.name, one.created_at, v.moment, one.epoch, emitted.seq,
                              ended.id IS NOT NULL
                       FROM v CROSS JOIN one CROSS JOIN emitted LEFT JOIN ended ON TRUE""",  # noqa: S608
    )


EMIT_AT_ONCE = _emit("")
EMIT_TO_RUN_AT_ONCE = _emit("AND run_id = v.run_id")

# Asked when the event is kept: others may have begun to wait for it after the statement began.
IS_AWAITED = Statement(
    "is awaited",
    sqlite=_NOTHING,
    postgresql="""SELECT EXISTS (SELECT FROM toolkit_wait WHERE event_key = $1 AND state = 'open' AND kind = 'wait'
                                 AND after_seq < $2::bigint)""",
)
