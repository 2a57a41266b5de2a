"""Three pieces of work for agents, and the provider that answers them over HTTP; for every test that lets them die.

``read``      nine units: four requests, three tools side by side, one that has to be tried again, one more, and an end
``settle``    two payments in two answers, each with an approval of its own
``ask``       an agent in the tools of another one, twice side by side

A script is a list of turns; which turn it is stands in the request itself, so a resumed run meets the same provider.
What tools do to the world is a line in a file, with the idempotency key of the call.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel

from tests.agents.openai_http import responses_answer, responses_call
from toolkit.agents import Agent, ModelRegistry, ModelRetry, tool, tool_idempotency_key

PRICE = {"input_per_million": "1", "output_per_million": "1"}


@dataclass
class World:
    """Where effects are written; one a process."""

    effects: Path = Path("effects")

    def note(self, effect: str) -> None:
        with self.effects.open("a", encoding="utf-8") as lines:
            lines.write(f"{effect} {tool_idempotency_key()}\n")


WORLD = World()


class Invoice(BaseModel):
    number: str
    total: int
    tags: set[str]


@tool(effect="read")
async def look(letter: str) -> str:
    """Look something up."""
    WORLD.note(f"look {letter}")
    return letter.upper()


@tool(effect="read")
def pick(number: int) -> int:
    """Pick a number, but not the first one."""
    WORLD.note(f"pick {number}")
    if number == 1:
        raise ModelRetry("not this one")
    return number


@tool(effect="money")
async def pay(account: str) -> str:
    """Pay somebody."""
    WORLD.note(f"pay {account}")
    return f"paid {account}"


think: Agent[str] = Agent("think", model="m", system_prompt="think", user_prompt="About {{ input }}", tools=[look])


@tool(effect="read")
async def consult(topic: str) -> str:
    """Ask another agent."""
    WORLD.note(f"consult {topic}")
    return (await think(topic)).output


READ = Agent("read", model="m", output_type=Invoice, system_prompt="read", tools=[look, pick])
SETTLE: Agent[str] = Agent("settle", model="m", system_prompt="settle", tools=[look, pay])
ASK: Agent[str] = Agent("ask", model="m", system_prompt="ask", tools=[consult])

Turn = str | Sequence[tuple[str, str, Mapping[str, Any]]]


def _calls(turn: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    return [responses_call(name, dict(arguments), id=call_id) for name, call_id, arguments in turn]


# By system prompt. Ids begin with their turn.
SCRIPTS: dict[str, list[Turn]] = {
    "read": [
        [("look", f"0{letter}", {"letter": letter}) for letter in "abc"],
        [("pick", "1p", {"number": 1})],
        [("pick", "2p", {"number": 2})],
        [("final_result", "3f", {"number": "7", "total": 12, "tags": ["x", "y"]})],
    ],
    "settle": [
        [("look", "0a", {"letter": "a"}), ("pay", "0p", {"account": "DE1"})],
        [("pay", "1p", {"account": "DE2"})],
        "settled",
    ],
    "ask": [[("consult", "0t", {"topic": "tea"}), ("consult", "0r", {"topic": "rain"})], "both"],
    "think": [[("look", "0d", {"letter": "d"})], "thought"],
}


def answer(asked: Mapping[str, Any]) -> httpx.Response:
    """What the provider answers to the JSON body of a request."""
    before = [int(item["call_id"][0]) for item in asked["input"] if item.get("type") == "function_call"]
    turn = SCRIPTS[asked["instructions"]][max(before) + 1 if before else 0]
    return responses_answer(turn) if isinstance(turn, str) else responses_answer(calls=_calls(turn))


def registry(base_url: str) -> ModelRegistry:
    """One priced model at ``base_url``."""
    return ModelRegistry(
        {"m": {"api": "responses", "model": "gpt-5-mini", "base_url": base_url, "api_key": "sk-test", "price": PRICE}}
    )


@dataclass(frozen=True)
class Scenario:
    """One of the three: ``keys`` are its checkpoints; those ``beside`` each other may end in any order."""

    agent: Agent[Any, Any]
    requests: int
    effects: Sequence[str]
    keys: Sequence[str]
    beside: Sequence[str] = ()

    def others_beside(self, key: str) -> tuple[str, ...]:
        """What may be half-done while ``key`` is reached: it is waited for, since what dies halfway runs again."""
        own = next((one for one in self.beside if key == one or key.startswith(f"{one}/")), None)
        return tuple(one for one in self.beside if one != own) if own is not None else ()

    def halved_by(self, key: str) -> list[str]:
        """The effect of the tool that a death at ``key`` leaves halfway, and which is done again under its old key."""
        topic = {"0t": "consult tea", "0r": "consult rain"}
        return [topic[key.partition("#")[2][:2]]] if "/think/" in key else []


def _below(tool_key: str) -> list[str]:
    inner = ("config", "model:0", "tool:agent:look#0d:0", "model:1")
    return [*(f"{tool_key}/think/0/{key}" for key in inner), tool_key]


_LOOKS = [f"tool:agent:look#0{letter}:0" for letter in "abc"]
_CONSULTS = ["tool:agent:consult#0t:0", "tool:agent:consult#0r:0"]

SCENARIOS = {
    "read": Scenario(
        agent=READ,
        requests=4,
        effects=["look a", "look b", "look c", "pick 1", "pick 2"],
        keys=[
            *("config", "model:0", *_LOOKS),
            *("model:1", "tool:agent:pick#1p:0", "model:2", "tool:agent:pick#2p:0", "model:3"),
        ],
        beside=_LOOKS,
    ),
    "settle": Scenario(
        agent=SETTLE,
        requests=3,
        effects=["look a", "pay DE1", "pay DE2"],
        keys=[
            *("config", "model:0", "tool:agent:look#0a:0"),
            *("approval:0", "decision:0", "tool:agent:pay#0p:0", "model:1"),
            *("approval:1", "decision:1", "tool:agent:pay#1p:0", "model:2"),
        ],
    ),
    "ask": Scenario(
        agent=ASK,
        requests=2 + 2 * 2,
        effects=["consult rain", "consult tea", "look d", "look d"],
        keys=["config", "model:0", *_below(_CONSULTS[0]), *_below(_CONSULTS[1]), "model:1"],
        beside=_CONSULTS,
    ),
}


def effects_in(file: Path) -> tuple[list[str], list[str]]:
    """What was done, sorted, each effect once a key; and what was done again under the key of an earlier time."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    again = list((Counter(lines) - Counter(set(lines))).elements())
    return sorted(_effect(line) for line in set(lines)), sorted(_effect(line) for line in again)


def _effect(line: str) -> str:
    return line.rpartition(" ")[0]


def body_of(request: httpx.Request) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.content)
    return body
