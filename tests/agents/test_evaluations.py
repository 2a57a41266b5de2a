"""Promise: a version is measured by cases in a run like any other, and may be asked to pass before it is activated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from toolkit.agents import Agent, Case, Changes, Gate, Score, Scored, read_cases, tool
from toolkit.agents.scorers import CaseInsensitive, Custom, Exact, Judge, Near, custom_scorers, score
from toolkit.app import Toolkit
from toolkit.config import Settings
from toolkit.errors import Conflict, DefinitionError, InvalidInput
from toolkit.workflows import workflow

HEADERS = {"x-toolkit-user": "ada"}
SENT: list[str] = []
REQUESTS: list[str] = []


class Invoice(BaseModel):
    vendor: str
    total: Decimal


@tool(effect="external", needs_approval=True)
def send(to: str) -> str:
    """Send it to somebody."""
    SENT.append(to)
    return "sent"


def is_round(scored: Scored) -> bool:
    return bool(scored.raw.total == scored.raw.total.to_integral_value())


reader = Agent(
    "reader",
    model="reading",
    output_type=Invoice,
    system_prompt="plain",
    tools=[send],
    scorers=[is_round],
    activation_requires="golden",
)


@workflow()
async def read(text: str) -> Invoice:
    return (await reader(text)).output


def _answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Reads ``vendor total``; shouts when it is told to; judges by length."""
    text = str(messages[0].parts[-1].content)  # type: ignore[union-attr]
    if info.output_tools and "score" in str(info.output_tools[0].parameters_json_schema):
        return ModelResponse([ToolCallPart("final_result", {"score": 0.9, "reason": "good"}, tool_call_id="j")])
    REQUESTS.append(text)
    if text.startswith("!") and len(messages) == 1:
        return ModelResponse([ToolCallPart("send", {"to": "thief"}, tool_call_id="s")])
    if text == "nonsense":
        return ModelResponse([TextPart("?")])
    vendor, total = text.lstrip("!").split()
    if info.instructions == "shout":
        vendor = vendor.upper()
    return ModelResponse([ToolCallPart("final_result", {"vendor": vendor, "total": total}, tool_call_id="f")])


@pytest.fixture
async def app(database_url: str, tmp_path: Path) -> AsyncIterator[Toolkit]:
    SENT.clear()
    REQUESTS.clear()
    app = Toolkit().register_workflow(read)
    for key in ("reading", "judging"):
        app.register_model_factory(key, lambda settings: FunctionModel(_answer, model_name="scripted"))
    async with app.running(settings=Settings.of({"database": {"url": database_url}}, folder=tmp_path)):
        yield app


async def _call(app: Toolkit, method: str, path: str, **request: Any) -> httpx2.Response:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        return await client.request(method, f"/toolkit/v1/agents/reader{path}", headers=HEADERS, **request)


async def _ended(app: Toolkit, started: httpx2.Response) -> dict[str, Any]:
    assert started.status_code == 202, started.text
    async with asyncio.timeout(30):
        while True:
            found: dict[str, Any] = (await _call(app, "GET", f"/evaluations/{started.json()['id']}")).json()
            if found["report"] is not None:
                return found
            error = (await app.services.engine.get_run(found["run_id"])).error
            assert error is None, error
            await asyncio.sleep(0.01)


async def _golden(app: Toolkit) -> None:
    for name, text, expected in (
        ("a", "acme 12", {"vendor": "acme", "total": "12"}),
        ("b", "!bolt 7", {"vendor": "Bolt", "total": "7"}),
    ):
        put = await _call(app, "PUT", f"/data-sets/golden/cases/{name}", json={"input": text, "expected": expected})
        assert put.status_code == 200, put.text


SCORERS: list[dict[str, Any]] = [
    {"kind": "case_insensitive", "field": "vendor"},
    {"kind": "near", "field": "total", "tolerance": "0.01"},
    {"kind": "custom", "name": "is_round"},
]


