"""What a task hands to the run that waits for it: an answer, or the news that there will be none."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of a task's wait. ``output`` is kept as the JSON text it is, digit by digit."""

    task_id: str
    outcome: Literal["completed", "cancelled"]
    by: str
    at: datetime
    output: msgspec.Raw = msgspec.Raw(b"null")
    reason: str = ""

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()

    @staticmethod
    def decode(payload: str | bytes) -> Answer:
        return _decoder.decode(payload)


_decoder = msgspec.json.Decoder(Answer)
