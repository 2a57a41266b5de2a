"""A small shop: entities of every kind, and the workflow that a sale starts."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import field_validator
from sqlmodel import Field, SQLModel

from toolkit import Toolkit
from toolkit.entities import (
    Entity,
    ExactDecimal,
    Guard,
    History,
    JsonOf,
    Move,
    SoftDelete,
    StatusField,
    Transition,
    on_transition,
)
from toolkit.files import File
from toolkit.ids import new_id
from toolkit.workflows import get_session, step, workflow


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Supplier(Entity, SoftDelete, table=True):
    """Whom we buy from."""

    __tablename__ = "shop_supplier"

    name: str = Field(unique=True, max_length=40)
    iban: str = ""


class Order(Entity, History, table=True):
    """What we buy."""

    __tablename__ = "shop_order"

    number: str = Field(max_length=20)
    supplier_id: str | None = Field(default=None, foreign_key="shop_supplier.id")
    total: Decimal = Field(default=Decimal(0), sa_type=ExactDecimal)
    pieces: int = Field(default=1, ge=1)
    colour: Colour = Colour.RED
    wanted_on: date | None = None
    stamp: bytes | None = None
    paper: File | None = Field(default=None, sa_type=JsonOf(File))
    secret_margin: int = 0
    approved_by: str = ""
    status: str = StatusField(
        states=["draft", "approved", "ordered", "rejected"],
        transitions=[
            Transition.between("draft", "approved", Guard("a total is known", lambda order: order.total > 0)),
            Transition.between("draft", "rejected"),
            Transition.between("approved", "ordered"),
            Transition.between("approved", "rejected"),
        ],
    )

    @field_validator("number")
    @classmethod
    def _has_a_dash(cls, number: str) -> str:
        if "-" not in number:
            raise ValueError("expected a dash in the number")
        return number


class Note(SQLModel, table=True):
    """A plain SQLModel class."""

    __tablename__ = "shop_note"

    id: str = Field(default_factory=new_id, primary_key=True)
    text: str
    rank: int | None = None
    written_at: datetime | None = None


class Country(SQLModel, table=True):
    """A plain class whose key the caller chooses."""

    __tablename__ = "shop_country"

    code: str = Field(primary_key=True)
    name: str = ""


class Link(SQLModel, table=True):
    """Between two others: it has a table and no routes."""

    __tablename__ = "shop_link"

    left: str = Field(primary_key=True)
    right: str = Field(primary_key=True)


@step()
async def send(order_id: str) -> str:
    order = await get_session().get(Order, order_id)
    assert order is not None
    order.status = "ordered"
    return order.number


@on_transition(Order, to="approved")
@workflow()
async def order_it(move: Move) -> str:
    return f"{move.from_state} -> {move.to_state}: {await send(move.entity_id)}"


@step()
async def jump(order_id: str) -> None:
    order = await get_session().get(Order, order_id)
    assert order is not None
    order.status = "ordered"


@workflow()
async def jump_ahead(order_id: str) -> None:
    await jump(order_id)


def make_shop(*, with_orders_placed: bool = False) -> Toolkit:
    app = (
        Toolkit("Shop")
        .register_entity(Supplier)
        .register_entity(Order, read_only=["approved_by"], hidden=["secret_margin"])
        .register_entity(Note)
        .register_entity(Country)
        .register_entity(Link)
        .register_workflow(jump_ahead)
    )
    return app.register_workflow(order_it) if with_orders_placed else app


def fields_of(response: Any) -> list[str]:
    """The places that a problem names."""
    return [error["loc"] for error in response.json()["errors"]]
