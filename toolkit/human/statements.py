"""What the engine writes for this room, in the transactions in which a wait begins and ends."""

from __future__ import annotations

from toolkit.storage import PAYLOAD, Statement, for_rows, insert, update

INSERT_TASKS = insert(
    "toolkit_task",
    {
        "id": "text",
        "name": "text",
        "title": "text",
        "description": PAYLOAD,
        "message": "text",
        "workflow": "text",
        "run_id": "text",
        "state": "text",
        "input": PAYLOAD,
        "suggested_data": PAYLOAD,
        "confidence": PAYLOAD,
        "files": PAYLOAD,
        "output_schema_digest": "text",
        "assigned_to": "text",
        "candidates": "text",
        "prepared_by": "text",
        "four_eyes": "integer",
        "quorum": "text",
        "priority": "integer",
        "due_at": "timestamptz",
        "due_order": "timestamptz",
        "ladder": "text",
        "next_at": "timestamptz",
        "created_at": "timestamptz",
        "created_by": "text",
        "version": "integer",
    },
)

INSERT_INBOX = insert(
    "toolkit_task_inbox", {"task_id": "text", "actor": "text", "due_order": "timestamptz", "priority": "integer"}
)

INSERT_NOTIFICATIONS = insert(
    "toolkit_notification",
    {
        "id": "text",
        "task_id": "text",
        "event": "text",
        "details": PAYLOAD,
        "state": "text",
        "attempts": "integer",
        "due_at": "timestamptz",
        "created_at": "timestamptz",
    },
)

INSERT_CHANGES = insert(
    "toolkit_task_change",
    {"id": "text", "task_id": "text", "at": "timestamptz", "actor": "text", "action": "text"}
    | {"note": PAYLOAD, "details": PAYLOAD},
)

# Before the tasks themselves: what was answered in the meantime was not cancelled.
NOTE_CLOSED = for_rows(
    "note closed tasks",
    {"id": "text", "task_id": "text", "at": "timestamptz", "note": PAYLOAD},
    sqlite="INSERT INTO toolkit_task_change (id, task_id, at, actor, action, note, details) "
    "SELECT ?1, id, ?3, 'system', 'cancelled', ?4, '{}' FROM toolkit_task "
    "WHERE id = ?2 AND state IN ('open', 'claimed')",
    postgresql="INSERT INTO toolkit_task_change (id, task_id, at, actor, action, note, details) "
    "SELECT v.id, t.id, v.at, 'system', 'cancelled', v.note, '{}' "
    "FROM ROWS AS v JOIN toolkit_task AS t ON t.id = v.task_id AND t.state IN ('open', 'claimed')",
)

# A task that was answered in the meantime keeps its answer.
CLOSE_TASKS = update(
    "toolkit_task",
    {"id": "text", "state": "text", "ended_at": "timestamptz"},
    assign="state = v.state, ended_at = v.ended_at, next_at = NULL, version = t.version + 1",
    where="t.id = v.id AND t.state IN ('open', 'claimed')",
    name="close tasks",
)

# In front of nobody any more.
CLEAR_INBOX = Statement(
    "clear inbox",
    sqlite="DELETE FROM toolkit_task_inbox WHERE task_id = ?1",
    postgresql="DELETE FROM toolkit_task_inbox WHERE task_id = ANY($1::text[])",
)
