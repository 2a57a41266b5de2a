"""Changes: what a version of an agent says other than its code, and what comes of the two together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from toolkit.agents.prompts import Prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agents.agent import Agent
    from toolkit.agents.limits import Limits
    from toolkit.files import File


class Changes(BaseModel):
    """What a version changes; what is left out stays as the agent's code has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system_prompt: str | None = None
    user_prompt: str | None = None
    model: Annotated[str, Field(min_length=1)] | None = None
    """A key of ``ai_models``, or a model string."""
    model_parameters: dict[str, Any] | None = None
    """Added to those of the code; a parameter given here wins."""
    max_turns: Annotated[int, Field(ge=1, le=1000)] | None = None
    """In place of the code's. ``Limits(requests=...)`` of the code is never raised by it."""


class Definition:
    """An agent as it is to be run: its code, changed by a version (``number``) or by none."""

    def __init__(self, agent: Agent[Any, Any], changes: Changes | None = None, *, number: int | None = None) -> None:
        """Raises DefinitionError: a prompt of the version is no template, or reads a field that the input lacks."""
        changes = changes or Changes()
        self.number = number
        self._is_rendered_apart = changes.system_prompt is not None or changes.user_prompt is not None
        self.system_prompt = _prompt(agent, agent.system_prompt, changes.system_prompt, "system_prompt", number)
        self.user_prompt = _prompt(agent, agent.user_prompt, changes.user_prompt, "user_prompt", number)
        self.model = changes.model or agent.model
        self.model_parameters = {**agent.model_parameters, **(changes.model_parameters or {})}
        self.max_turns = changes.max_turns or agent.max_turns
        self.limits: Limits = agent.limits
        if changes.max_turns is not None:
            own = agent.limits.requests if agent.has_request_limit else None
            requests = changes.max_turns if own is None else min(own, changes.max_turns)
            self.limits = agent.limits.model_copy(update={"requests": requests})

    async def render(self, input: Any, files: Sequence[File]) -> tuple[str, str]:
        """The system prompt and the user prompt for one input.

        Templates of a version or a draft are rendered in a thread: who may write one must not hold up a process by it.

        Raises:
            InvalidInput: a template reads something that this input does not have, or becomes too long.
        """

        def both() -> tuple[str, str]:
            return self.system_prompt.render(input, files), self.user_prompt.render(input, files)

        return await asyncio.to_thread(both) if self._is_rendered_apart else both()

    def summary(self) -> dict[str, Any]:
        """Everything that a version may change, as it stands."""
        return {
            "system_prompt": self.system_prompt.template,
            "user_prompt": self.user_prompt.template,
            "model": str(self.model),
            "model_parameters": self.model_parameters,
            "max_turns": self.max_turns,
        }


def _prompt(agent: Agent[Any, Any], own: Prompt, changed: str | None, which: str, number: int | None) -> Prompt:
    if changed is None:
        return own
    version = f" version {number}" if number else ""
    return Prompt(changed, place=f"agent {agent.name!r}{version}: {which}", input_type=agent.input_type)
