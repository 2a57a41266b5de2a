"""An answer that does not fit is refused with the place that is wrong, and the task waits for the next one."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import from_json, to_json

from tests.human.office import Office
from toolkit.errors import InvalidInput
from toolkit.files import File
from toolkit.human import Human, Money, TaskState
from toolkit.workflows import workflow


class Account(StrEnum):
    TRAVEL = "travel"
    FOOD = "food"


class Line(BaseModel):
    text: str = Field(min_length=1, max_length=20)
    quantity: int = Field(ge=1, le=99)


class Bank(BaseModel):
    kind: Literal["bank"]
    iban: str = Field(pattern=r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$")


class Cash(BaseModel):
    kind: Literal["cash"]
    till: int


class Settlement(BaseModel):
    model_config = ConfigDict(extra="forbid")

    approved: bool
    reference: str = Field(default="R-1", json_schema_extra={"readOnly": True})
    account: Account
    amount: Money = Field(ge=0, le=10_000, decimal_places=2)
    paid_on: date
    seen_at: AwareDatetime | None = None
    supplier: UUID | None = None
    lines: list[Line] = Field(min_length=1, max_length=3)
    pay: Annotated[Bank | Cash, Field(discriminator="kind")]
    receipt: File | None = None

    @model_validator(mode="after")
    def _check_payment(self) -> Settlement:
        if self.approved and self.amount == 0:
            raise ValueError("what is approved has an amount")
        return self


settle = Human("settle", title="Settle", output_type=Settlement, assign_to="ada")


@workflow()
async def settle_once() -> Decimal:
    return (await settle()).output.amount


VALID: dict[str, Any] = {
    "approved": True,
    "reference": "R-1",
    "account": "food",
    "amount": "12.50",
    "paid_on": "2027-06-01",
    "lines": [{"text": "Lunch", "quantity": 2}],
    "pay": {"kind": "bank", "iban": "DE02120300000000202051"},
}
LINE = {"text": "Lunch", "quantity": 2}

FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "left out": ({"approved": ...}, "approved"),
    "nothing where something must be": ({"approved": None}, "approved"),
    "neither yes nor no": ({"approved": "perhaps"}, "approved"),
    "no such choice": ({"account": "gifts"}, "account"),
    "no number": ({"amount": "much"}, "amount"),
    "not a number": ({"amount": float("nan")}, "amount"),
    "without end": ({"amount": float("inf")}, "amount"),
    "too small": ({"amount": "-0.01"}, "amount"),
    "too large": ({"amount": "10000.01"}, "amount"),
    "a fraction of a cent": ({"amount": "12.505"}, "amount"),
    "a list for a value": ({"amount": [1]}, "amount"),
    "no such day": ({"paid_on": "2027-02-30"}, "paid_on"),
    "a moment without a zone": ({"seen_at": "2027-06-01T12:00:00"}, "seen_at"),
    "no identifier": ({"supplier": "ACME"}, "supplier"),
    "empty text": ({"lines": [LINE | {"text": ""}]}, "lines.0.text"),
    "too long a text": ({"lines": [LINE, LINE | {"text": "x" * 21}]}, "lines.1.text"),
    "half a piece": ({"lines": [LINE | {"quantity": 1.5}]}, "lines.0.quantity"),
    "too few entries": ({"lines": []}, "lines"),
    "too many entries": ({"lines": [LINE] * 4}, "lines"),
    "no such variant": ({"pay": {"kind": "gold"}}, "pay"),
    "a field of the variant left out": ({"pay": {"kind": "cash"}}, "pay.cash.till"),
    "not the pattern": ({"pay": {"kind": "bank", "iban": "12"}}, "pay.bank.iban"),
    "half a file": ({"receipt": {"id": "f1"}}, "receipt.id"),
    "what was not asked for": ({"state": "completed"}, "state"),
    "what is fixed was changed": ({"reference": "R-2"}, "reference"),
    "two fields that contradict": ({"amount": "0"}, ""),
}
WHOLES = {
    "nothing at all": b"",
    "no JSON": b"approved=true",
    "cut short": b'{"approved": true',
    "null": b"null",
    "a list": b"[]",
    "a text": b'"yes"',
    "bytes that are no text": b'{"approved": "\xff"}',
    "a hole a thousand deep": b'{"lines": ' + b"[" * 1000 + b"]" * 1000 + b"}",
}


def answer(changes: dict[str, Any]) -> bytes:
    return to_json(
        {key: value for key, value in (VALID | changes).items() if value is not ...}, inf_nan_mode="constants"
    )


async def test_answers_of_twenty_kinds_that_do_not_fit_leave_the_task_open(office: Office) -> None:
    await office.deploy(settle_once, humans=[settle])
    run = await office.engine.start(settle_once)
    task_id = await office.open_task(run.id)
    before = await office.tasks.get(task_id)
    found: dict[str, list[str]] = {}

    for kind, text in [*((kind, answer(changes)) for kind, (changes, _) in FIELDS.items()), *WHOLES.items()]:
        with pytest.raises(InvalidInput) as caught:
            await office.tasks.complete(task_id, text)
        found[kind] = [error["loc"] for error in caught.value.errors]
        assert all(error["msg"] for error in caught.value.errors), kind
        assert (await office.tasks.get(task_id)).state is TaskState.OPEN, kind

    assert {kind: locs[0] for kind, locs in found.items() if kind in FIELDS} == {
        kind: loc for kind, (_, loc) in FIELDS.items()
    }
    assert len(FIELDS) > 20
    assert {
        kind: locs for kind, locs in found.items() if kind in WHOLES and locs[0].split(".")[0] not in {"", "lines"}
    } == {}
    assert await office.tasks.get(task_id) == before
    assert [change.action for change in await office.tasks.history(task_id)] == ["opened"]
    await office.tasks.complete(task_id, answer({}))
    assert await run_result(office, run.id) == Decimal("12.50")


async def run_result(office: Office, run_id: str) -> Any:
    result = await office.result_of(run_id)
    return result if isinstance(result, Decimal) else from_json(result)
