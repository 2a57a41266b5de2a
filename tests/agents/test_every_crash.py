"""Promise: wherever a process dies, no request is paid twice, and output, usage and cost are what they would have been.

The model is asked over HTTP, and requests are counted there. test_every_kill.py does the same to real processes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import respx

from tests.agents import scenarios
from tests.agents.openai_http import RESPONSES_URL
from tests.agents.runs import Cut, Runs
from tests.agents.scenarios import SCENARIOS, answer, body_of, effects_in
from toolkit.storage import Database


@pytest.fixture
def provider(openai: respx.MockRouter) -> respx.Route:
    return openai.post(RESPONSES_URL).mock(side_effect=lambda request: answer(body_of(request)))


@pytest.fixture
async def runs(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runs]:
    monkeypatch.setattr(scenarios.WORLD, "effects", tmp_path / "effects")
    async with Runs(database, scenarios.registry("https://models.test/v1")).open(monkeypatch) as runs:
        runs.is_approving = True
        yield runs


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_crash_at_any_checkpoint_costs_nothing(runs: Runs, provider: respx.Route, name: str, when: Any) -> None:
    scenario, file = SCENARIOS[name], scenarios.WORLD.effects
    undisturbed = await runs.call(scenario.agent, "7")
    made = {path.partition(f"{name}/0/")[2] for path in await runs.steps()} - {""}
    # Between agent and agent stands the step of the inner one, and rows of waiting are the engine's.
    assert {key for key in made if not key.endswith("/think/0")} >= set(scenario.keys)
    assert provider.call_count == undisturbed.usage.requests == scenario.requests

    for key in scenario.keys:
        paid = provider.call_count
        file.unlink()
        await runs.cut_off(Cut(when, f"{name}/0/{key}", scenario.others_beside(key)), scenario.agent, "7")
        resumed = await runs.go_on()

        assert resumed == undisturbed, key
        assert provider.call_count - paid == scenario.requests, key
        assert effects_in(file) == (scenario.effects, scenario.halved_by(key)), key
