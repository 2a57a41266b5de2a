"""Endings: an answer, a vote that decides, a withdrawal, a time that is up. Each ends the wait and the task at once.

The wait is ended first and the task second, in the order in which the engine locks them when it ends both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from sqlmodel import col, delete, select

from toolkit.errors import Conflict, PermissionDenied
from toolkit.human.answers import Answer, CastVote
from toolkit.human.changes import too_late
from toolkit.human.decisions import Act
from toolkit.human.directory import capacity_of
from toolkit.human.evidence import shown_digest, testify
from toolkit.human.ladders import decode_ladder, ended_at
from toolkit.human.quorums import Ballot, Quorum, standing
from toolkit.human.states import TaskState
from toolkit.human.tables import DraftRow, InboxRow, VoteRow
from toolkit.workflows import resolve_wait

if TYPE_CHECKING:
    from toolkit.human.changes import TaskChange
    from toolkit.human.human import Human

Outcome = Literal["completed", "rejected", "cancelled", "expired"]


async def answer(
    change: TaskChange,
    output: str,
    *,
    human: Human[Any, Any],
    seen: str | None = None,
    reason: str | None = None,
    must_explain: bool = False,
) -> None:
    """Answer the task of ``change``, or vote where it asks several; ``output`` is valid.

    ``must_explain`` says that an answer by the right to manage tasks alone needs a ``reason``.

    Raises:
        PermissionDenied: it is not for this principal to answer, or not without a reason.
        Conflict: it does not show what was ``seen``, was sent back, has this voter's vote or has just ended, or its
            time is up.
    """
    row = change.row
    ruling = await change.allow(Act.COMPLETE)
    if ruling.is_administrative and must_explain and not (reason or "").strip():
        raise PermissionDenied(
            f"task {row.id!r} was not put to {change.principal.id!r}, who may answer it only by the right to manage "
            "tasks and with a reason; give one",
            permission="task:complete",
        )
    if seen is not None and seen != shown_digest(row, form_digest=human.output_schema_digest):
        raise Conflict(f"task {row.id!r} does not show what the answer was given to; look at it again", seen=seen)
    if row.sent_back_to is not None:
        raise Conflict(
            f"task {row.id!r} was sent back to {row.sent_back_to!r}, who has not returned it yet",
            sent_back_to=row.sent_back_to,
        )
    _refuse_late(change)
    evidence = testify(row, output, form_digest=human.output_schema_digest)
    details: dict[str, Any] = dict(ruling.mark)
    if row.quorum is None:
        await settle(change, "completed", output=output, evidence=evidence, reason=reason, details=details)
    else:
        await _vote(change, output, human=human, evidence=evidence, reason=reason, details=details)


def _refuse_late(change: TaskChange) -> None:
    """The time is up when it is up, and not when the watch next looks."""
    row = change.row
    if row.next_at is None or row.next_at > change.now:
        return
    try:
        moment = ended_at(decode_ladder(row.ladder), change.now)
    except msgspec.DecodeError:  # code of another version wrote it: nobody here knows when the time is up
        return
    if moment is not None:
        raise Conflict(
            f"task {row.id!r} expired at {moment.isoformat(timespec='seconds')}", state=TaskState.EXPIRED.value
        )


async def settle(
    change: TaskChange,
    outcome: Outcome,
    *,
    output: str | None = None,
    evidence: str | None = None,
    reason: str | None = None,
    votes: Sequence[CastVote] = (),
    details: dict[str, Any] | None = None,
) -> None:
    """Answer the wait, end the task and write it down.

    Raises:
        Conflict: the wait has ended already.
    """
    row, by, at = change.row, change.principal.id, change.now
    payload = Answer(
        task_id=row.id,
        outcome=outcome,
        by=by,
        at=at,
        output=msgspec.Raw((output or "null").encode()),
        reason=reason or "",
        votes=list(votes),
    )
    if not await resolve_wait(change.session, wait_id=row.id, payload_json=payload.encode()):
        raise too_late(row)
    is_answer = outcome in {"completed", "rejected"}
    action = "completed" if is_answer else outcome
    row.state = TaskState(action).value
    row.output, row.evidence = output, evidence
    row.completed_at, row.completed_by = (at, by) if is_answer else (None, None)
    row.ended_at, row.ended_by, row.end_reason = at, None if outcome == "expired" else by, reason
    row.next_at = None
    await change.session.exec(delete(InboxRow).where(col(InboxRow.task_id) == row.id))
    await change.session.exec(delete(DraftRow).where(col(DraftRow.task_id) == row.id))
    kept = dict(details or {})
    if votes:
        kept |= {"outcome": outcome, "votes": len(votes)}
    if is_answer and row.assigned_to not in {None, by}:
        kept["in_stead_of"] = row.assigned_to
    await change.record(action, note=reason, details=kept, is_news=True)


async def _vote(
    change: TaskChange,
    output: str,
    *,
    human: Human[Any, Any],
    evidence: str,
    reason: str | None,
    details: dict[str, Any],
) -> None:
    """Count a vote; the one that decides ends the task."""
    row, session, voter = change.row, change.session, change.principal.id
    if await session.get(VoteRow, (row.id, voter)) is not None:
        raise Conflict(f"task {row.id!r} has the vote of {voter!r} already", voter=voter)
    quorum = human.quorum or Quorum(needed=1)  # whatever the code says now, the task's own numbers count
    capacity = await capacity_of(session, voter, today=change.now.date())
    excluded = change.excluded()
    vote = VoteRow(
        task_id=row.id,
        voter=voter,
        at=change.now,
        output=output,
        is_rejection=int(quorum.is_rejection(human.output_codec.decode(output))),
        groups=json.dumps(sorted(capacity.all_groups(without=excluded))),
        evidence=evidence,
    )
    query = select(VoteRow).where(col(VoteRow.task_id) == row.id).order_by(col(VoteRow.at))
    votes = [*(await session.exec(query)).all(), vote]
    session.add(vote)
    rule = json.loads(row.quorum or "{}")
    outcome = standing([Ballot(bool(one.is_rejection), frozenset(json.loads(one.groups))) for one in votes], **rule)
    if outcome == "open":
        counted = {**details, "is_rejection": bool(vote.is_rejection), "votes": len(votes)}
        await change.record("voted", note=reason, details=counted, raises_version=False)
        return
    await settle(
        change,
        "completed" if outcome == "accepted" else "rejected",
        output=output,
        evidence=evidence,
        reason=reason,
        votes=[_cast(one) for one in votes],
        details=details,
    )


def _cast(vote: VoteRow) -> CastVote:
    return CastVote(
        by=vote.voter, at=vote.at, is_rejection=bool(vote.is_rejection), output=msgspec.Raw(vote.output.encode())
    )
