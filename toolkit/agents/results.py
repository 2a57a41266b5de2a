"""What an agent hands back: its output, what it used and what that cost."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Generic

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

from toolkit.agents.histories import History

if TYPE_CHECKING:
    from pydantic_ai.usage import RunUsage

OutputT = TypeVar("OutputT", default=str)


class Usage(BaseModel):
    """Counts of one agent run, including the agents that its tools called."""

    model_config = ConfigDict(frozen=True)

    requests: int = 0
    """Answers of models that the run went on with; a request that failed and was repeated counts once."""
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    """Calls of tools that succeeded."""

    @classmethod
    def of(cls, usage: RunUsage) -> Usage:
        return cls(
            requests=usage.requests,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            tool_calls=usage.tool_calls,
        )

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            tool_calls=self.tool_calls + other.tool_calls,
        )


class AgentRunResult(BaseModel, Generic[OutputT]):
    """The end of one agent run; equal when it is read back from the journal."""

    model_config = ConfigDict(frozen=True)

    output: OutputT
    usage: Usage
    cost: Decimal | None
    """In the currency of the model's price (US dollars unless configured); None if any request has no known price."""
    model: str
    """The model that answered last, by the name its provider gives it."""
    history: History | None = None
    """What a later call can go on with; only of agents that ``keep_history``, and only from runs."""


class Spending(BaseModel):
    """What was used and paid below one tool call; stored with the call, so that replay adds the same again."""

    usage: Usage = Usage()
    cost: Decimal | None = Decimal(0)
    unpriced: str | None = None
    """A model that used some of it and has no known price; for the error that this is under a limit on money."""

    def add(self, usage: Usage, cost: Decimal | None, *, model: str | None = None) -> None:
        """Count what ``model`` used."""
        self.usage += usage
        self.cost = total((self.cost, cost))
        if cost is None:
            self.unpriced = self.unpriced or model

    def include(self, other: Spending) -> None:
        """Count what ``other`` counts."""
        self.add(other.usage, other.cost, model=other.unpriced)


def total(costs: Iterable[Decimal | None]) -> Decimal | None:
    """The sum, or None when one of them is unknown: a sum that leaves something out would read as a price."""
    known = Decimal(0)
    for cost in costs:
        if cost is None:
            return None
        known += cost
    return known
