"""MCP servers as toolsets; needs the extra ``mcp``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit.errors import DefinitionError

if TYPE_CHECKING:
    from pydantic_ai.toolsets import AbstractToolset

    from toolkit.agents.tools import Effect


def mcp_server(id: str, target: Any, *, effects: Mapping[str, Effect] | None = None) -> AbstractToolset[Any]:
    """The tools of an MCP server, for ``toolsets=`` of an agent.

    ``target`` is what fastmcp's client takes: a URL, a script, a transport. ``id`` stands in the journal and must stay.
    ``effects`` says what its tools do; one that is not named there waits for a person at each call, since nobody here
    has read its code. Which tools there are is asked once a call of the agent, and kept like what they return.

    Raises:
        DefinitionError: the extra ``mcp`` is not installed.
    """
    try:
        from pydantic_ai.mcp import MCPToolset
    except ImportError as error:
        raise DefinitionError(
            f"MCP server {id!r} needs a package that is not installed: pip install 'process-toolkit[mcp]'"
        ) from error
    return gated(MCPToolset(target, id=id), effects=effects)


def gated(toolset: AbstractToolset[Any], *, effects: Mapping[str, Effect] | None = None) -> AbstractToolset[Any]:
    """Any toolset of pydantic-ai, held like the tools of an MCP server: see :func:`mcp_server`."""
    from toolkit.agents.gated_toolsets import GatedToolset

    return GatedToolset(toolset, effects=dict(effects or {}))
