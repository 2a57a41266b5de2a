from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "pydantic_ai",
    "openai",
    "jinja2",
    "sqlalchemy",
    "sqlmodel",
    "fsspec",
    "zen",
    "yaml",
    "fastapi",
    "genai_prices",
)


def test_importing_agents_loads_no_heavy_library() -> None:
    code = (
        "import sys; from toolkit.agents import Agent, ModelRegistry, tool; "
        "Agent('a', model='m', system_prompt='plain', user_prompt='text'); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_the_names_of_pydantic_ai_load_it_when_asked_for() -> None:
    import pydantic_ai

    from toolkit.agents import ModelRetry, ToolContext, ToolFailed

    assert ToolContext is pydantic_ai.RunContext
    assert (ModelRetry, ToolFailed) == (pydantic_ai.ModelRetry, pydantic_ai.ToolFailed)
