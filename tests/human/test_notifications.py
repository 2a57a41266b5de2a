"""People hear of tasks: by e-mail, by a signed webhook, by chat; through an outbox that forgets nothing."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from sqlmodel import select
from standardwebhooks import Webhook

from tests.human.office import Office, person
from toolkit.access import acting_as
from toolkit.errors import ConfigurationError
from toolkit.human import (
    Courier,
    DeliveryFailed,
    LinkService,
    Message,
    SlackChannel,
    SmtpChannel,
    Template,
    WebhookChannel,
)
from toolkit.human.handovers import move
from toolkit.human.tables import NotificationRow

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
YES = '{"approved": true}'


@dataclass
class Letterbox:
    """A mail server that keeps what it gets; ``refusals`` answers come first."""

    letters: list[EmailMessage] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refusals:
            return self.refusals.pop(0)
        self.letters.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


@pytest.fixture
async def mail() -> AsyncIterator[tuple[Letterbox, SmtpChannel]]:
    box = Letterbox()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield box, SmtpChannel(host="127.0.0.1", port=port, sender="tasks@example.com", security="none")
    server.close()
    await server.wait_closed()


@dataclass
class Receiver:
    """An HTTP server that keeps what it gets; ``statuses`` answers come first."""

    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:] if line)
        }
        receiver.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = receiver.statuses.pop(0) if receiver.statuses else 204
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    yield receiver
    server.close()
    await server.wait_closed()


async def told_office(office: Office) -> None:
    """The office tells people what happens."""
    office.tasks.is_telling = True
    office.engine.resources[type(office.tasks)] = office.tasks
    await office.staff()


def recipients(box: Letterbox) -> list[str]:
    return sorted(str(letter["To"]) for letter in box.letters)


async def test_those_who_may_answer_get_a_letter(office: Office, mail: tuple[Letterbox, SmtpChannel]) -> None:
    box, channel = mail
    await told_office(office)
    courier = Courier(office.tasks, office.database, {"mail": channel})

    await office.asked("claimable")
    await courier.deliver()
    await courier.deliver()

    assert recipients(box) == ["ada@example.com", "bob@example.com", "cleo@example.com"]
    assert {str(letter["Subject"]) for letter in box.letters} == {"Take it"}


async def test_people_choose_their_channels_and_substitutes_are_told_too(
    office: Office, mail: tuple[Letterbox, SmtpChannel]
) -> None:
    box, channel = mail
    await told_office(office)
    today = office.clock.now().date()
    await office.tasks.directory.put_user("bob", email="bob@example.com", channels=["chat"])
    await office.tasks.directory.add_substitution("ada", "dora", first_day=today, last_day=today + timedelta(days=1))

    await office.asked("claimable")
    await Courier(office.tasks, office.database, {"mail": channel}).deliver()

    assert recipients(box) == ["ada@example.com", "cleo@example.com", "dora@example.com"]


async def test_a_letter_may_carry_a_link_of_ones_own(office: Office, mail: tuple[Letterbox, SmtpChannel]) -> None:
    box, channel = mail
    await told_office(office)
    task_id = await office.asked("mine")
    courier = Courier(
        office.tasks, office.database, {"mail": channel}, base_url="https://desk.example.com/", makes_links=True
    )

    await courier.deliver()
    (letter,) = box.letters
    address = letter.get_content().rsplit(" ", 1)[-1].strip()
    await LinkService(office.tasks, office.database).complete(address.rsplit("/", 1)[-1], YES)

    assert address.startswith("https://desk.example.com/toolkit/v1/task-links/")
    assert (await office.tasks.get(task_id)).completed_by == "ada"


async def test_a_line_break_in_a_title_begins_no_header(office: Office, mail: tuple[Letterbox, SmtpChannel]) -> None:
    box, channel = mail
    await told_office(office)
    template = Template(subject="{{ title }}\r\nBcc: mallory@example.com", text="{{ title }}")

    await office.asked("mine")
    await Courier(office.tasks, office.database, {"mail": channel}, templates={"task.opened": template}).deliver()

    (letter,) = box.letters
    assert letter["Bcc"] is None
    assert str(letter["Subject"]) == "For Ada Bcc: mallory@example.com"


async def test_what_did_not_get_through_is_tried_again_later(
    office: Office, mail: tuple[Letterbox, SmtpChannel]
) -> None:
    box, channel = mail
    box.refusals = ["451 later", "451 later"]
    await told_office(office)
    await office.asked("mine")
    courier = Courier(office.tasks, office.database, {"mail": channel})

    sent = []
    for seconds in (0, 1, 5, 31):
        office.clock.ahead += timedelta(seconds=seconds)
        await courier.deliver()
        sent.append(len(box.letters))

    assert sent == [0, 0, 0, 1]


class Careless:
    """A channel of somebody's own that raises what it likes at first."""

    is_personal = False

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.subjects: list[str] = []

    async def send(self, message: Message) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.subjects.append(message.subject)


async def test_whatever_a_channel_raises_is_a_message_that_did_not_get_through(office: Office) -> None:
    await told_office(office)
    channel = Careless(ConnectionResetError("gone\x00"))
    courier = Courier(office.tasks, office.database, {"chat": channel})
    await office.asked("mine")
    await office.asked("mine")

    await courier.deliver()
    assert channel.subjects == ["For Ada"]  # the other one is not held up
    async with office.database.session() as session:
        rows = (await session.exec(select(NotificationRow).where(NotificationRow.state == "pending"))).all()
    assert [row.last_error for row in rows] == ["the channel failed: ConnectionResetError: gone\ufffd"]

    office.clock.ahead += timedelta(seconds=6)
    await courier.deliver()
    assert channel.subjects == ["For Ada", "For Ada"]


