"""Which versions the decision nodes of an upload name. They are fixed there and then, so none asks in a circle."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit.errors import NotFound
from toolkit.rules.active import ActiveVersions
from toolkit.rules.compilation import Asked, Compiled
from toolkit.rules.definitions import Rule
from toolkit.rules.documents import graph_of, read_document, read_graph
from toolkit.rules.graphs import SubDecision
from toolkit.rules.issues import Findings

if TYPE_CHECKING:
    from toolkit.rules.versions import Versions

_KEY = re.compile(r"(?P<rule>[^@#]+)(?:@(?P<version>[1-9]\d{0,8}))?")


class SubDecisions:
    """Finds what a graph may ask: ``limits`` is the version of the rule that is active now, ``limits@3`` its third."""

    def __init__(self, versions: Versions, rules: Mapping[str, Rule[Any, Any]], active: ActiveVersions) -> None:
        self._versions, self._rules, self._active = versions, rules, active

    async def find(self, graph: bytes) -> dict[str, Asked | str]:
        """What each key in ``graph`` names, or why it names nothing."""
        if b"decisionNode" not in graph:
            return {}
        return {key: await self._find(key) for key in await asyncio.to_thread(_keys_in, graph)}

    async def _find(self, key: str) -> Asked | str:
        match = _KEY.fullmatch(key)
        if match is None:
            return "expected the name of a rule, or a name and a version as in 'limits@3'"
        name = match["rule"]
        rule = self._rules.get(name)
        if rule is None:
            return f"there is no rule {name!r}; known here: {', '.join(sorted(self._rules))}"
        number = int(match["version"]) if match["version"] else self._active.number(name)
        if number is None:
            return f"no version of {name!r} is active, and its code cannot be asked; name a version, as in '{name}@1'"
        try:
            row = await self._versions.get(name, number)
        except NotFound:
            return f"rule {name!r} has no version {number}"
        if row.contract_sha256 != rule.contract.sha256:
            return f"version {number} of {name!r} was made for other models than the rule has today"
        compiled = Compiled.model_validate_json(row.compiled)
        return Asked(name, number, graph_of(row.graph), rule.contract, compiled)


def _keys_in(graph: bytes) -> list[str]:
    unheard = Findings()  # the checks of the upload say what is wrong with it
    document = read_document(graph, unheard)
    if document is None:
        return []
    nodes = read_graph(document, unheard).nodes
    return sorted({node.content.key for node in nodes if isinstance(node.content, SubDecision) and node.content.key})
