"""Assembly: an agent of ours as pydantic-ai's, which does the asking. Loaded only where pydantic-ai is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.usage import RunUsage, UsageLimits

from toolkit.agents.durability import CheckpointDurability
from toolkit.agents.events import tell_text
from toolkit.agents.tools import check_wanted_contexts, pydantic_tools

if TYPE_CHECKING:
    from toolkit.agents.agent import Agent
    from toolkit.agents.calls import AgentCall

_OUTPUTS = {"tool": ToolOutput, "native": NativeOutput, "prompted": PromptedOutput}


def assemble(agent: Agent[Any, Any], *, streams: bool) -> PydanticAgent[Any, Any]:
    """``agent`` as the library wants it; one that ``streams`` tells text while it is written.

    Raises:
        DefinitionError: a tool cannot be offered, or wants another context than the agent has.
    """
    # Once more: now every annotation can be resolved.
    check_wanted_contexts(agent.tools, agent=agent.name, context_type=agent.tool_context_type)
    output: Any = agent.output_type
    if output is not str:
        output = _OUTPUTS[agent.output_mode](output)
    return PydanticAgent(
        str(agent.model),
        name=agent.name,
        deps_type=agent.tool_context_type or object,
        output_type=output,
        tools=pydantic_tools(agent.tools, agent=agent.name),
        toolsets=agent.toolsets,
        retries={"tools": agent.retries.tools, "output": agent.retries.output},
        capabilities=[CheckpointDurability(event_stream_handler=tell_text if streams else None)],
        defer_model_check=True,
    )


def usage_limits(call: AgentCall, *, max_turns: int) -> UsageLimits:
    """What the library watches. Money and tokens are ours: it would throw the last answer away, and knows no prices."""
    return UsageLimits(request_limit=call.limits.requests or max_turns, tool_calls_limit=call.limits.tool_calls)


def usage_before(call: AgentCall) -> RunUsage:
    """What the library counts on from: attempts before this one count against the same limits."""
    used = call.spent.usage
    return RunUsage(
        requests=used.requests,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        tool_calls=used.tool_calls,
    )
