"""What a check found: the words in which checks tell the policy, and the person who reviews, what is wrong."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Severity(StrEnum):
    """How much a finding matters: an ``error`` keeps an invoice from being paid unseen, a ``warning`` does not."""

    ERROR = "error"
    WARNING = "warning"


class Finding(BaseModel):
    """One thing a check found: which rule, what was expected, what stood there instead."""

    model_config = ConfigDict(frozen=True)

    rule: str
    severity: Severity
    expected: str
    found: str
    where: str = ""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.rule}{place}: expected {self.expected}, found {self.found}"
