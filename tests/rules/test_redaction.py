"""Secret fields decide, and nobody reads them in an explanation, a back-test or the result of a case."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, SecretStr

from tests.rules.policies import chain, encode, expression_node, table_node
from toolkit.rules import RuleService, Secret, rule
from toolkit.storage import Database
from toolkit.workflows import Engine, workflow

IBAN, PIN, SALARY, TOKEN = "DE02120300000000202051", "73", 1234567, "s3cr3t-token"


class Account(BaseModel):
    iban: Annotated[str, Secret]


class Payment(BaseModel):
    total: int
    pin: Annotated[str, Secret] = ""
    salary: Annotated[int | None, Secret] = None
    accounts: list[Account] = []
    token: SecretStr = SecretStr("")


class Outcome(BaseModel):
    allowed: bool
    told: str = ""
    pin: Annotated[str, Secret] = ""
    amount: int = 0


@rule
def payable(input: Payment) -> Outcome:
    return Outcome(allowed=True, pin=input.pin, amount=input.salary or 0)


GRAPH = chain(
    table_node(
        [["> 10", f"'{TOKEN}'", "true", "pin", "salary"], ["", "", "false", "pin", "salary"]],
        inputs=["total", "token"],
        outputs=["allowed", "pin", "amount"],
        passThrough=True,
    ),
    expression_node(
        {"allowed": "allowed", "pin": "pin", "amount": "amount", "told": "'to ' + accounts[0].iban + ' by pin ' + pin"}
    ),
)
PAYMENT = {"total": 73, "pin": PIN, "salary": SALARY, "accounts": [{"iban": IBAN}], "token": TOKEN}


@workflow()
async def pay(payment: Payment) -> bool:
    return (await payable(payment)).allowed


@pytest.fixture
def hidden() -> list[str]:
    return [IBAN, "pin 73", str(SALARY), f"{SALARY:,}", TOKEN]


def read(told: BaseModel) -> str:
    return told.model_dump_json()


async def test_secrets_decide_and_are_not_told(database: Database, hidden: list[str]) -> None:
    service = RuleService(database, [payable], refresh_seconds=3600)
    await service.open()
    by_function = await service.workbench.explain_input("payable", encode(PAYMENT))
    simulated = await service.workbench.simulate("payable", encode(GRAPH), encode(PAYMENT))
    await service.upload("payable", encode(GRAPH))
    told = await service.workbench.explain_input("payable", encode(PAYMENT), version=1)
    answer = await service.evaluate("payable", encode(PAYMENT), version=1)

    assert answer.output["allowed"] is True, "the graph has compared the secret itself"
    assert answer.output["told"] == f"to {IBAN} by pin {PIN}", "who asks for the decision has it whole"
    for one in (by_function, simulated, told):
        assert [secret for secret in hidden if secret in read(one)] == []
    assert told.input["accounts"] == [{"iban": "(secret)"}]
    assert told.output == {
        "allowed": True,
        "told": "to (secret) by pin (secret)",
        "pin": "(secret)",
        "amount": "(secret)",
    }
    assert told.input["total"] == 73, "an equal value elsewhere is no secret"
    await service.close()


async def test_recorded_decisions_back_tests_and_cases_keep_secrets(database: Database, hidden: list[str]) -> None:
    service = RuleService(database, [payable], refresh_seconds=3600)
    await service.open()
    await service.upload("payable", encode(GRAPH))
    case = {"input": encode(PAYMENT).decode(), "expected": encode({"allowed": True, "pin": "99", "amount": 5}).decode()}
    await service.workbench.put_case("payable", "one", **case)
    engine = Engine(database, workflows=[pay])
    engine.resources[RuleService] = service
    await engine.open()
    await (await engine.start(pay, Payment.model_validate(PAYMENT))).result()

    (decision,) = await service.workbench.decisions("payable")
    read_of: list[Any] = [
        await service.workbench.explain(decision.id),
        await service.workbench.back_test("payable", 1),
        await service.workbench.run_cases("payable", version=1),
    ]

    assert read_of[1].changed == 1
    assert read_of[2].results[0].differences == [
        "pin: expected (secret), found (secret)",
        "amount: expected 5, found (secret)",
    ]
    for one in read_of:
        assert [secret for secret in hidden if secret in read(one)] == []
    await engine.close()
    await service.close()
