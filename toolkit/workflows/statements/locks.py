"""The locks of a batch: of keys, and of runs. The protocol is in :mod:`toolkit.workflows.batches`.

On SQLite a transaction that writes is alone.
"""

from __future__ import annotations

from toolkit.storage import Statement
from toolkit.workflows.statements.columns import RUN_COLUMNS

# The lock of a key, unless somebody else has it.
HOLD = "pg_try_advisory_xact_lock(hashtextextended('toolkit:' || {key}, 0))"
_HOLD = HOLD.format(key="key")

LOCK_KEYS = Statement(
    "lock keys",
    sqlite="SELECT value FROM json_each(?1)",
    postgresql=f"SELECT key FROM (SELECT key FROM unnest($1::text[]) AS key ORDER BY key) AS k WHERE {_HOLD}",  # noqa: S608
)

# The time is the server's unless the caller brings one: leases of many machines are compared on one clock. The ids come
# sorted, and PostgreSQL locks one after the other in that order. It looks each up by itself because a plan for
# ``id = ANY`` that was made while the table was new, and is kept, reads the whole table: 40 ms instead of 5 for a
# thousand runs of ten thousand.
LOCK_RUNS = Statement(
    "lock runs",
    sqlite=f"""SELECT ?2, id, {RUN_COLUMNS} FROM (SELECT 1) LEFT JOIN toolkit_run
               ON id IN (SELECT value FROM json_each(?1))""",  # noqa: S608
    postgresql=f"""SELECT c.now, r.id, r.* FROM (SELECT coalesce($2::timestamptz, clock_timestamp()) AS now) AS c
                   LEFT JOIN LATERAL (SELECT r.* FROM unnest($1::text[]) AS k(id) CROSS JOIN LATERAL
                   (SELECT {RUN_COLUMNS} FROM toolkit_run WHERE toolkit_run.id = k.id
                    FOR NO KEY UPDATE SKIP LOCKED) AS r) AS r ON true""",  # noqa: S608
)

# The same, and the locks of keys, in one journey: neither waits, so their order does not matter, and looks come later.
# On SQLite, where a transaction that writes is alone, it has all keys.
LOCK_KEYS_AND_RUNS = Statement(
    "lock keys and runs",
    sqlite=f"""SELECT ?2, id, {RUN_COLUMNS}, nullif(?3, ?3) FROM (SELECT 1) LEFT JOIN toolkit_run
               ON id IN (SELECT value FROM json_each(?1))""",  # noqa: S608
    postgresql=f"""WITH h AS MATERIALIZED (
                       SELECT array_agg(key) AS held FROM (
                           SELECT key FROM (SELECT key FROM unnest($3::text[]) AS key ORDER BY key) AS k
                           WHERE {_HOLD}) AS k)
                   SELECT c.now, r.id, r.*, coalesce(h.held, '{{}}') FROM h
                   CROSS JOIN (SELECT coalesce($2::timestamptz, clock_timestamp()) AS now) AS c
                   LEFT JOIN LATERAL (SELECT r.* FROM unnest($1::text[]) AS k(id) CROSS JOIN LATERAL
                   (SELECT {RUN_COLUMNS} FROM toolkit_run WHERE toolkit_run.id = k.id
                    FOR NO KEY UPDATE SKIP LOCKED) AS r) AS r ON true""",  # noqa: S608
)

# The same for the runs with these ids and for those that wait for one of these keys, in one journey: the keys are
# locked, so who waits for them is settled. One that is locked elsewhere comes as its id alone.
LOCK_RUNS_AND_WAITERS = Statement(
    "lock runs and waiters",
    sqlite=f"""SELECT ?2, id, {RUN_COLUMNS} FROM (SELECT 1) LEFT JOIN toolkit_run
               ON id IN (SELECT value FROM json_each(?1) UNION SELECT run_id FROM toolkit_wait
                         WHERE state = 'open' AND kind = 'wait' AND event_key IN (SELECT value FROM json_each(?3)))""",  # noqa: S608
    postgresql=f"""SELECT c.now, k.id, r.* FROM (SELECT coalesce($2::timestamptz, clock_timestamp()) AS now) AS c
                   LEFT JOIN LATERAL (
                       SELECT * FROM (SELECT unnest($1::text[]) AS id UNION SELECT run_id FROM toolkit_wait
                                      WHERE state = 'open' AND kind = 'wait' AND event_key = ANY($3::text[])) AS u
                       ORDER BY id COLLATE "C") AS k ON true
                   LEFT JOIN LATERAL (SELECT {RUN_COLUMNS} FROM toolkit_run WHERE toolkit_run.id = k.id
                                      FOR NO KEY UPDATE SKIP LOCKED) AS r ON true""",  # noqa: S608
)
