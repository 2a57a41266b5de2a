"""A small real installation for the tests of the API: an engine, its rooms, and somebody who calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

import httpx2
from fastapi import FastAPI
from pydantic import BaseModel, field_validator

from toolkit.access import Permission
from toolkit.agents import Agent, tool
from toolkit.api import Services, build_api
from toolkit.errors import TaskCancelled
from toolkit.files import File
from toolkit.human import Human
from toolkit.rules import rule
from toolkit.workflows import wait_for_event, workflow

Found = TypeVar("Found")


class Payment(BaseModel):
    total: Decimal


class Approval(BaseModel):
    approved: bool
    limit: Decimal = Decimal(0)
    days: int = 0

    @field_validator("limit")
    @classmethod
    def check_limit(cls, limit: Decimal) -> Decimal:
        if limit == 666:
            raise RuntimeError("an author's code may raise anything, and this is unlucky")
        return limit


class Allowance(BaseModel):
    allowed: bool


approve_payment = Human(
    "approve_payment",
    title="Approve the payment",
    input_type=Payment,
    output_type=Approval,
    assign_to="finance",
    timeout=timedelta(days=2),
)


def pay(account: str, amount: Decimal) -> str:
    """Pay somebody."""
    return f"{amount} to {account}"


reader = Agent(
    "read_payment",
    model="small",
    input_type=Payment,
    system_prompt="You read payments.",
    user_prompt="Total: {{ input.total }}",
    tools=[tool(effect="money")(pay)],
)


@rule(name="limit", description="What may be paid without a person?")
def limit(input: Payment) -> Allowance:
    return Allowance(allowed=input.total <= 100)


@workflow()
async def greet(name: str) -> str:
    """Say hello."""
    return f"Hello, {name}"


@workflow()
async def approve(total: Decimal) -> str:
    """Ask a person."""
    try:
        answer = await approve_payment(Payment(total=total), "Please look", suggested_data={"approved": True})
    except TaskCancelled as error:
        return f"cancelled by {error.cancelled_by}: {error.reason}"
    return f"{answer.completed_by}: {answer.output.approved} {answer.output.limit}"


@workflow()
async def repeat(amounts: list[Decimal]) -> list[str]:
    return [str(amount) for amount in amounts]


@workflow()
async def measure(files: list[File]) -> list[str]:
    return [f"{file.filename}: {file.size}" for file in files]


@workflow()
async def wait_for_letter() -> Any:
    return await wait_for_event("letter")


@workflow()
async def decide(total: Decimal) -> bool:
    """Ask the rule."""
    return (await limit(Payment(total=total))).allowed


WORKFLOWS = (approve, decide, greet, measure, repeat, wait_for_letter)


@dataclass
class Caller:
    """Calls one application as somebody, over ASGI."""

    app: FastAPI
    headers: dict[str, str] = field(default_factory=dict)
    keys: dict[frozenset[Permission], str] = field(default_factory=dict)

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        raise_app_exceptions: bool = False,
        **request: Any,
    ) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=raise_app_exceptions)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
            return await client.request(method, path, headers=self.headers | (headers or {}), **request)

    def key_of(self, *permissions: Permission) -> str:
        """An API key that holds just these."""
        return self.keys[frozenset(permissions)]


@dataclass
class Installation:
    """The rooms, and the application over them."""

    services: Services
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        self.app = build_api(self.services)

    def caller(self, app: FastAPI | None = None) -> Caller:
        """Somebody who calls ``app`` as Ada."""
        return Caller(app or self.app, headers={"x-toolkit-user": "ada"})


def key_sets() -> Iterator[frozenset[Permission]]:
    """Each permission alone, and all without it."""
    for permission in Permission:
        yield frozenset({permission})
        yield frozenset(Permission) - {permission}


async def until(look: Callable[[], Awaitable[Found]], *, seconds: float = 20) -> Found:
    """What ``look`` finds as soon as it finds something."""
    async with asyncio.timeout(seconds):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.005)
