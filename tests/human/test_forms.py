"""A form asks in the author's order and words, and what is shown as fixed stays so."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter
from pydantic_core import to_json
from sqlmodel import col, update

from tests.human.office import Office
from toolkit.errors import InvalidInput, RunFailed
from toolkit.files import File
from toolkit.human import Human, Money, MultiLine, build_form
from toolkit.human.forms import check_read_only, with_confidence
from toolkit.human.tables import TaskRow
from toolkit.workflows import workflow


class Account(StrEnum):
    TRAVEL = "travel"
    FOOD = "food"


class Bank(BaseModel):
    kind: Literal["bank"]
    iban: str = Field(title="IBAN")


class Cash(BaseModel):
    kind: Literal["cash"]
    till: int


class Claim(BaseModel):
    number: str = Field(json_schema_extra={"readOnly": True}, default="C-1")
    account: Account = Field(title="Book to", json_schema_extra={"enum_labels": {"food": "Food and drink"}})
    total: Money = Field(description="With tax", ge=0)
    rate: Decimal | None = None
    on: date
    notes: MultiLine = ""
    receipt: File | None = None
    tags: list[Account] = []
    pay: Annotated[Bank | Cash, Field(discriminator="kind")]
    is_urgent: bool = Field(default=False, json_schema_extra={"order": -1})


SCHEMA = Claim.model_json_schema()


def test_fields_come_in_order_with_their_words_and_widgets() -> None:
    fields = build_form(SCHEMA).fields

    assert [(field.name, field.widget) for field in fields] == [
        ("is_urgent", "boolean"),
        ("number", "text"),
        ("account", "select"),
        ("total", "money"),
        ("rate", "decimal"),
        ("on", "date"),
        ("notes", "multi_line"),
        ("receipt", "file"),
        ("tags", "multi_select"),
        ("pay", "union"),
    ]
    by_name = {field.name: field for field in fields}
    assert by_name["number"].is_read_only
    assert (by_name["total"].help, by_name["total"].is_required) == ("With tax", True)
    assert not by_name["rate"].is_required
    assert by_name["account"].label == "Book to"
    assert [option.label for option in by_name["account"].options] == ["Travel", "Food and drink"]
    assert by_name["is_urgent"].label == "Is Urgent"


def test_a_choice_decides_what_else_is_asked() -> None:
    pay = next(field for field in build_form(SCHEMA).fields if field.name == "pay")

    assert pay.discriminator == "kind"
    assert [(v.value, [(f.path, f.label) for f in v.fields]) for v in pay.variants] == [
        ("bank", [("pay.iban", "IBAN")]),
        ("cash", [("pay.till", "Till")]),
    ]


@pytest.mark.parametrize(
    ("type_", "widget"), [(bool, "boolean"), (str, "text"), (Decimal, "decimal"), (int, "integer")]
)
def test_an_answer_without_fields_is_one_field(type_: type, widget: str) -> None:
    form = build_form(TypeAdapter(type_).json_schema())

    assert not form.is_object
    assert [field.widget for field in form.fields] == [widget]


class Node(BaseModel):
    name: str
    below: list[Node] = []


def test_a_type_that_contains_itself_has_a_form_that_ends() -> None:
    assert build_form(Node.model_json_schema()).fields


def test_what_is_fixed_cannot_be_changed() -> None:
    check_read_only(SCHEMA, {"number": "C-7"}, {"number": "C-7"})
    check_read_only(SCHEMA, {}, {"number": "C-7"})

    with pytest.raises(InvalidInput) as caught:
        check_read_only(SCHEMA, {"number": "C-8"}, {"number": "C-7"})

    assert [error["loc"] for error in caught.value.errors] == ["number"]


@pytest.mark.parametrize("suggested", ["n/a", "", [1], {"a": 1}, True, "sNaN", "1e9999999999999999999"])
def test_what_was_suggested_need_not_be_of_the_type_of_the_field(suggested: object) -> None:
    class Fixed(BaseModel):
        amount: Decimal = Field(Decimal(1), json_schema_extra={"readOnly": True})

    with pytest.raises(InvalidInput, match="cannot be changed"):
        check_read_only(Fixed.model_json_schema(), {"amount": "7"}, {"amount": suggested})


def test_a_suggestion_says_how_sure_it_is_field_by_field() -> None:
    form = with_confidence(build_form(SCHEMA), {"total": 0.93, "number": 1})

    assert {field.name: field.confidence for field in form.fields if field.confidence is not None} == {
        "number": 1,
        "total": 0.93,
    }


suggesting = Human("suggesting", title="Check what was read", output_type=Claim)


@workflow()
async def suggest(confidence: dict[str, float]) -> bool:
    given = {"number": "C-7", "total": "12.50"}
    return (await suggesting(suggested_data=given, confidence=confidence)).output.is_urgent


async def test_the_confidence_of_a_suggestion_is_shown_and_on_record(office: Office) -> None:
    await office.deploy(suggest, humans=[suggesting])
    run = await office.engine.start(suggest, {"total": 0.93})
    task_id = await office.open_task(run.id)
    task = await office.tasks.get(task_id)
    answer = {"number": "C-7", "account": "food", "total": "12.50", "on": "2027-06-01"}
    pay = {"kind": "cash", "till": 1}

    await office.tasks.complete(task_id, to_json(answer | {"pay": pay}), seen=task.seen)
    before = await office.tasks.verify(task_id)
    async with office.database.session() as session:
        await session.exec(update(TaskRow).where(col(TaskRow.id) == task_id).values(confidence='{"total":1}'))

    assert task.confidence == {"total": 0.93}
    assert task.form is not None
    assert {field.name: field.confidence for field in task.form.fields}["total"] == 0.93
    assert before.is_unchanged
    assert (await office.tasks.verify(task_id)).changed == ["suggested_data"]


async def test_a_confidence_is_a_share(office: Office) -> None:
    await office.deploy(suggest, humans=[suggesting])
    run = await office.engine.start(suggest, {"total": 93})

    with pytest.raises(RunFailed, match="expected 0 to 1"):
        await run.result()
