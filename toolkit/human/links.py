"""Links: one person answers one task once, without a login. Looking at a link changes nothing."""

from __future__ import annotations

import builtins
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict
from sqlmodel import col, select, update

from toolkit.access import SYSTEM, Permission, Principal, acting_as, current_principal, record_audit
from toolkit.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from toolkit.human.decisions import Act
from toolkit.human.queries import read_task
from toolkit.human.tables import LinkRow
from toolkit.ids import new_id

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from toolkit.human.changes import TaskChange
    from toolkit.human.service import TaskService
    from toolkit.human.tasks import TaskDetail
    from toolkit.storage import Database

LIFETIME: Final = timedelta(days=7)
LONGEST_LIFETIME: Final = timedelta(days=90)
_LONGEST_TOKEN = 100


class TaskLink(BaseModel):
    """A link as it is on record; its token is not."""

    model_config = ConfigDict(frozen=True)

    id: str
    task_id: str
    person: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


class NewLink(TaskLink):
    """A link as it is shown this once."""

    token: str


class LinkService:
    """Makes links and lets them be used.

    A link says who answers, and proves it like a credential does; it opens nothing that this person could not do with a
    login. Four eyes, assignment and quorum hold for it as they do everywhere.
    """

    def __init__(self, tasks: TaskService, database: Database) -> None:
        self._tasks = tasks
        self._database = database

    async def create(self, task_id: str, person: str, *, lifetime: timedelta = LIFETIME) -> NewLink:
        """A link of 256 random bits, for ``person`` and this task alone. Only its hash is kept.

        Raises:
            NotFound: no task has this id.
            Conflict: the task has ended.
            PermissionDenied: the principal may not manage it, ``person`` must not decide it, or several people must
                decide and the principal would hold the link of another.
            InvalidInput: the lifetime is out of range.
        """
        if not timedelta(0) < lifetime <= LONGEST_LIFETIME:
            message = f"a link lives for up to {LONGEST_LIFETIME.days} days"
            raise InvalidInput(message, errors=[{"loc": "expires_in_hours", "msg": message, "type": "lifetime"}])
        token = secrets.token_urlsafe(32)
        async with self._tasks.changing() as change:
            await change.take(task_id)
            await change.allow(Act.MANAGE)
            change.refuse_excluded(person)
            _refuse_to_show(change, person)
            row = LinkRow(
                id=new_id(),
                token_hash=hash_token(token),
                task_id=task_id,
                person=person,
                created_at=change.now,
                created_by=change.principal.id,
                expires_at=change.now + lifetime,
            )
            change.session.add(row)
            await change.record("link_created", details={"link": row.id, "person": person}, raises_version=False)
        return NewLink(**_link(row).model_dump(), token=token)

    async def list(self, task_id: str) -> builtins.list[TaskLink]:
        """The links of a task, oldest first.

        Raises:
            NotFound: no task has this id.
        """
        query = select(LinkRow).where(col(LinkRow.task_id) == task_id).order_by(col(LinkRow.id))
        async with self._database.session() as session:
            await read_task(session, task_id)
            return [_link(row) for row in (await session.exec(query)).all()]

    async def revoke(self, task_id: str, link_id: str) -> TaskLink:
        """Make a link useless from now on.

        Raises:
            NotFound: the task has no such link.
            Conflict: it was used already.
        """
        now = self._database.clock.now()
        async with self._database.session() as session:
            unused = (col(LinkRow.id) == link_id, col(LinkRow.task_id) == task_id, col(LinkRow.used_at).is_(None))
            revoked = await session.exec(update(LinkRow).where(*unused).values(revoked_at=now))
            row = await session.get(LinkRow, link_id)
            if row is None or row.task_id != task_id:
                raise NotFound("link", link_id)
            if revoked.rowcount == 0:
                raise Conflict(f"link {link_id!r} was used already", used_at=str(row.used_at))
            details = {"link": link_id, "by": current_principal().id}
            await record_audit(
                session, action="task.link_revoked", object_kind="task", object_id=task_id, details=details
            )
        return _link(row)

    async def look(self, token: str) -> tuple[TaskLink, TaskDetail]:
        """The link and its task, whatever became of them; nothing changes.

        Raises:
            NotFound: there is no such link, or it has expired or was revoked.
        """
        async with self._database.session() as session:
            row = await self._find(session, token)
        return _link(row), await self._tasks.get(row.task_id)

    async def complete(
        self, token: str, output_json: str | bytes, *, version: int | None = None, seen: str | None = None
    ) -> TaskDetail:
        """Answer as the person of the link, and use it up, in one transaction.

        Raises:
            NotFound: as for :meth:`look`.
            Conflict, InvalidInput, PermissionDenied: as for :meth:`TaskService.complete`; the link stays usable.
        """
        async with self._database.session() as session:
            row = await self._find(session, token)
        if row.used_at is not None:
            raise Conflict("this link has been used", used_at=row.used_at.isoformat(), person=row.person)
        with acting_as(principal_of(row.person)):
            output = await self._tasks.validated(row.task_id, output_json)
            async with self._tasks.changing() as change:
                await self._tasks.answer(change, row.task_id, output, version=version, seen=seen)
                unused = (
                    col(LinkRow.id) == row.id,
                    col(LinkRow.used_at).is_(None),
                    col(LinkRow.revoked_at).is_(None),
                    col(LinkRow.expires_at) > change.now,
                )
                used = await change.session.exec(update(LinkRow).where(*unused).values(used_at=change.now))
                if used.rowcount == 0:
                    raise Conflict("this link has been used or revoked in this moment", person=row.person)
            self._tasks.announce(change)
            return await self._tasks.get(row.task_id)

    async def _find(self, session: AsyncSession, token: str) -> LinkRow:
        query = select(LinkRow).where(col(LinkRow.token_hash) == hash_token(token[:_LONGEST_TOKEN]))
        row = (await session.exec(query)).one_or_none()
        # One answer for all three: a guess learns nothing.
        if row is None or row.revoked_at is not None or row.expires_at <= self._database.clock.now():
            raise NotFound("link", "of this address")
        return row


def _refuse_to_show(change: TaskChange, person: str) -> None:
    """Whoever makes a link sees it, and could use it: nobody holds two hands where two people must decide."""
    row = change.row
    if (row.four_eyes or row.quorum is not None) and change.principal is not SYSTEM and change.principal.id != person:
        raise PermissionDenied(
            f"task {row.id!r} is for more than one pair of eyes, so {change.principal.id!r} cannot be shown a link of "
            f"{person!r}; with notifications.links each person is sent their own",
            permission="task:link",
        )


def principal_of(person: str) -> Principal:
    """Who acts with a link: the person, with the one permission that it is for."""
    return Principal(id=person, kind="person", permissions=frozenset({Permission.TASKS_COMPLETE}))


def hash_token(token: str) -> str:
    """What is kept of a token. It is random, so that a plain SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def _link(row: LinkRow) -> TaskLink:
    return TaskLink(**{field: getattr(row, field) for field in TaskLink.model_fields})
