"""What a task hands to the run that waits for it: an answer, or the news that there will be none."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class CastVote(msgspec.Struct, frozen=True, kw_only=True):
    """One of the votes that made the answer."""

    by: str
    at: datetime
    is_rejection: bool
    output: msgspec.Raw


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of a task's wait. ``output`` is kept as the JSON text it is, digit by digit."""

    task_id: str
    outcome: Literal["completed", "rejected", "cancelled", "expired"]
    by: str
    at: datetime
    output: msgspec.Raw = msgspec.Raw(b"null")
    reason: str = ""
    votes: list[CastVote] = []

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()

    @staticmethod
    def decode(payload: str | bytes) -> Answer:
        return _decoder.decode(payload)


_decoder = msgspec.json.Decoder(Answer)
