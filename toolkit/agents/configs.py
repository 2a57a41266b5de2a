"""What one call of an agent goes by: what it was given, how often it may fail, and the record of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from toolkit.agents.histories import History
from toolkit.agents.limits import Limits
from toolkit.files import File

AgentInput = str | BaseModel | Sequence[str | BaseModel]
"""Text, a Pydantic model, a ``File`` (which is one), or a list of them."""


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often something is asked again before the agent gives up."""

    model: int = 3
    """A request that failed for a passing reason: rate limit, overload, network."""
    tools: int = 1
    """A tool call that the model got wrong, or whose tool raised ``ModelRetry``; for each tool."""
    output: int = 1
    """An answer that does not fit ``output_type``."""
    behavior: int = 0
    """The whole work, from its first request, after the model came to nothing usable; tools are called again too."""


class RecordedConfig(BaseModel):
    """What one call goes by from its first attempt to its end; the first checkpoint of every call."""

    system_prompt: str
    user_prompt: str
    model: str
    settings: dict[str, Any]
    max_turns: int
    tools: str
    """Digest of the tools' names and signatures; for the reader, who wonders why a resumed run diverged."""
    limits: Limits = Limits()
    version: int | None = None
    """Of the agent's versions; None is its code."""
    started_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What one call was given."""

    input: AgentInput
    files: Sequence[File]
    tool_context: Any
    history: History | None = None
