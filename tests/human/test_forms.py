"""A form asks in the author's order and words, and what is shown as fixed stays so."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from toolkit.errors import InvalidInput
from toolkit.files import File
from toolkit.human import Money, MultiLine, build_form
from toolkit.human.forms import check_read_only


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
