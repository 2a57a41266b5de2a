"""The decorators keep parameters and results. Read by mypy and by pyright; never run."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, assert_type

from pydantic import BaseModel

from toolkit.agents import Agent, AgentRunResult
from toolkit.human import Human, TaskResult, Timeout
from toolkit.rules import rule
from toolkit.workflows import RunHandle, gather, step, wait_for_event, workflow


class Order(BaseModel):
    total: Decimal


class Verdict(BaseModel):
    is_fine: bool


@step(max_retries=2)
async def fetch(number: int, *, name: str = "") -> Order:
    return Order(total=Decimal(number))


@step()
def add_up(orders: list[Order]) -> Decimal:
    return sum((order.total for order in orders), Decimal(0))


@rule(description="Is it fine?")
def check(input: Order) -> Verdict:
    return Verdict(is_fine=input.total < 10)


review = Human("review", title="Review", input_type=Order, output_type=Verdict, timeout=Timeout(timedelta(days=1)))
read = Agent("read", model="some_model", output_type=Order)


@workflow()
async def process(number: int, note: str = "") -> Verdict:
    assert_type(await fetch(number, name="a"), Order)
    assert_type(await add_up([await fetch(1)]), Decimal)
    assert_type(await check(Order(total=Decimal(1))), Verdict)
    assert_type(await review(Order(total=Decimal(1))), TaskResult[Verdict])
    assert_type(await read("text"), AgentRunResult[Order])
    both = await gather(fetch(1), add_up([]))
    assert_type(both, tuple[Order, Decimal])
    assert_type(await wait_for_event("go", payload_type=Order), Order)
    await fetch("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await fetch(1, nam="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await check(Verdict(is_fine=True))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await review(Verdict(is_fine=True))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return (await review(await fetch(number))).output


@workflow()
async def parent() -> bool:
    assert_type(await process(1), Verdict)
    assert_type(await process.start(1, note="b"), RunHandle[Verdict])
    assert_type(await (await process.start(1)).result(), Verdict)
    await process.start()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    untyped: Any = await wait_for_event("go")
    return bool(untyped)
