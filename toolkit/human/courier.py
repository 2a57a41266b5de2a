"""The courier: takes messages about tasks from the outbox to their channels, again until they got through.

What happened is written to the outbox in the transaction in which it happened; nothing is told that was rolled back,
and nothing that was kept is forgotten. A message may arrive twice, under one id.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlmodel import col, select, update

from toolkit.access import SYSTEM, acting_as
from toolkit.errors import Conflict, PermissionDenied
from toolkit.human.channels import Channel, DeliveryFailed, Message
from toolkit.human.directory import people_of
from toolkit.human.links import LinkService
from toolkit.human.states import ANSWERABLE
from toolkit.human.tables import InboxRow, NotificationRow, SubstituteRow, TaskRow, UserRow
from toolkit.ids import new_id
from toolkit.periodic import Periodic
from toolkit.serialization import storable

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from toolkit.human.service import TaskService
    from toolkit.storage import Database

logger = logging.getLogger(__name__)

# Told to those in front of whom the task stands; the others to those whose matter it is.
ASKING = frozenset(
    f"task.{action}" for action in ("opened", "reminded", "escalated", "assigned", "delegated", "sent_back", "returned")
)

PAUSES = (5, 30, 120, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
"""Seconds before each further attempt; after the last a message has failed."""
_LEASE = timedelta(minutes=2)
_PAGE = 20

SUBJECT = "{{ '[reminder] ' if event == 'task.reminded' else '' }}{{ title }}{{ '' if is_asking else ': ' + state }}"
TEXT = """\
{% if is_asking %}{{ title }}{% else %}{{ title }}: {{ event.removeprefix("task.").replace("_", " ") }} by {{ actor }}\
{% endif %}

