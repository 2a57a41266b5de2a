"""The examples of docs/agents.md are one program that starts and runs."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter
from pydantic_ai.models.test import TestModel

from toolkit.app import Toolkit
from toolkit.config import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text(encoding="utf-8")


def _blocks(language: str) -> str:
    return "\n\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL))


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    file = tmp_path / "documented_agents.py"
    file.write_text(_blocks("python"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("documented_agents", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "documented_agents", module)
    spec.loader.exec_module(module)
    return module


async def test_the_documented_program_starts_with_the_documented_configuration(example: Any, tmp_path: Path) -> None:
    app = Toolkit().register_workflow(example.read).register_workflow(example.pay_invoice)
    for workflow in (example.read_twice, example.talk):
        app.register_workflow(workflow)
    for agent in (example.clerk, example.secretary, example.archivist, example.measured):
        app.register_agent(agent)
    content = yaml.safe_load(_blocks("yaml").replace("${OPENAI_API_KEY}", "sk-test"))

    async with app.running(settings=Settings.of(content, folder=tmp_path)):
        agents = {agent.name: agent for agent in await app.services.agents.list_agents()}

    assert agents.keys() == {
        *("read_invoice", "payer", "reader", "clerk", "secretary", "archivist", "chatter", "measured"),
    }
    assert agents["clerk"].tools == {"book": "write", "discount": "read", "read_invoice": "read"}
    assert agents["payer"].needs_approval == ["pay"]


async def test_the_documented_test_passes(example: Any) -> None:
    await example.test_reader()


async def test_the_documented_workflow_runs(example: Any, tmp_path: Path) -> None:
    app = Toolkit().register_workflow(example.read)
    answer = {"vendor": "ACME", "total": "12.50"}
    app.register_model_factory("invoice_model", lambda settings: TestModel(custom_output_args=answer))

    async with app.running(settings=Settings.of({}, folder=tmp_path)):
        file = await app.services.files.upload(b"Invoice of ACME over 12.50", filename="7.txt")
        run = await app.start(example.read, file)
        assert await run.result() == example.Invoice(**answer)


async def test_the_documented_conversation_and_stream_run(example: Any, tmp_path: Path) -> None:
    app = Toolkit().register_workflow(example.talk).register_agent(example.archivist)
    app.register_model_factory("invoice_model", lambda settings: TestModel(custom_output_text="fine"))

    async with app.running(settings=Settings.of({}, folder=tmp_path)):
        assert await (await app.start(example.talk, "How are you?")).result() == "fine"
        with app.services.current():
            assert (await example.archivist("What is there?")).output == "fine"


async def test_the_documented_evaluation_passes(example: Any, tmp_path: Path) -> None:
    from toolkit.agents import Case, Gate, Scorer

    body = yaml.safe_load(_blocks("json"))
    scorers = [TypeAdapter(Scorer).validate_python(one) for one in body["scorers"]]
    assert [one.kind for one in scorers] == ["exact", "case_insensitive", "near", "custom", "judge"]
    Gate.model_validate(body["gate"])
    app = Toolkit().register_agent(example.measured)
    answer = {"vendor": "ACME", "total": "12.50"}
    app.register_model_factory("invoice_model", lambda settings: TestModel(custom_output_args=answer))

    async with app.running(settings=Settings.of({}, folder=tmp_path)):
        services = app.services
        case = Case(name="one", input="Invoice of ACME", expected=answer)
        _, run = await services.agents.evaluations.begin(
            services.engine, "measured", "golden", cases=[case], scorers=scorers[2:4]
        )
        assert (await run.result()).passed


_MAIN = """

from toolkit import Toolkit

app = Toolkit().register_agent(measured)
answer = {"vendor": "ACME", "total": "12.50"}
app.register_model_factory("invoice_model", lambda settings: TestModel(custom_output_args=answer))
"""
_CASES = """
cases:
- {name: small, input: Invoice of ACME, expected: {vendor: ACME, total: "12.505"}}
- {name: other, input: Invoice of ACME, expected: {vendor: WRITTEN, total: "12.50"}}
"""


@pytest.mark.parametrize(("vendor", "ends"), [("ACME", 0), ("Acme Ltd", 1)])
def test_the_documented_command_measures(tmp_path: Path, vendor: str, ends: int) -> None:
    (tmp_path / "main.py").write_text(_blocks("python") + _MAIN, encoding="utf-8")
    (tmp_path / "golden.yaml").write_text(_CASES.replace("WRITTEN", vendor), encoding="utf-8")
    _, *arguments = shlex.split(_blocks("sh"), comments=True)

    asked = [sys.executable, "-m", "toolkit.cli", *arguments]
    found = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert found.returncode == ends, found.stderr
