"""The two questions of an expense: does the manager agree, and above the limit, does finance?"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from toolkit.files import File
from toolkit.human import Calendar, Escalate, Group, Human, MultiLine, Timeout, WorkingTime
from toolkit.workflows import workflow

LIMIT = Decimal(500)
OFFICE = Calendar("Europe/Berlin", holidays="DE-BE")
FINANCE = Group("finance")
HEAD_OF_FINANCE = "head-of-finance"

Euro = Annotated[Decimal, Field(gt=0, decimal_places=2, json_schema_extra={"widget": "money", "currency": "EUR"})]


class Expense(BaseModel):
    """What somebody has paid for the company."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    purpose: str = Field(min_length=1, max_length=500)
    paid_on: date
    amount: Euro


class Approval(BaseModel):
    """The answer to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    approved: bool = Field(title="Reimburse this")
    note: MultiLine = Field(default="", max_length=2000)


class Outcome(BaseModel):
    """How it ended, and who decided."""

    approved: bool
    decided_by: list[str]
    note: str = ""


ask_manager = Human(
    "ask_manager",
    title="Approve an expense of your team",
    description="Was this spent for the company, and is the amount right? Delegate it if somebody else knows better.",
    input_type=Expense,
    output_type=Approval,
    four_eyes=True,
    calendar=OFFICE,
    reminders=[WorkingTime(days=1)],
    escalation=[Escalate(FINANCE)],
    timeout=Timeout(WorkingTime(days=2), on_timeout="escalate"),
)

ask_finance = Human(
    "ask_finance",
    title=f"Approve an expense above {LIMIT} EUR",
    input_type=Expense,
    output_type=Approval,
    candidates=[FINANCE],
    four_eyes=True,
    calendar=OFFICE,
    reminders=[WorkingTime(hours=8)],
    escalation=[Escalate(HEAD_OF_FINANCE, after=WorkingTime(days=3))],
)


@workflow()
async def approve_expense(expense: Expense, manager: str, receipt: File | None = None) -> Outcome:
    """Asks the manager, and above the limit finance too; whoever handed it in decides nothing."""
    files = [receipt] if receipt is not None else []
    first = await ask_manager(expense, message=expense.purpose, files=files, assign_to=manager)
    decided_by = [first.completed_by or ""]
    if not first.output.approved or expense.amount <= LIMIT:
        return Outcome(approved=first.output.approved, decided_by=decided_by, note=first.output.note)
    # Two pairs of eyes above the limit: the manager who agreed does not agree again as a member of finance.
    second = await ask_finance(expense, message=expense.purpose, files=files, prepared_by=decided_by)
    return Outcome(
        approved=second.output.approved, decided_by=[*decided_by, second.completed_by or ""], note=second.output.note
    )
