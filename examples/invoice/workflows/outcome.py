"""How an invoice ended, and why."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from examples.invoice.rules import Action


class EndState(StrEnum):
    """The ends an invoice can come to."""

    PAID = "paid"
    CREDITED = "credited"
    REJECTED = "rejected"


class Outcome(BaseModel):
    """The result of the process. Action and reason are the policy's, note and ``reviewed_by`` a person's."""

    model_config = ConfigDict(frozen=True)

    state: EndState
    action: Action
    reason_code: str
    reason: str
    seller: str = ""
    number: str = ""
    currency: str = ""
    gross: Decimal | None = None
    paid: Decimal | None = None
    reviewed_by: str = ""
    note: str = ""
