"""Steps, rules and agents are tools like functions, and stay what they are in the journal."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel

from tests.agents.runs import Cut, Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, ModelRegistry, tool
from toolkit.app.definitions import Definitions
from toolkit.rules import rule
from toolkit.workflows import step, workflow


class Order(BaseModel):
    amount: Decimal
    country: str = "DE"


class Price(BaseModel):
    discount: int


BOOKED: list[str] = []


@step()
async def book(account: str, amount: Decimal = Decimal(1)) -> str:
    """Book an amount."""
    BOOKED.append(f"{account} {amount}")
    return "booked"


@step()
def count(words: str) -> int:
    """Count words, in a thread."""
    return len(words.split())


@rule(name="pricing", description="How much discount?")
def pricing(order: Order) -> Price:
    return Price(discount=int(order.amount) // 10)


translate: Agent[str] = Agent("translate", model="m", system_prompt="You translate.")
clerk: Agent[str] = Agent(
    "clerk", model="m", tools=[tool(effect="external", needs_approval=False)(book), count, pricing, translate]
)


@workflow()
async def serve(text: str) -> str:
    return (await clerk(text)).output


async def test_a_model_calls_steps_rules_and_agents_and_each_is_recorded_as_itself(runs: Runs) -> None:
    BOOKED.clear()
    script = ScriptedModel(
        [
            call("book", account="A", amount="2.50"),
            call("count", words="a b c"),
            call("pricing", amount="25"),
            call("translate", input="hello"),
        ],
        "done",
    )
    below = ScriptedModel("hallo")

    def model(settings: object) -> object:
        return script.model

    registry = ModelRegistry({"m": {"provider": "scripted"}})
    registry.register_model_factory("scripted", lambda settings: script.model)
    runs.use(registry)
    translate.model = "below"
    registry.register_model_factory("below", lambda settings: below.model)

    await runs.cut_off(Cut("before", "model:1"), clerk, "?")
    assert (await runs.go_on()).output == "done"

    assert BOOKED == ["A 2.50"]
    kinds = {path.removeprefix("clerk/0/tool:agent:"): step.kind for path, step in (await runs.steps()).items()}
    assert kinds["book#book-1:0/book/0"] == "compute"
    assert kinds["count#count-1:0/count/0"] == "compute"
    assert kinds["pricing#pricing-1:0/pricing/0"] == "rule"
    assert kinds["translate#translate-1:0/translate/0"] == "agent"
    returned = [part.content for part in script.heard[-1][-1].parts]  # type: ignore[union-attr]
    assert returned == ["booked", 3, {"discount": 2}, "hallo"] or returned == ["booked", 3, Price(discount=2), "hallo"]


def test_what_only_reads_is_known_to() -> None:
    assert {tool.name: tool.effect for tool in clerk.tools} == {
        "book": "external",
        "count": "write",
        "pricing": "read",
        "translate": "read",
    }


def test_delegates_are_registered_with_the_workflow() -> None:
    definitions = Definitions()
    definitions.add_workflow(serve)

    assert definitions.rules.keys() == {"pricing"}
    assert definitions.agents.keys() == {"clerk", "translate"}
