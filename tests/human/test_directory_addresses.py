"""An address that no letter can be written to is refused when it is told, and holds up nobody's letters."""

from __future__ import annotations

import pytest

from toolkit.access import list_audit
from toolkit.errors import ConfigurationError, InvalidInput, NotFound
from toolkit.human import Message
from toolkit.human.addresses import check_address
from toolkit.human.channels import DeliveryFailed, SmtpChannel
from toolkit.human.directory import Directory
from toolkit.storage import Database

GOOD = [
    "ada@example.com",
    "ada.byron+tasks@mail.example.co.uk",
    "o'neil_{x}@localhost",
    "müller@example.com",
    "é@ü.de",
    "सेवा@उदाहरण.भारत",
    "x" * 64 + "@" + ".".join(["y" * 63, "y" * 63, "y" * 61]),
]
BAD = [
    "",
    "ada",
    "@",
    "a@",
    "@b",
    "a@[",
    "a@[127.0.0.1]",
    "undisclosed:;@x",
    "=?utf-8?q?=0a?=@x",
    "a@=?utf-8?q?b?=",
    "a,b@c",
    "a@b,c",
    "a@b, c@d",
    "a@b;c",
    "a@b@c",
    "Ada <ada@example.com>",
    "<ada@example.com>",
    "a(comment)@b",
    '"a b"@c',
    "a b@c",
    "a@b\r\nBcc: c@d",
    "a@b\n",
    "a\x00@b",
    "a\x7f@b",
    "\u2028@x",
    "a\ud800@b",
    ".a@b",
    "a.@b",
    "a..b@c",
    "a@b.",
    "a@-b",
    "a@b-.c",
    "a@b..c",
    "a@b_c",
    "x" * 65 + "@y",
    "ü" * 33 + "@y",
    "a@" + "y" * 64,
    "a@" + ".".join(["y" * 63] * 4),
]


def message_to(address: str | None, *, text: str = "Look.") -> Message:
    return Message(
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
        address=address,
        link=None,
        subject="T",
        text=text,
    )


def channel(sender: str = "Tasks <tasks@example.com>") -> SmtpChannel:
    return SmtpChannel(host="127.0.0.1", port=1, sender=sender, security="none")


@pytest.mark.parametrize("address", GOOD)
async def test_an_address_that_can_be_written_to_is_kept_and_written_to(database: Database, address: str) -> None:
    directory = Directory(database)

    put = await directory.put_user("ada", email=address)

    assert (put.email, (await directory.get_user("ada")).email) == (address, address)
    with pytest.raises(DeliveryFailed, match="did not take the message") as caught:  # it is nowhere near a server
        await channel().send(message_to(address))
    assert not caught.value.is_final


@pytest.mark.parametrize("address", BAD)
def test_what_is_not_one_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="expected one address and nothing else"):
        check_address(address)


async def test_a_person_is_not_kept_with_an_address_that_is_none(database: Database) -> None:
    directory = Directory(database)

    with pytest.raises(InvalidInput) as caught:
        await directory.put_user("ada", email="a@[")

    assert [error["loc"] for error in caught.value.errors] == ["email"]
    with pytest.raises(NotFound):
        await directory.get_user("ada")
    assert await list_audit(database) == []


async def test_a_configured_address_that_is_none_ends_the_start_and_names_its_place(database: Database) -> None:
    directory = Directory(database)

    with pytest.raises(ConfigurationError, match=r"ada@example\.com") as caught:
        await directory.load({"bob": {"email": ""}, "ada": {"email": "a@b,c"}}, {})

    assert caught.value.key == "directory.users.ada.email"


@pytest.mark.parametrize(
    "message",
    [*(message_to(address) for address in (None, "a@[", "undisclosed:;@x")), message_to("a@b", text="half \ud800")],
)
async def test_a_letter_that_cannot_be_written_is_not_tried_again(message: Message) -> None:
    with pytest.raises(DeliveryFailed, match="cannot be written") as caught:
        await channel().send(message)

    assert caught.value.is_final


@pytest.mark.parametrize("sender", ["", "Tasks", "tasks@[", "Tasks <tasks@>", "a@b\r\nBcc: c@d"])
def test_a_sender_that_is_none_is_refused_before_the_first_letter(sender: str) -> None:
    with pytest.raises(ConfigurationError, match="no address to write from"):
        channel(sender)
