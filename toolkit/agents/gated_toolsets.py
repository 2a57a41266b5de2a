"""Toolsets whose tools have effects: what is not known to be harmless waits for a person. Loaded with pydantic-ai."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.exceptions import ApprovalRequired
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset

from toolkit.agents.tools import Effect


@dataclass
class GatedToolset(WrapperToolset[Any]):
    """``wrapped``, with the effect of each tool. Tools without one, and those that move money, wait for a person."""

    effects: Mapping[str, Effect] = field(default_factory=dict)

    @property
    def id(self) -> str | None:
        return self.wrapped.id

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        if not ctx.tool_call_approved and self.effects.get(name, "money") == "money":
            raise ApprovalRequired
        return await super().call_tool(name, tool_args, ctx, tool)
