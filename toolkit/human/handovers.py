"""Handovers: a task goes from hand to hand, and whose it was stays on record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlmodel import col, select

from toolkit.errors import Conflict, PermissionDenied
from toolkit.human.decisions import Act
from toolkit.human.evidence import compare
from toolkit.human.ladders import Group, actor_of
from toolkit.human.states import TaskState
from toolkit.human.tables import VoteRow

if TYPE_CHECKING:
    from toolkit.human.changes import TaskChange


async def claim(change: TaskChange) -> None:
    """The task becomes one person's."""
    row = change.row
    if row.quorum is not None:
        raise Conflict(f"task {row.id!r} asks several people; nobody can take it alone", state=row.state)
    if row.state == TaskState.CLAIMED and row.assigned_to != change.principal.id:
        raise Conflict(f"task {row.id!r} has been claimed by {row.assigned_to!r}", assigned_to=row.assigned_to)
    ruling = await change.allow(Act.CLAIM)
    row.owner = row.owner or (row.assigned_to if row.assigned_to != change.principal.id else None)
    row.state, row.assigned_to = TaskState.CLAIMED.value, change.principal.id
    if ruling.is_administrative:
        row.assigned_by = change.principal.id
    await change.place(change.actors())
    await change.record("claimed", details=ruling.mark)


async def unclaim(change: TaskChange, *, reason: str | None) -> None:
    """A claimed task goes back to whoever may take it."""
    row = change.row
    if row.state != TaskState.CLAIMED:
        raise Conflict(f"task {row.id!r} is not claimed", state=row.state)
    await change.allow(Act.RETURN)
    released, row.state = row.assigned_to, TaskState.OPEN.value
    # Without candidates it stays with whom it was for first.
    row.assigned_to = row.owner if row.owner or json.loads(row.candidates) else released
    row.owner = None
    await change.place(change.actors())
    await change.record("unclaimed", note=reason, details={"from": released})


async def assign(change: TaskChange, to: str | Group, *, reason: str | None) -> None:
    """Put the task before ``to`` by the right to manage tasks.

    Raises:
        PermissionDenied: ``to`` must not decide it, or whoever assigns would give themself a vote.
    """
    await change.allow(Act.MANAGE)
    if change.row.quorum is not None and actor_of(to) in await change.actors_of_principal():
        raise PermissionDenied(
            f"task {change.row.id!r} asks several people; {change.principal.id!r} cannot put it before themself or a "
            "group of their own, for the right to manage tasks is no vote; somebody else may",
            permission="task:assign",
        )
    await move(change, to, action="assigned", note=reason)


async def move(change: TaskChange, to: str | Group, *, action: str, note: str | None = None) -> None:
    """Put the task before ``to``, whoever had it; what may do so is asked elsewhere.

    Raises:
        PermissionDenied: ``to`` must not decide it.
    """
    row = change.row
    details: dict[str, Any] = {"from": row.assigned_to, "to": actor_of(to)}
    if isinstance(to, Group):
        row.assigned_to, row.candidates = None, json.dumps([actor_of(to)])
    else:
        change.refuse_excluded(to)
        row.assigned_to = to
    row.state, row.owner, row.sent_back_to, row.sent_back_by = TaskState.OPEN.value, None, None, None
    row.assigned_by = change.principal.id
    await change.place(change.actors())
    await change.record(action, note=note, details=details, is_news=True)


async def delegate(change: TaskChange, to: str, *, reason: str | None) -> None:
    """Somebody hands on what is theirs; whose it was first stays as its owner."""
    row = change.row
    if row.quorum is not None:
        raise Conflict(f"task {row.id!r} asks several people; a vote cannot be handed on", state=row.state)
    ruling = await change.allow(Act.DELEGATE)
    change.refuse_excluded(to)
    details = {"from": row.assigned_to or change.principal.id, "to": to, **ruling.mark}
    row.owner = row.owner or row.assigned_to or change.principal.id
    row.state, row.assigned_to = TaskState.OPEN.value, to
    row.assigned_by = change.principal.id if ruling.is_administrative else None
    await change.place(change.actors())
    await change.record("delegated", note=reason, details=details, is_news=True)


async def send_back(change: TaskChange, *, to: str | None, reason: str) -> None:
    """Ask for rework: the task stays open, before whoever is to rework it, and takes no answer."""
    row = change.row
    await change.allow(Act.COMPLETE)
    recipient = to or row.created_by
    if recipient is None or row.sent_back_to is not None:
        said = "nobody is known to have started it" if recipient is None else "it is sent back already"
        raise Conflict(f"task {row.id!r} cannot be sent back: {said}", sent_back_to=row.sent_back_to)
    row.sent_back_to, row.sent_back_by = recipient, change.principal.id
    await change.place(change.actors())
    await change.record("sent_back", note=reason, details={"to": recipient}, is_news=True)


async def take_back(change: TaskChange, *, note: str | None, suggested_json: str | None) -> None:
    """A reworked task goes to whom it was before, with other suggested data if there are any."""
    row = change.row
    if row.sent_back_to is None or change.principal.id not in {row.sent_back_to, row.sent_back_by}:
        raise Conflict(f"task {row.id!r} was not sent back to {change.principal.id!r}", sent_back_to=row.sent_back_to)
    if suggested_json is not None:
        row.suggested_data, row.confidence = suggested_json, None
    row.sent_back_to, row.sent_back_by = None, None
    await change.place(change.actors())
    details: dict[str, Any] = {"has_new_data": suggested_json is not None}
    if lapsed := await _drop_votes(change):
        details["lapsed_votes"] = lapsed
    await change.record("returned", note=note, details=details, is_news=True)


async def _drop_votes(change: TaskChange) -> list[str]:
    """Take away the votes that were given to something else than the task shows now; returns whose they were."""
    query = select(VoteRow).where(col(VoteRow.task_id) == change.row.id).order_by(col(VoteRow.at))
    votes = (await change.session.exec(query)).all()
    lapsed = [vote for vote in votes if compare(vote.evidence, change.row, vote.output)]
    for vote in lapsed:
        await change.session.delete(vote)
    return [vote.voter for vote in lapsed]
