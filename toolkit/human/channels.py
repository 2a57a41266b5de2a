"""Channels: how a message about a task reaches somebody. Another channel is any object with ``send``."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import parseaddr
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic_core import to_json

from toolkit.errors import ConfigurationError
from toolkit.human.addresses import check_address

_SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks marks one


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is to be said. ``id`` is the same in every attempt, so that a receiver can tell a repetition."""

    id: str
    event: str
    task_id: str
    task_name: str
    run_id: str
    title: str
    state: str
    actor: str
    note: str | None
    due_at: str | None
    recipient: str | None
    address: str | None
    link: str | None
    subject: str
    text: str


class DeliveryFailed(Exception):
    """A message did not get through; it is tried again unless ``is_final``."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


@runtime_checkable
class Channel(Protocol):
    """A way to tell. ``is_personal``: one message to each person, who has an address; else one for everybody."""

    is_personal: bool

    async def send(self, message: Message) -> None:
        """Deliver ``message``, once or more.

        Raises:
            DeliveryFailed: it did not get through.
        """


class SmtpChannel:
    """E-mail. ``security`` is ``starttls``, ``tls`` (from the first byte) or ``none`` (for a relay on this machine)."""

    is_personal = True

    def __init__(
        self,
        *,
        host: str,
        sender: str,
        port: int = 587,
        username: str | None = None,
        password: str | None = None,
        security: Literal["starttls", "tls", "none"] = "starttls",
        timeout_seconds: float = 20,
    ) -> None:
        self._host, self._port, self._sender = host, port, _checked_sender(sender)
        self._username, self._password = username, password
        self._security, self._timeout = security, timeout_seconds

    async def send(self, message: Message) -> None:
        await asyncio.to_thread(self._deliver, self._letter(message))

    def _letter(self, message: Message) -> EmailMessage:
        letter = EmailMessage()
        try:
            letter["From"], letter["To"] = self._sender, check_address(message.address or "")
            letter["Subject"] = " ".join(message.subject.split())  # a line break in a title begins no header
            letter["Message-ID"] = f"<{message.id}@process-toolkit>"
            letter["Auto-Submitted"] = "auto-generated"
            letter.set_content(message.text)
            letter.as_bytes(policy=SMTPUTF8)  # what cannot be written is found here
        except Exception as error:  # the standard library's parsers of headers raise almost anything
            what = f"{type(error).__name__}: {error}"
            raise DeliveryFailed(f"the letter cannot be written: {what}", is_final=True) from error
        return letter

    def _deliver(self, letter: EmailMessage) -> None:
        context = ssl.create_default_context()
        try:
            if self._security == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout, context=context)
            else:
                server = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
            with server:
                if self._security == "starttls":
                    server.starttls(context=context)
                if self._username is not None:
                    server.login(self._username, self._password or "")
                server.send_message(letter)
        except smtplib.SMTPRecipientsRefused as error:
            is_final = all(code >= 500 for code, _ in error.recipients.values())
            raise DeliveryFailed(f"the mail server refuses the recipient: {error}", is_final=is_final) from error
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryFailed(f"the mail server did not take the message: {error}") from error


class WebhookChannel:
    """An HTTP POST of the message as JSON, signed in the way of Standard Webhooks (standardwebhooks.com).

    ``secret`` is ``whsec_`` and 24 to 64 random bytes in base64; ``now`` gives the seconds since 1970.
    """

    is_personal = False

    def __init__(self, *, url: str, secret: str, now: Callable[[], float], timeout_seconds: float = 20) -> None:
        self._url, self._now, self._timeout = url, now, timeout_seconds
        self._key = _key_of(secret)

    async def send(self, message: Message) -> None:
        body = to_json(
            {
                "type": message.event,
                "timestamp": int(self._now()),
                "data": {key: value for key, value in asdict(message).items() if key not in {"address", "link"}},
            }
        )
        moment = str(int(self._now()))
        signed = hmac.new(self._key, b".".join([message.id.encode(), moment.encode(), body]), hashlib.sha256).digest()
        headers = {
            "content-type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": moment,
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }
        await _post(self._url, body, headers, timeout=self._timeout)


class SlackChannel:
    """An incoming webhook of Slack, or of anything that takes the same: Mattermost, Rocket.Chat, Teams by adapter."""

    is_personal = False

    def __init__(self, *, url: str, timeout_seconds: float = 20) -> None:
        self._url, self._timeout = url, timeout_seconds

    async def send(self, message: Message) -> None:
        # Slack's own escapes, or a title could mention everybody.
        text = f"{message.subject}\n{message.text}".replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        await _post(self._url, to_json({"text": text}), {"content-type": "application/json"}, timeout=self._timeout)


async def _post(url: str, body: bytes, headers: dict[str, str], *, timeout: float) -> None:
    import httpx2

    try:
        async with httpx2.AsyncClient(timeout=timeout, follow_redirects=False) as client:
            response = await client.post(url, content=body, headers=headers)
    except httpx2.HTTPError as error:
        raise DeliveryFailed(f"the receiver could not be reached: {type(error).__name__}") from error
    if not response.is_success:
        # 410 is how a receiver says that it wants no more, in Standard Webhooks.
        raise DeliveryFailed(f"the receiver answered {response.status_code}", is_final=response.status_code == 410)


def _checked_sender(sender: str) -> str:
    try:
        check_address(parseaddr(sender)[1])
        EmailMessage()["From"] = sender
    except Exception as error:  # the standard library's parsers of headers raise almost anything
        raise ConfigurationError(
            f"the sender {sender!r} is no address to write from; expected such as 'Invoices <invoices@example.com>'",
            key="notifications.channels",
        ) from error
    return sender


def _key_of(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(_SECRET_PREFIX) or not 24 <= len(key) <= 64:
        raise ConfigurationError(
            "the secret of a webhook must be 'whsec_' and 24 to 64 random bytes in base64; make the latter with "
            "`openssl rand -base64 32`",
            key="notifications.channels",
        )
    return key


def channel_of(type_: str, options: dict[str, Any], *, now: Callable[[], float]) -> Channel:
    """The channel that a configuration describes."""
    match type_:
        case "smtp":
            return SmtpChannel(**options)
        case "webhook":
            return WebhookChannel(**options, now=now)
        case _:
            return SlackChannel(**options)
