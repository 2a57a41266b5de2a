"""A process that uses everything that keeps business data, for the tests of payload codecs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit import Toolkit
from toolkit.agents import Agent
from toolkit.human import Human
from toolkit.rules import rule
from toolkit.testing import ScriptedModel
from toolkit.workflows import (
    emit_event,
    get_session,
    message,
    set_progress,
    start_in,
    step,
    wait_for_event,
    workflow,
)

SECRET = "plum-tree-7391"
LARGE = 300 * 1024
broken: set[str] = set()


class Order(BaseModel):
    item: str
    amount: int


class Verdict(BaseModel):
    approved: bool
    reason: str


class OutOfStock(Exception):
    """Its message says nothing of the order; its attributes do."""

    def __init__(self, order: Order) -> None:
        super().__init__("out of stock")
        self.order = order.item


review = Human("review_order", title="Review an order", input_type=Order, output_type=Verdict)
reader = Agent("read_order", model="scripted", output_type=Order, system_prompt="You read orders.")


@rule(description="Which orders may be shipped without a person?")
def within_budget(input: Order) -> Verdict:
    return Verdict(approved=input.amount < 10, reason=f"{input.item} for {input.amount}")


@step()
async def copy_out(text: str) -> str:
    return f"copy of {text}"


@step()
async def print_catalogue(text: str) -> str:
    return text * (LARGE // len(text) + 1)


@step()
async def reserve(order: Order) -> str:
    if "stock" in broken:
        raise OutOfStock(order)
    return f"reserved {order.item}"


@step()
async def tell(text: str) -> str:
    session = get_session()
    await emit_event("told", {"text": text}, session=session)
    return (await start_in(session, wrap, text)).id


@workflow()
async def wrap(text: str) -> str:
    return f"wrapped {text}"


@workflow()
async def sell(text: str) -> dict[str, Any]:
    order = (await reader(text)).output
    set_progress(1, total=2, note=f"read {order.item}")
    await message(f"{order.item} was read")
    copy = await copy_out(order.item)
    catalogue = await print_catalogue(order.item)
    await tell(order.item)
    told = await wait_for_event("told")
    wrapped = await wrap(order.item)
    decided = await within_budget(order)
    paid = await wait_for_event("paid")
    try:
        reserved = await reserve(order)
    except OutOfStock as error:
        reserved = f"none of {error.order}"
    answer = (await review(order, suggested_data=Verdict(approved=True, reason=order.item))).output
    return {
        "copy": copy,
        "size": len(catalogue),
        "told": told,
        "wrapped": wrapped,
        "decided": decided.model_dump(),
        "paid": paid,
        "reserved": reserved,
        "answer": answer.model_dump(),
    }


@workflow()
async def ship(order: Order) -> str:
    copy = await copy_out(order.item)
    return f"{copy}, {await reserve(order)}"


def make_app(codec: Any = None) -> Toolkit:
    model = ScriptedModel(Order(item=SECRET, amount=12))
    app = Toolkit("Shop", payload_codec=codec).register_workflow(sell).register_workflow(ship)
    return app.register_model_factory("scripted", lambda settings: model.model)


async def emit_in(session: AsyncSession, key: str, payload: Any) -> None:
    await emit_event(key, payload, session=session)