{% if message %}{{ message }}
{% endif %}{% if note %}{{ note }}
{% endif %}{% if due_at and is_asking %}Wanted by {{ due_at }}
{% endif %}{% if link %}Look and answer: {{ link }}
{% endif %}"""


@dataclass(frozen=True)
class Template:
    """How a message reads, in Jinja: ``title``, ``message``, ``note``, ``actor``, ``state``, ``due_at``, ``link``..."""

    subject: str = SUBJECT
    text: str = TEXT


class Courier:
    """Delivers, any number of them side by side.

    ``base_url`` is where this installation is reached; with ``makes_links`` each message that asks a person carries a
    link of that person's own. ``templates`` are by event; the others read as :class:`Template` does by itself.
    """

    def __init__(
        self,
        tasks: TaskService,
        database: Database,
        channels: Mapping[str, Channel],
        *,
        base_url: str = "",
        makes_links: bool = False,
        templates: Mapping[str, Template] | None = None,
        poll_seconds: float = 1.0,
    ) -> None:
        self._tasks, self._database = tasks, database
        self._channels = dict(channels)
        self._base_url = base_url.rstrip("/")
        self._makes_links = makes_links and bool(base_url)
        self._templates = dict(templates or {})
        self._turns = Periodic("deliver messages", self.deliver, seconds=poll_seconds, clock=database.clock)

    async def open(self) -> None:
        """Begin to deliver."""
        await self._turns.open()

    async def close(self) -> None:
        """Stop; what was under way is delivered again when its lease is over."""
        await self._turns.close()

    async def deliver(self) -> int:
        """Work off what is due now and return how much that was."""
        done = 0
        while page := await self._due():
            for row in page:
                if row.channel is None:
                    done += await self._address(row)
                elif await self._take(row):
                    await self._send(row)
                    done += 1
        return done

    async def _due(self) -> Sequence[NotificationRow]:
        query = (
            select(NotificationRow)
            .where(col(NotificationRow.state) == "pending", col(NotificationRow.due_at) <= self._database.clock.now())
            .order_by(col(NotificationRow.due_at), col(NotificationRow.id))
            .limit(_PAGE)
        )
        async with self._database.session() as session:
            return (await session.exec(query)).all()

    # From what happened to who is told --------------------------------------------------------------------------------

    async def _address(self, news: NotificationRow) -> int:
        """Make one row for each message, and end ``news``, in one transaction."""
        now = self._database.clock.now()
        async with self._database.session() as session:
            if not await _move(session, news, state="done", ended_at=now):
                return 0
            task = await session.get(TaskRow, news.task_id)
            if task is None or (news.event in ASKING and task.state not in ANSWERABLE):
                return 1  # over before anybody heard of it
            people = await self._recipients(session, news, task)
            users = (await session.exec(select(UserRow).where(col(UserRow.id).in_(people)))).all()
            for name, channel in self._channels.items():
                recipients: list[str | None] = (
                    [user.id for user in users if user.email and _wants(user, name)] if channel.is_personal else [None]
                )
                session.add_all(
                    NotificationRow(
                        id=new_id(),
                        task_id=news.task_id,
                        event=news.event,
                        channel=name,
                        recipient=recipient,
                        details=news.details,
                        due_at=now,
                        created_at=now,
                    )
                    for recipient in recipients
                )
        return 1

    async def _recipients(self, session: AsyncSession, news: NotificationRow, task: TaskRow) -> set[str]:
        if news.event in ASKING:
            query = select(InboxRow.actor).where(col(InboxRow.task_id) == task.id)
            people = await people_of(session, list((await session.exec(query)).all()))
            today = self._database.clock.now().date()
            standing_in = select(SubstituteRow.substitute_id).where(
                col(SubstituteRow.user_id).in_(people),
                col(SubstituteRow.first_day) <= today,
                col(SubstituteRow.last_day) >= today,
            )
            return people | set((await session.exec(standing_in)).all())
        interested = {task.created_by, task.owner, task.assigned_to if news.event == "task.commented" else None}
        return {who for who in interested if who is not None} - {json.loads(news.details).get("actor")}

    # From the outbox to the channel -----------------------------------------------------------------------------------

    async def _take(self, row: NotificationRow) -> bool:
        """Make the message ours for the length of a lease; false if somebody else was faster."""
        now = self._database.clock.now()
        async with self._database.session() as session:
            return await _move(session, row, due_at=now + _LEASE, attempts=row.attempts + 1)

    async def _send(self, row: NotificationRow) -> None:
        try:
            message = await self._message(row)
            if message is not None:
                await self._hand_over(message, self._channel(row))
        except DeliveryFailed as error:
            await self._note_failure(row, error)
            return
        await self._end(row, state="done")

    async def _hand_over(self, message: Message, channel: Channel) -> None:
        """A channel may be anybody's code: whatever it raises is a message that did not get through."""
        try:
            await channel.send(message)
        except DeliveryFailed:
            raise
        except Exception as error:
            logger.exception(
                "A channel raised something other than DeliveryFailed",
                extra={"event": "notification.channel_failed", "notification_id": message.id},
            )
            raise DeliveryFailed(f"the channel failed: {type(error).__name__}: {error}") from error

    def _channel(self, row: NotificationRow) -> Channel:
        channel = self._channels.get(row.channel or "")
        if channel is None:
            raise DeliveryFailed(f"there is no channel {row.channel!r} any more", is_final=True)
        return channel

    async def _message(self, row: NotificationRow) -> Message | None:
        """What to say; nothing where a question has been answered meanwhile."""
        async with self._database.session() as session:
            task = await session.get(TaskRow, row.task_id)
            user = None if row.recipient is None else await session.get(UserRow, row.recipient)
        if task is None or (row.event in ASKING and task.state not in ANSWERABLE):
            return None
        if row.recipient is not None and user is None:
            return None
        link = await self._link(row)
        details = json.loads(row.details)
        about: dict[str, Any] = {
            "event": row.event,
            "title": task.title,
            "state": task.state,
            "actor": details.get("actor") or task.created_by or "system",
            "note": details.get("note"),
            "due_at": task.due_at.isoformat(timespec="minutes") if task.due_at else None,
            "link": link,
        }
        template = self._templates.get(row.event, Template())
        words = {**about, "message": task.message, "is_asking": row.event in ASKING, "recipient": row.recipient}
        subject, text = self._render(template, words)
        return Message(
            id=row.id,
            task_id=task.id,
            task_name=task.name,
            run_id=task.run_id,
            recipient=row.recipient,
            address=user.email if user is not None else None,
            subject=subject,
            text=text,
            **about,
        )

    def _render(self, template: Template, words: Mapping[str, Any]) -> tuple[str, str]:
        try:
            subject = self._jinja.from_string(template.subject).render(words).strip()
            return subject, self._jinja.from_string(template.text).render(words).strip() + "\n"
        except Exception as error:  # a template may raise anything: "{{ title + 1 }}"
            what = f"{type(error).__name__}: {error}"
            raise DeliveryFailed(f"the template of {words['event']!r} cannot be used: {what}") from error

    async def _link(self, row: NotificationRow) -> str | None:
        if not self._makes_links or row.recipient is None or row.event not in ASKING:
            return None
        try:
            with acting_as(SYSTEM):
                made = await LinkService(self._tasks, self._database).create(row.task_id, row.recipient)
        except (Conflict, PermissionDenied):  # answered in this moment, or not for this person to answer
            return None
        return f"{self._base_url}/toolkit/v1/task-links/{made.token}"

    async def _note_failure(self, row: NotificationRow, error: DeliveryFailed) -> None:
        attempt = row.attempts + 1
        last_error = storable(str(error))[:500]
        is_final = error.is_final or attempt > len(PAUSES)
        logger.log(
            logging.ERROR if is_final else logging.WARNING,
            "A message about a task did not get through",
            extra={
                "event": "notification.failed" if is_final else "notification.retry",
                "notification_id": row.id,
                "channel": row.channel,
                "attempt": attempt,
            },
        )
        if is_final:
            await self._end(row, state="failed", last_error=last_error)
            return
        due_at = self._database.clock.now() + timedelta(seconds=PAUSES[attempt - 1])
        await self._end(row, due_at=due_at, last_error=last_error)

    async def _end(self, row: NotificationRow, **changes: Any) -> None:
        if "state" in changes:
            changes["ended_at"] = self._database.clock.now()
        async with self._database.session() as session:
            await session.exec(update(NotificationRow).where(col(NotificationRow.id) == row.id).values(changes))

    @cached_property
    def _jinja(self) -> Any:
        from jinja2 import StrictUndefined
        from jinja2.sandbox import SandboxedEnvironment

        return SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


async def _move(session: AsyncSession, row: NotificationRow, **changes: Any) -> bool:
    """Change a row that is as it was read, and nobody else's."""
    same = (
        col(NotificationRow.id) == row.id,
        col(NotificationRow.state) == "pending",
        col(NotificationRow.due_at) == row.due_at,
    )
    moved = await session.exec(update(NotificationRow).where(*same).values(changes))
    return moved.rowcount == 1


def _wants(user: UserRow, channel: str) -> bool:
    return user.channels is None or channel in json.loads(user.channels)
