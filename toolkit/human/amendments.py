"""Amendments: what is changed about a task, or said about it, while it waits for its answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from toolkit.files import File
from toolkit.human.decisions import Act
from toolkit.human.ladders import decode_ladder, encode_ladder, moved
from toolkit.human.tables import ChangeRow, DraftRow

if TYPE_CHECKING:
    from toolkit.human.changes import TaskChange


async def edit(change: TaskChange, *, due_at: datetime | None, priority: int | None, reason: str | None) -> None:
    """Another due date or priority. What is left of the ladder moves with the due date."""
    row = change.row
    await change.allow(Act.MANAGE)
    details: dict[str, Any] = {}
    if due_at is not None:
        details["due_at"] = [row.due_at and row.due_at.isoformat(), due_at.isoformat()]
        rungs = decode_ladder(row.ladder)
        if row.due_at is not None and rungs:
            rungs = moved(rungs, due_at - row.due_at)
            row.ladder, row.next_at = encode_ladder(rungs), rungs[0].at
        row.due_at = row.due_order = due_at
    if priority is not None:
        details["priority"] = [row.priority, priority]
        row.priority = priority
    await change.place(change.actors())
    await change.record("edited", note=reason, details=details)


async def comment(change: TaskChange, text: str) -> ChangeRow:
    """Something said about the task; it stays with it, also after its end."""
    await _allow_annotation(change)
    return await change.record("commented", note=text, is_news=True, raises_version=False)


async def attach(change: TaskChange, files: Iterable[File]) -> None:
    """Further files for whoever answers to look at."""
    await _allow_annotation(change)
    added = [file.model_dump(mode="json", include=set(File.model_fields)) for file in files]
    change.row.files = json.dumps([*json.loads(change.row.files), *added])
    await change.record("file_attached", details={"files": [file["id"] for file in added]})


async def save_draft(change: TaskChange, output_json: str) -> None:
    """What the principal has filled in so far; it is nobody else's and changes nothing."""
    await change.allow(Act.ANNOTATE)
    await change.session.merge(
        DraftRow(task_id=change.row.id, person=change.principal.id, output=output_json, saved_at=change.now)
    )


async def _allow_annotation(change: TaskChange) -> None:
    """Whoever started the task or reworks it may add to it, as may everybody who could answer it."""
    row = change.row
    if change.principal.id not in {row.created_by, row.sent_back_to, row.owner}:
        await change.allow(Act.ANNOTATE)
