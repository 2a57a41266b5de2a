from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from tests.rules.policies import Verdict, chain, check, expression_node, found_in, table_node
from toolkit.rules import Sandbox, rule
from toolkit.rules.engine import Evaluation, Failure
from toolkit.rules.sandbox import Probe, Trial


def trial(graph: dict[str, Any], *contexts: Any, probes: tuple[Probe, ...] = ()) -> Trial:
    return Trial(json.dumps(graph), [json.dumps(context) for context in contexts], probes)


SUM = chain(expression_node({"sum": "a + b"}))
# 45 doublings of 16 characters: no static limit sees it, and it asks for 500 TB.
DOUBLING = chain(
    expression_node({"x0": "'aaaaaaaaaaaaaaaa'", **{f"x{n}": f"$.x{n - 1} + $.x{n - 1}" for n in range(1, 46)}})
)
HUGE_LIST = chain(expression_node({"approved": "sum(map([1..1000000000], # * 2)) > 5"}))
SLOW = chain(expression_node({"x": "map([1..30000], len(filter([1..30000], # > 5)))"}))


def javascript(body: str) -> dict[str, Any]:
    content = {"source": f"import http from 'http'; export const handler = async (input) => {{ {body} }}"}
    return chain({"type": "functionNode", "content": content})


@pytest.fixture
def strict() -> Iterator[Sandbox]:
    sandbox = Sandbox(silence_seconds=1, trial_seconds=10)
    yield sandbox
    sandbox.close()


def test_a_trial_gives_results_and_failures_in_order(sandbox: Sandbox) -> None:
    tried = sandbox.run(
        trial(
            SUM,
            {"a": 1, "b": 2},
            {"a": 1, "b": "x"},
            {"a": 0.1, "b": 0.2},
            probes=(Probe("test", "> '5'", ['{"$": 6}']), Probe("test", "> 5", ['{"$": 6}'])),
        )
    )

    first, second, third = tried.evaluations
    assert isinstance(first, Evaluation)
    assert first.result == {"sum": 3}
    assert isinstance(second, Failure)
    assert second.node_id == "node1"
    assert "\n" not in second.reason
    assert isinstance(third, Evaluation)
    assert third.result == {"sum": 0.3}
    assert tried.raises == [True, False]
    assert (tried.refused, tried.cut_off) == (None, None)


@pytest.mark.parametrize("graph", [DOUBLING, HUGE_LIST, SLOW], ids=["doubling", "huge list", "slow"])
def test_a_graph_that_runs_wild_is_ended_and_the_next_trial_works(graph: dict[str, Any], strict: Sandbox) -> None:
    started = time.monotonic()

    tried = strict.run(trial(graph, {"a": 1}, {"a": 2}))

    assert tried.cut_off is not None
    assert tried.evaluations == []
    assert time.monotonic() - started < 15
    assert strict.run(trial(SUM, {"a": 1, "b": 2})).evaluations == [Evaluation({"sum": 3}, None)]


@pytest.mark.parametrize(
    "body",
    ["await new Promise(() => {})", "while (true) {}", "const a = []; while (true) a.push(new Array(1e6).fill(1))"],
    ids=["promise", "loop", "memory"],
)
def test_even_javascript_is_contained(body: str, strict: Sandbox) -> None:
    tried = strict.run(trial(javascript(body), {}))

    assert tried.cut_off is not None or isinstance(tried.evaluations[0], Failure)
    assert strict.run(trial(SUM, {"a": 1, "b": 2})).cut_off is None


def test_the_child_can_open_nothing(tmp_path: Path, strict: Sandbox) -> None:
    secret = tmp_path / "schema.json"
    secret.write_text('{"type": "string"}')
    by_file = chain(expression_node({"x": "1"}))
    by_file["nodes"][0]["content"] = {"schema": json.dumps({"$ref": f"file://{secret}"})}

    for graph in (by_file, javascript("return (await http.get('http://127.0.0.1:9/')).data")):
        (evaluation,) = strict.run(trial(graph, {})).evaluations
        assert isinstance(evaluation, Failure)


def test_a_deep_or_huge_answer_ends_the_trial_and_not_the_parent(strict: Sandbox) -> None:
    huge = chain(expression_node({"x": "map([1..90000], map([1..20], 'xxxxxxxxxx'))"}))

    assert strict.run(trial(huge, {})).cut_off is not None


def test_the_engine_says_why_it_does_not_take_a_graph(sandbox: Sandbox) -> None:
    tried = sandbox.run(Trial('{"nodes": 5, "edges": []}', ["{}"]))

    assert tried.refused
    assert "\n" not in tried.refused
    assert sandbox.run(trial(SUM, {"a": 1, "b": 2})).refused is None


def test_a_wild_upload_is_refused_with_the_reason(strict: Sandbox) -> None:
    doubling = {"x0": "'aaaaaaaaaaaaaaaa'", **{f"x{n}": f"$.x{n - 1} + $.x{n - 1}" for n in range(1, 46)}}
    (blocking,) = [
        issue
        for issue in found_in(chain(expression_node({"approved": "true", **doubling})), strict)
        if issue["severity"] == "error"
    ]

    assert blocking["code"] == "not_containable"


def test_an_output_that_never_fits_is_refused(sandbox: Sandbox) -> None:
    graph = chain(expression_node({"approved": "vendor"}))

    (issue,) = found_in(graph, sandbox)

    assert (issue["severity"], issue["code"]) == ("error", "dry_run_failed")
    assert "approved" in issue["message"]


def test_an_output_that_fits_sometimes_is_a_warning_with_numbers(sandbox: Sandbox) -> None:
    graph = chain(table_node([["> 100", "", "vendor", "''"], ["", "", "true", "''"]]))

    report = check(graph, sandbox).report

    assert [issue.code for issue in report.issues] == ["dry_run_failed"]
    assert 0 < report.failed < report.samples


def test_samples_reach_every_row(sandbox: Sandbox) -> None:
    rows = [[f"> {n * 1000} and <= {(n + 1) * 1000}", "'meals'", "true", f"'{n}'"] for n in range(20)]

    report = check(chain(table_node(rows)), sandbox).report

    assert report.decided >= 20


class Coded(BaseModel):
    code: str = Field(pattern=r"^[A-Z]{3}-\d{4}$")


class Exemplary(Coded):
    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "ABC-1234"}]})


@rule
def coded(input: Coded) -> Verdict:
    return Verdict(approved=True)


@rule
def exemplary(input: Exemplary) -> Verdict:
    return Verdict(approved=True)


def test_a_model_that_no_guess_fits_gives_its_own_examples(sandbox: Sandbox) -> None:
    graph = chain(expression_node({"approved": "startsWith(code, 'A')"}))

    assert [issue["code"] for issue in found_in(graph, sandbox, coded)] == ["no_samples"]
    report = check(graph, sandbox, exemplary).report
    assert (report.issues, report.samples, report.decided) == ([], 1, 1)
