"""The promise of test_every_crash.py with real processes, killed by SIGKILL, whose hashes have another seed each time.

Requests are counted where they arrive. Here a few moments of each scenario; all of them: ``python -m tests.agents``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agents.forge import Forge, Provider, die_once

pytestmark = pytest.mark.kill

MOMENTS = [
    ("read", "after", "model:0"),
    ("read", "before", "tool:agent:pick#2p:0"),
    ("settle", "after", "approval:1"),
    ("ask", "after", "tool:agent:consult#0t:0/think/0/model:1"),
]
ENDS = {
    "read": ({"number": "7", "tags": ["x", "y"], "total": 12}, 4, 4, "0.00048"),
    "settle": ("settled", 3, 3, "0.00036"),
    "ask": ("both", 6, 4, "0.00072"),
}


async def test_a_killed_process_costs_no_second_request_and_no_second_effect(database_url: str, tmp_path: Path) -> None:
    async with (
        Provider().serving() as provider,
        Forge.heated(hash_seed="1") as first,
        Forge.heated(hash_seed="2") as second,
    ):
        for name, when, key in MOMENTS:
            found = await die_once(
                first, second, provider, database=database_url, folder=tmp_path, name=name, when=when, key=key
            )

            output, requests, tool_calls, cost = ENDS[name]
            assert found["output"] == output
            assert (found["usage"]["requests"], found["usage"]["tool_calls"]) == (requests, tool_calls)
            assert found["cost"] == cost