async def test_a_version_is_measured_compared_and_only_then_activated(app: Toolkit) -> None:
    await _golden(app)
    await app.services.agents.add("reader", Changes(system_prompt="shout"))
    refused = await _call(app, "POST", "/versions/1/activate")
    assert refused.status_code == 409
    assert "was not evaluated on 'golden'" in refused.json()["detail"]

    code = await _ended(app, await _call(app, "POST", "/evaluations", json={"data_set": "golden", "scorers": SCORERS}))
    exact = [{"kind": "exact", "field": "vendor"}]
    failing = await _ended(
        app, await _call(app, "POST", "/evaluations", json={"data_set": "golden", "version": 1, "scorers": exact})
    )
    assert (code["passed"], failing["passed"]) == (True, False)
    assert failing["report"]["missed"] == ["0.0000 of the cases passed; the gate wants 1"]
    assert "did not pass" in (await _call(app, "POST", "/versions/1/activate")).json()["detail"]

    passing = await _ended(
        app, await _call(app, "POST", "/evaluations", json={"data_set": "golden", "version": 1, "scorers": SCORERS})
    )
    report = passing["report"]
    assert (report["pass_rate"], report["usage"]["requests"]) == ("1.0000", 3)
    assert report["scorers"]["custom is_round"] == {"mean": "1.0000", "passed": 2, "cases": 2}
    assert [case["output"]["vendor"] for case in report["cases"]] == ["ACME", "BOLT"]
    assert not SENT  # what would wait for a person is taken as done, and is not done
    assert (await _call(app, "POST", "/versions/1/activate")).status_code == 200

    compared = await _call(app, "GET", "/evaluations/compare", params={"before": failing["id"], "after": passing["id"]})
    assert compared.json()["pass_rate"] == "1.0000"
    assert [one["name"] for one in compared.json()["improved"]] == ["a", "b"]
    listed = (await _call(app, "GET", "/evaluations")).json()["items"]
    assert [one["id"] for one in listed] == [passing["id"], failing["id"], code["id"]]


async def test_a_finished_run_becomes_a_case(app: Toolkit) -> None:
    run = await app.start(read, "acme 12.50")
    await run.result()

    captured = await _call(app, "POST", "/data-sets/golden/capture", json={"run_id": run.id, "name": "from a run"})

    assert captured.status_code == 201
    assert captured.json()["input"] == "acme 12.50"
    assert captured.json()["expected"] == {"vendor": "acme", "total": "12.50"}
    assert captured.json()["created_by"] == "ada"
    again = await _ended(app, await _call(app, "POST", "/evaluations", json={"data_set": "golden"}))
    assert again["passed"] is True
    missing = {"run_id": run.id, "name": "x", "step": "reader/7"}
    assert (await _call(app, "POST", "/data-sets/golden/capture", json=missing)).status_code == 404
    assert (await _call(app, "DELETE", "/data-sets/golden/cases/from a run")).status_code == 204
    assert (await _call(app, "GET", "/data-sets/golden/cases")).json()["items"] == []


async def test_a_case_that_comes_to_nothing_is_a_case_that_failed(app: Toolkit) -> None:
    cases = [
        Case(name="good", input="acme 1", expected={"vendor": "acme", "total": "1"}),
        Case(name="bad", input="nonsense"),
    ]
    evaluation, run = await app.services.agents.evaluations.begin(
        app.services.engine, "reader", "by hand", cases=cases, gate=Gate(pass_rate=Decimal("0.5"))
    )

    report = await run.result()

    assert evaluation.passed is None
    assert report.passed
    assert report.pass_rate == Decimal("0.5")
    bad = report.cases[1]
    assert bad.error is not None
    assert bad.error.startswith("ModelBehaviorError")


async def test_cases_are_evaluated_side_by_side_each_a_step_of_its_own(app: Toolkit) -> None:
    cases = [Case(name=str(n), input=f"acme {n}", expected={"vendor": "acme", "total": str(n)}) for n in range(7)]
    judge = Judge(model="judging", rubric="Is {it} {{ good }}?")

    _, run = await app.services.agents.evaluations.begin(
        app.services.engine, "reader", "many", cases=cases, scorers=[Exact(), judge], concurrency=3
    )
    report = await run.result()

    assert report.passed
    assert report.scorers["judge judging"].mean == Decimal("0.9000")
    steps = await app.services.engine.list_steps(run.id)
    assert sum(one.name == "evaluate_case" for one in steps) == 7
    assert sum(one.kind == "model_call" for one in steps) == 14
    assert len(REQUESTS) == 7


@pytest.mark.parametrize(
    "body",
    [
        {"data_set": "golden", "scorers": [{"kind": "custom", "name": "unknown"}]},
        {"data_set": "golden", "scorers": [{"kind": "judge", "model": "nobody", "rubric": "?"}]},
        {"data_set": "golden", "changes": {"system_prompt": "{{ nothing"}},
        {"data_set": "golden", "scorers": []},
    ],
)
async def test_what_cannot_be_evaluated_is_refused(app: Toolkit, body: dict[str, Any]) -> None:
    await _golden(app)
    refused = await _call(app, "POST", "/evaluations", json=body)
    assert refused.status_code == 422, refused.text
    assert (await _call(app, "POST", "/evaluations", json={"data_set": "empty"})).status_code == 404


