"""What the engine writes for this room, in the transactions in which a wait begins and ends."""

from __future__ import annotations

from toolkit.storage import insert, update

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
        "due_at": "timestamptz",
        "created_at": "timestamptz",
        "created_by": "text",
        "version": "integer",
    },
)

# A task that was answered in the meantime keeps its answer.
CLOSE_TASKS = update(
    "toolkit_task",
    {"id": "text", "state": "text", "ended_at": "timestamptz"},
    assign="state = v.state, ended_at = v.ended_at, version = t.version + 1",
    where="t.id = v.id AND t.state IN ('open', 'claimed')",
    name="close tasks",
)
