"""What may be a step or a workflow besides a function: partials, objects that are called, wrappers of async functions."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from toolkit.errors import DefinitionError
from toolkit.testing import running_process
from toolkit.workflows import step, suspend, workflow


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@step()
@traced
async def wrapped(amount: Decimal) -> Decimal:
    return amount * 2


async def multiply(factor: int, amount: Decimal) -> Decimal:
    return factor * amount


def add(amount: Decimal, *, tax: Decimal) -> Decimal:
    return amount + tax


class Discount:
    def __init__(self, name: str) -> None:
        self.name, self.retry = name, None

    async def __call__(self, amount: Decimal) -> Decimal:
        return amount / 2


class Rounding:
    digits: int = 1

    def __call__(self, amount: Decimal) -> Decimal:
        return round(amount, self.digits)


double = step(name="double")(functools.partial(multiply, 2))
taxed = step(name="taxed")(functools.partial(add, tax=Decimal(1)))
halve = step(name="halve")(Discount("half"))
rounded = step(name="rounded")(Rounding())
squared = step(name="squared")(lambda amount: str(Decimal(amount) ** 2))


@workflow()
async def prices(amount: Decimal) -> list[str]:
    found = [
        await wrapped(amount),
        await double(amount),
        await taxed(amount),
        await halve(amount),
        await rounded(amount),
        Decimal(await squared(str(amount))),
    ]
    await suspend(interval=60)
    return [str(each) for each in found]


EXPECTED = ["3.00", "3.00", "2.50", "0.75", "1.5", "2.2500"]


async def test_partials_objects_and_wrappers_are_steps_and_keep_their_types(database_url: str) -> None:
    async with running_process(database_url, prices) as process:
        run = await process.start(prices, Decimal("1.50"))
        assert await process.result(run) == EXPECTED
        steps = await process.engine.list_steps(run.id)
        assert [each.name for each in steps[:5]] == ["wrapped", "double", "taxed", "halve", "rounded"]
        await process.check_replay(run)


async def test_outside_a_run_they_are_the_functions_they_were() -> None:
    assert await wrapped(Decimal(1)) == 2
    assert await halve(Decimal(1)) == Decimal("0.5")
    assert await rounded(Decimal("0.25")) == Decimal("0.2")


class Greeting:
    async def __call__(self, name: str) -> str:
        return f"hello {name}"


async def welcome(greeting: str, name: str) -> str:
    return f"{greeting} {name}"


async def test_a_workflow_may_be_a_partial_or_an_object(database_url: str) -> None:
    greet = workflow(name="greet")(Greeting())
    partial = workflow(name="welcome")(functools.partial(welcome, "welcome"))
    async with running_process(database_url, greet, partial) as process:
        assert await process.result(await process.start(greet, "Ada")) == "hello Ada"
        assert await process.result(await process.engine.start_json("welcome", {"name": "Ada"})) == "welcome Ada"


def yields() -> Iterator[int]:
    yield 1


async def yields_later() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("function", [yields, yields_later])
def test_a_generator_is_no_step(function: Callable[..., Any]) -> None:
    with pytest.raises(DefinitionError, match="is a generator"):
        step()(function)


def test_what_has_no_name_has_to_be_given_one() -> None:
    with pytest.raises(DefinitionError, match=r"a step of .* has no name of its own; give it one with name="):
        step()(functools.partial(multiply, 2))
    with pytest.raises(DefinitionError, match=r"a workflow of .* has no name of its own"):
        workflow()(functools.partial(welcome, "welcome"))
    with pytest.raises(DefinitionError, match="is a plain function"):
        workflow(name="rounding")(Rounding())  # type: ignore[arg-type]