@pytest.mark.parametrize(
    ("scorer", "output", "expected", "passed"),
    [
        (Exact(), {"a": 1}, {"a": 1}, True),
        (Exact(field="a.0.b"), {"a": [{"b": "x"}]}, {"a": [{"b": "x"}]}, True),
        (Exact(field="a"), {"a": "x"}, {"a": "X"}, False),
        (Exact(field="a"), {}, {"a": "X"}, False),
        (CaseInsensitive(field="a"), {"a": " Straße  7"}, {"a": "STRASSE 7"}, True),
        (Near(field="a", tolerance=Decimal("0.01")), {"a": "12.34"}, {"a": 12.35}, True),
        (Near(field="a"), {"a": "12.34"}, {"a": "12.35"}, False),
        (Near(field="a"), {"a": "much"}, {"a": "12.35"}, False),
    ],
)
async def test_scorers(scorer: Any, output: Any, expected: Any, passed: bool) -> None:
    scored = Scored(name="case", input="?", output=output, expected=expected)
    said = await score(scorer, scored, customs={}, judging=_nobody)
    assert said.passed is passed
    assert bool(said.reason) is not passed


async def test_a_function_may_say_yes_a_number_or_a_score() -> None:
    async def half(scored: Scored) -> float:
        return 0.5

    def strict(scored: Scored) -> Score:
        return Score(scorer="", value=Decimal(1), passed=False, reason="never")

    customs = custom_scorers([half, strict], agent="reader")
    scored = Scored(name="case", input="?", output=1, expected=1)
    first, second = [await score(Custom(name=name), scored, customs=customs, judging=_nobody) for name in customs]
    assert (first.value, first.passed, first.scorer) == (Decimal("0.5"), False, "custom half")
    assert (second.passed, second.reason) == (False, "never")
    with pytest.raises(InvalidInput, match="no scorer 'other'"):
        await score(Custom(name="other"), scored, customs=customs, judging=_nobody)
    for wrong in ([half, half], [lambda scored: True], ["text"]):
        with pytest.raises(DefinitionError):
            custom_scorers(wrong, agent="reader")


async def test_an_evaluator_of_pydantic_evals_is_a_scorer() -> None:
    evals = pytest.importorskip("pydantic_evals.evaluators", reason="the extra `evals` is not installed")
    customs = custom_scorers([evals.EqualsExpected(), evals.Contains(value="tea")], agent="reader")
    scored = Scored(name="case", input="?", output="tea and salt", expected="tea")

    equals, contains = [await score(Custom(name=name), scored, customs=customs, judging=_nobody) for name in customs]

    assert (equals.scorer, equals.passed, equals.value) == ("custom EqualsExpected", False, Decimal(0))
    assert (contains.passed, contains.value) == (True, Decimal(1))


def test_cases_are_read_from_files_ours_and_those_of_pydantic_evals(tmp_path: Path) -> None:
    ours = tmp_path / "ours.yaml"
    ours.write_text("cases:\n- {name: a, input: acme 12, expected: {total: '12'}}\n", encoding="utf-8")
    theirs = tmp_path / "theirs.json"
    case: dict[str, Any] = {"inputs": "acme 12", "expected_output": {"total": "12"}, "metadata": None, "evaluators": []}
    theirs.write_text(json.dumps({"name": "x", "cases": [case]}), encoding="utf-8")

    assert read_cases(ours)[0].expected == read_cases(theirs)[0].expected == {"total": "12"}
    assert read_cases(theirs)[0].name == "case 1"


async def test_an_evaluation_needs_a_version_that_passed_most_recently(app: Toolkit) -> None:
    await app.services.agents.add("reader", Changes(system_prompt="shout"))
    cases = [Case(name="a", input="acme 1", expected={"vendor": "acme", "total": "1"})]
    for scorer, is_allowed in ((CaseInsensitive(field="vendor"), True), (Exact(field="vendor"), False)):
        _, run = await app.services.agents.evaluations.begin(
            app.services.engine, "reader", "golden", cases=cases, version=1, scorers=[scorer]
        )
        await run.result()
        if is_allowed:
            await app.services.agents.evaluations.require_passed(reader, 1)
        else:
            with pytest.raises(Conflict, match="did not pass"):
                await app.services.agents.evaluations.require_passed(reader, 1)


async def _nobody(judge: Judge, scored: Scored) -> Score:
    raise AssertionError("nobody is asked")
