"""Events: their keys, their numbers, and who has heard of which."""

from __future__ import annotations

from toolkit.storage import PAYLOAD, Statement, both, for_rows, insert, update

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

# A look at the end of the index for each key: grouped by key, each of its events would be read.
LAST_NUMBERS = Statement(
    "last numbers",
    sqlite="SELECT value, (SELECT max(seq) FROM toolkit_event WHERE key = value) FROM json_each(?1)",
    postgresql="""SELECT k.key, (SELECT max(seq) FROM toolkit_event AS e WHERE e.key = k.key)
                  FROM unnest($1::text[]) AS k(key)""",
)

# The highest number of a key before a moment: a wait may leave out what came earlier.
NUMBER_BEFORE = both(
    "number before", "SELECT coalesce(max(seq), 0) FROM toolkit_event WHERE key = $1 AND created_at < $2"
)

FIND_KEYED_EVENTS = for_rows(
    "find keyed events",
    {"key": "text", "idempotency_key": "text"},
    sqlite="""SELECT key, idempotency_key, payload FROM toolkit_event WHERE key = ?1 AND idempotency_key = ?2""",
    postgresql="""SELECT e.key, e.idempotency_key, e.payload FROM toolkit_event AS e
                  JOIN ROWS AS v ON e.key = v.key AND e.idempotency_key = v.idempotency_key""",
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

# What slipped through: a wait that is open although its event is on record (its run was locked elsewhere).
MISSED_KEYS = both(
    "missed keys",
    """SELECT DISTINCT e.key FROM toolkit_event AS e WHERE e.id > $1 AND e.seq IS NOT NULL AND e.wait_id IS NULL AND (
           EXISTS (SELECT 1 FROM toolkit_wait AS w WHERE w.state = 'open' AND w.kind = 'wait' AND w.event_key = e.key
                   AND w.run_id = e.run_id AND w.after_seq < e.seq)
           OR (e.run_id IS NULL AND EXISTS (SELECT 1 FROM toolkit_wait AS w WHERE w.state = 'open' AND w.kind = 'wait'
                                            AND w.event_key = e.key AND w.after_seq < e.seq))) LIMIT 1000""",
)

INSERT_EVENTS = insert(
    "toolkit_event",
    {
        "id": "text",
        "key": "text",
        "seq": "bigint",
        "run_id": "text",
        "wait_id": "text",
        "payload": PAYLOAD,
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

# At most one a batch: every notification takes a lock on the whole database at its commit.
NOTIFY = Statement("notify", sqlite="SELECT 1", postgresql="SELECT pg_notify('toolkit', '')::text")
