"""What does not come back equal from JSON is refused when it is encoded, not met when it is read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from toolkit.errors import SerializationError
from toolkit.ids import new_id
from toolkit.round_trips import Certainty, difference
from toolkit.serialization import Codec, codec_for


class Colour(Enum):
    RED = 1


class Kind(StrEnum):
    BILL = "bill"


class Line(BaseModel):
    text: str


class TaxLine(Line):
    rate: Decimal


class Invoice(BaseModel):
    number: int
    lines: list[Line] = []
    before: Invoice | None = None
    _cache: dict[str, object] = PrivateAttr(default_factory=dict)


class Score(BaseModel):
    value: float | None = None


class Measure(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")

    value: float


class Loose(BaseModel):
    what: Any = None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Hidden(BaseModel):
    shown: int
    hidden: int = Field(default=0, exclude=True)


class Login(BaseModel):
    password: SecretStr


@dataclass
class Point:
    x: float


@dataclass(frozen=True, slots=True)
class Place:
    name: str
    around: tuple[str, ...] = ()


def one_with_a_cache() -> Invoice:
    invoice = Invoice(number=1)
    invoice._cache["seen"] = object()
    return invoice


NOW = datetime(2027, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Invoice, Invoice(number=1, lines=[Line(text="a")], before=Invoice(number=0))),
        (Invoice, one_with_a_cache()),
        (list[TaxLine], [TaxLine(text="a", rate=Decimal("0.190"))]),
        (Measure, Measure(value=float("inf"))),
        (list[float], [float("nan"), float("-inf"), 0.1]),
        (dict[str, Any], {"a": [1, "b", None, {"c": 1.5}], "kind": Kind.BILL}),
        (dict[date, set[UUID]], {NOW.date(): {UUID(new_id())}}),
        (Loose, Loose(what={"a": [1.5]})),
        (Open, Open(more=[1])),
        (Decimal | date | str, date(2027, 1, 1)),
        (Point, Point(1.5)),
        (Login, Login(password=SecretStr("hunter2"))),
        (Place, Place("here", ("there",))),
        (tuple[Colour, datetime], (Colour.RED, NOW)),
        (Sequence[float], (1.5, 2.5)),
        (dict[str, Any], {"a": (1, 2)}),
        (Any, {"a": [1]}),
    ],
)
def test_what_comes_back_equal_is_encoded(type_: Any, value: Any) -> None:
    codec: Codec[Any] = codec_for(type_)
    assert difference(codec.decode(codec.encode(value)), value, are_lists_alike=True) is None


@pytest.mark.parametrize(
    ("type_", "value", "place"),
    [
        (Score, Score(value=float("nan")), "value (float) is now NoneType"),
        (Point, Point(float("inf")), "x: Input should be a valid number"),
        (Decimal, Decimal("NaN"), "value: Input should be a finite number"),
        (Line, TaxLine(text="a", rate=Decimal(1)), "it (TaxLine) is now Line"),
        (Invoice, Invoice(number=1, lines=[TaxLine(text="a", rate=Decimal(1))]), "lines.0 (TaxLine) is now Line"),
        (dict[str, Any], {"a": {"b": Decimal("1.10")}}, "a.b (Decimal) is now str"),
        (Any, [(1, 2)], "0 (tuple) is now list"),
        (dict, {1: 2}, "it (dict) has other keys"),
        (dict[int | str, int], {1: 2}, "it (dict) has other keys"),
        (Loose, Loose(what=date(2027, 1, 1)), "what (date) is now str"),
        (Open, Open(more=Decimal(1)), "more (Decimal) is now str"),
        (date | str, "2027-01-01", "it (str) is now date"),
        (Hidden, Hidden(shown=1, hidden=2), "hidden"),
    ],
)
def test_what_would_come_back_as_something_else_is_refused_at_once(type_: Any, value: Any, place: str) -> None:
    codec: Codec[Any] = codec_for(type_)
    with pytest.raises(SerializationError, match="would not come back equal") as refusal:
        codec.encode(value)
    assert place in str(refusal.value)
    assert codec.encode_to_compare(value)


def test_only_what_is_uncertain_is_looked_at() -> None:
    def is_certain(type_: Any) -> bool:
        return Certainty(codec_for(type_).adapter.core_schema).is_certain

    assert is_certain(list[dict[str, tuple[int, date, bytes, UUID, Colour]]])
    assert is_certain(Place)
    assert not any(map(is_certain, (Any, list, dict[Any, int], float, Decimal, Loose, Open, Hidden, Login, int | str)))

    class Plain(BaseModel):
        text: str

    certainty = Certainty(codec_for(Plain).adapter.core_schema)
    assert certainty.is_certain

    class Richer(Plain):
        more: int

    assert Richer.__base__ is Plain
    assert not certainty.is_certain  # from now on an instance may be of a subclass
