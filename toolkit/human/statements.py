"""What the engine writes for this room, in the transactions in which a wait begins and ends."""

from __future__ import annotations

from toolkit.storage import Statement, insert, update

INSERT_TASKS = insert(
    "toolkit_task",
    {
        "id": "text",
        "name": "text",
        "title": "text",
        "description": "text",
        "message": "text",
        "workflow": "text",
        "run_id": "text",
        "state": "text",
        "input": "text",
        "suggested_data": "text",
        "files": "text",
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

INSERT_INBOX = insert("toolkit_task_inbox", {"task_id": "text", "actor": "text", "due_order": "timestamptz"})

INSERT_NOTIFICATIONS = insert(
    "toolkit_notification",
    {
        "id": "text",
        "task_id": "text",
        "event": "text",
        "details": "text",
        "state": "text",
        "attempts": "integer",
        "due_at": "timestamptz",
        "created_at": "timestamptz",
    },
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
