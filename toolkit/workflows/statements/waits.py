"""Waits: looking for them, opening and ending them."""

from __future__ import annotations

from toolkit.storage import PAYLOAD, Statement, for_rows, insert, update
from toolkit.workflows.statements.columns import WAIT_COLUMNS

# An event ends waits of the kind `wait` only: those of step kinds are ended by their ids.
OPEN_WAITS_OF_KEYS = Statement(
    "open waits of keys",
    sqlite=f"""SELECT {WAIT_COLUMNS} FROM toolkit_wait WHERE state = 'open' AND kind = 'wait'
               AND event_key IN (SELECT value FROM json_each(?1)) ORDER BY id""",  # noqa: S608
    postgresql=f"""SELECT {WAIT_COLUMNS} FROM toolkit_wait WHERE state = 'open' AND kind = 'wait'
                   AND event_key = ANY($1::text[]) ORDER BY id""",  # noqa: S608
)

# Found by the index on key and run: a key may have been used for a hundred thousand runs, each with its own event.
OPEN_WAITS_OF_PAIRS = for_rows(
    "open waits of pairs",
    {"key": "text", "run": "text"},
    sqlite=f"""SELECT {WAIT_COLUMNS} FROM toolkit_wait
               WHERE state = 'open' AND kind = 'wait' AND event_key = ?1 AND run_id = ?2""",  # noqa: S608
    postgresql=f"""SELECT {WAIT_COLUMNS} FROM toolkit_wait JOIN ROWS AS v
                   ON event_key = v.key AND run_id = v.run WHERE state = 'open' AND kind = 'wait'""",  # noqa: S608
)

WAITS_BY_ID = Statement(
    "waits by id",
    sqlite=f"SELECT {WAIT_COLUMNS} FROM toolkit_wait WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",  # noqa: S608
    postgresql=f"SELECT {WAIT_COLUMNS} FROM toolkit_wait WHERE id = ANY($1::text[]) ORDER BY id",  # noqa: S608
)

DUE_WAITS_OF_RUNS = Statement(
    "due waits of runs",
    sqlite=f"""SELECT {WAIT_COLUMNS} FROM toolkit_wait WHERE run_id IN (SELECT value FROM json_each(?1))
               AND state = 'open' AND deadline_at <= ?2 ORDER BY id""",  # noqa: S608
    postgresql=f"""SELECT {WAIT_COLUMNS} FROM toolkit_wait WHERE run_id = ANY($1::text[])
                   AND state = 'open' AND deadline_at <= $2::timestamptz ORDER BY id""",  # noqa: S608
)

OPEN_WAITS_OF_RUNS = Statement(
    "open waits of runs",
    sqlite=f"""SELECT {WAIT_COLUMNS} FROM toolkit_wait
               WHERE run_id IN (SELECT value FROM json_each(?1)) AND state IN ('open', 'resolved') ORDER BY id""",  # noqa: S608
    postgresql=f"""SELECT {WAIT_COLUMNS} FROM toolkit_wait
                   WHERE run_id = ANY($1::text[]) AND state IN ('open', 'resolved') ORDER BY id""",  # noqa: S608
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
        "arguments": PAYLOAD,
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