async def test_a_template_that_raises_holds_up_no_other_message(office: Office) -> None:
    await told_office(office)
    channel = Careless()
    templates = {"task.opened": Template(subject="{{ title + 1 }}")}
    courier = Courier(office.tasks, office.database, {"chat": channel}, templates=templates)
    task_id = await office.asked("mine")
    await courier.deliver()
    with acting_as(person("ada")):
        await office.tasks.complete(task_id, YES)

    await courier.deliver()

    assert channel.subjects == ["For Ada: completed"]
    async with office.database.session() as session:
        rows = (await session.exec(select(NotificationRow).where(NotificationRow.state == "pending"))).all()
    (error,) = [str(row.last_error) for row in rows]
    assert error.startswith("the template of 'task.opened' cannot be used: TypeError: ")


async def test_what_the_receiver_wants_no_more_has_failed(office: Office) -> None:
    await told_office(office)
    async with receiving() as receiver:
        receiver.statuses = [410]
        hook = WebhookChannel(url=receiver.url, secret=SECRET, now=lambda: office.clock.now().timestamp())
        await office.asked("mine")
        await Courier(office.tasks, office.database, {"hook": hook}).deliver()

    async with office.database.session() as session:
        rows = (await session.exec(select(NotificationRow).where(NotificationRow.channel == "hook"))).all()
    assert [(row.state, row.last_error) for row in rows] == [("failed", "the receiver answered 410")]


async def test_a_webhook_is_signed_so_that_the_reference_library_believes_it(office: Office) -> None:
    await told_office(office)
    async with receiving() as receiver:
        receiver.statuses = [500]
        hook = WebhookChannel(url=receiver.url, secret=SECRET, now=lambda: office.clock.now().timestamp())
        courier = Courier(office.tasks, office.database, {"hook": hook})
        task_id = await office.asked("mine")
        await courier.deliver()
        with acting_as(person("ada")):
            await office.tasks.complete(task_id, YES)
        await courier.deliver()
        # The question is answered by now: repeating it would ask what nobody needs to know.
        office.clock.ahead += timedelta(seconds=6)
        await courier.deliver()

        said = [json.loads(body) for _, body in receiver.requests]
        assert [each["type"] for each in said] == ["task.opened", "task.completed"]
        assert said[1]["data"]["task_id"] == task_id
        for headers, body in receiver.requests:
            Webhook(SECRET).verify(body, headers)
        headers, body = receiver.requests[0]
        with pytest.raises(Exception, match="signature"):
            Webhook(SECRET).verify(body.replace(b"opened", b"closed"), headers)


async def test_one_message_keeps_its_id_over_attempts(office: Office) -> None:
    await told_office(office)
    async with receiving() as receiver:
        receiver.statuses = [503]
        hook = WebhookChannel(url=receiver.url, secret=SECRET, now=lambda: office.clock.now().timestamp())
        courier = Courier(office.tasks, office.database, {"hook": hook})
        await office.asked("mine")
        await courier.deliver()
        office.clock.ahead += timedelta(seconds=6)
        await courier.deliver()

    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    assert len(receiver.requests) == 2


async def test_a_chat_message_mentions_nobody(office: Office) -> None:
    await told_office(office)
    async with receiving() as receiver:
        template = Template(subject="<!channel> {{ title }}", text="Now & then")
        courier = Courier(
            office.tasks, office.database, {"chat": SlackChannel(url=receiver.url)}, templates={"task.opened": template}
        )
        await office.asked("mine")
        await courier.deliver()

    ((_, body),) = receiver.requests
    assert json.loads(body) == {"text": "&lt;!channel&gt; For Ada\nNow &amp; then\n"}


async def test_several_couriers_deliver_once(office: Office) -> None:
    await told_office(office)
    async with receiving() as receiver:
        for _ in range(5):
            await office.asked("mine")
        couriers = [Courier(office.tasks, office.database, {"chat": SlackChannel(url=receiver.url)}) for _ in range(4)]
        await asyncio.gather(*(courier.deliver() for courier in couriers))
        await asyncio.gather(*(courier.deliver() for courier in couriers))

    assert len(receiver.requests) == 5


async def test_nothing_is_told_of_a_change_that_was_rolled_back(office: Office) -> None:
    await told_office(office)
    task_id = await office.asked("mine")

    with pytest.raises(RuntimeError):
        async with office.tasks.changing() as change:
            await change.take(task_id)
            await move(change, "bob", action="assigned")
            raise RuntimeError

    async with office.database.session() as session:
        events = (await session.exec(select(NotificationRow.event))).all()
    assert list(events) == ["task.opened"]


async def test_nobody_is_told_where_there_are_no_channels(office: Office) -> None:
    await office.staff()
    task_id = await office.asked("mine")
    await office.tasks.assign(task_id, "bob")

    async with office.database.session() as session:
        assert (await session.exec(select(NotificationRow))).all() == []


async def test_a_mail_server_that_is_away_is_a_failed_delivery(office: Office) -> None:
    from toolkit.human import Message

    channel = SmtpChannel(host="127.0.0.1", port=1, sender="tasks@example.com", security="none")
    message = Message(
        id="m1",
        event="task.opened",
        task_id="t1",
        task_name="mine",
        run_id="r1",
        title="T",
        state="open",
        actor="ada",
        note=None,
        due_at=None,
        recipient="ada",
        address="ada@example.com",
        link=None,
        subject="T",
        text="T",
    )
    with pytest.raises(DeliveryFailed, match="did not take the message"):
        await channel.send(message)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "plain", "whsec_***"])
def test_a_weak_secret_is_refused(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="whsec_"):
        WebhookChannel(url="http://127.0.0.1", secret=secret, now=lambda: 0.0)
