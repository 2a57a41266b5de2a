from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from tests.rules.policies import (
    LIMITS,
    Claim,
    approval,
    chain,
    check,
    expression_node,
    found_in,
    graph_of,
    issues_of,
    switch_node,
    table_node,
)
from toolkit.errors import RuleGraphInvalid
from toolkit.rules import Sandbox, rule


class Narrow(BaseModel):
    model_config = ConfigDict(extra="forbid")
    approved: bool


class Nullable(BaseModel):
    limit: int | None


@rule()
def narrow(input: Claim) -> Narrow:
    return Narrow(approved=True)


@rule()
def nullable(input: Claim) -> Nullable:
    return Nullable(limit=None)


def test_a_sound_graph_has_no_issue(sandbox: Sandbox) -> None:
    report = check(LIMITS, sandbox).report

    assert report.issues == []
    assert report.decided == report.samples > 5


def test_everything_that_is_wrong_is_told_at_once_and_with_its_place(sandbox: Sandbox) -> None:
    graph = chain(
        table_node(
            [["> '100'", "'trvel'", "'maybe'", ""], ["<= 5", "startswith($, 'a')", "true", ""], ["", "", "", ""]]
        )
    )

    with pytest.raises(RuleGraphInvalid) as refused:
        check(graph, sandbox)

    found = {(issue["path"], issue["code"]) for issue in refused.value.issues}
    rows = "nodes.2.content.rules"
    assert found == {
        (f"{rows}.0.i0", "cell_cannot_match"),
        (f"{rows}.0.i1", "cell_cannot_match"),
        (f"{rows}.0.o0", "output_cannot_fit"),
        (f"{rows}.1.i1", "does_not_compile"),
        (f"{rows}.2.o0", "empty_output"),
    }
    assert all(issue["node"] == "node1" for issue in refused.value.issues)
    assert "row 1, column 'total'" in str(refused.value)
    assert {error["loc"] for error in refused.value.errors} == {path for path, _ in found}


@pytest.mark.parametrize(
    ("cell", "column"),
    [
        ("'100'", "total"),
        ("> '100'", "total"),
        ("5, 'x'", "total"),
        ("['1'..'9']", "total"),
        ("true", "total"),
        ("100", "vendor"),
        ("> 'M'", "vendor"),
        ("'true'", "is_known"),
        ("> true", "is_known"),
        ("'Travel'", "category"),
        ("not in ['travel', 'food']", "category"),
        ("5", "due"),
        ("'x'", "tags"),
        ("$ + 'x' > 5", "total"),
    ],
)
def test_a_cell_that_can_never_match_is_an_error(cell: str, column: str, sandbox: Sandbox) -> None:
    graph = chain(table_node([[cell, "true", "''"], ["", "false", "''"]], inputs=[column]))

    assert ("error", "cell_cannot_match") in issues_of(graph, sandbox)


@pytest.mark.parametrize(
    ("cell", "column"),
    [
        ("> 100 and <= 200", "total"),
        ("[1..10], 20", "total"),
        ("null", "due"),
        ("> '2024-01-01'", "due"),
        ("> d('2024-01-01')", "due"),
        ("'travel', 'meals'", "category"),
        ("startsWith($, 'A')", "vendor"),
        ("len($) > 0", "tags"),
        ("contains($, 'urgent')", "tags"),
        ("true", "is_known"),
        ("", "total"),
    ],
)
def test_a_cell_that_may_match_passes(cell: str, column: str, sandbox: Sandbox) -> None:
    graph = chain(table_node([[cell, "true", "''"], ["", "false", "''"]], inputs=[column]))

    assert issues_of(graph, sandbox) == []


def broken(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    graph = copy.deepcopy(LIMITS)
    change(graph)
    return graph


def _node(graph: dict[str, Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = graph["nodes"][number]
    return found


def _table(graph: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = graph["nodes"][2]["content"]
    return found


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no nodes": (lambda g: g.update(nodes=[]), "no_nodes"),
    "nodes are no list": (lambda g: g.update(nodes={}), "wrong_shape"),
    "a node without id": (lambda g: _node(g, 2).pop("id"), "wrong_shape"),
    "a policy document": (lambda g: g.update(blocks=[{}]), "not_allowed"),
    "two inputs": (lambda g: g["nodes"].append({"id": "x", "name": "x", "type": "inputNode"}), "input_count"),
    "no output": (lambda g: g["nodes"].pop(1), "output_count"),
    "same id": (lambda g: g["nodes"].append({**_node(g, 2), "name": "other"}), "duplicate_id"),
    "same name": (lambda g: g["nodes"].append({**_node(g, 2), "id": "other"}), "duplicate_name"),
    "dangling edge": (lambda g: g["edges"][0].update(targetId="nowhere"), "dangling_edge"),
    "an edge that is none": (lambda g: g["edges"].append({"sourceId": 5}), "wrong_shape"),
    "cycle": (lambda g: g["edges"].append({"sourceId": "node1", "targetId": "node1"}), "cycle"),
    "unreachable": (lambda g: g["edges"].pop(0), "unreachable"),
    "no path to the output": (lambda g: g["edges"].pop(1), "no_path_to_output"),
    "edge into the input": (lambda g: g["edges"].append({"sourceId": "node1", "targetId": "input"}), "edge_into_input"),
    "edge from the output": (
        lambda g: g["edges"].append({"sourceId": "output", "targetId": "node1"}),
        "edge_from_output",
    ),
    "JavaScript": (lambda g: _node(g, 2).update(type="functionNode"), "node_not_allowed"),
    "another rule": (lambda g: _node(g, 2).update(type="decisionNode", content={"key": "limits"}), "unknown_rule"),
    "no key of a rule": (lambda g: _node(g, 2).update(type="decisionNode", content={}), "wrong_shape"),
    "javascript": (lambda g: _node(g, 2).update(type="functionNode", content={"source": "x"}), "node_not_allowed"),
    "javascript of old": (lambda g: _node(g, 2).update(type="functionNode", content="x"), "wrong_shape"),
    "custom node": (lambda g: _node(g, 2).update(type="customNode"), "node_not_allowed"),
    "http node": (lambda g: _node(g, 2).update(type="httpNode"), "node_not_allowed"),
    "content is no object": (lambda g: _node(g, 2).update(content=[1]), "wrong_shape"),
    "hit policy": (lambda g: _table(g).update(hitPolicy="unique"), "wrong_shape"),
    "no rows": (lambda g: _table(g).update(rules=[]), "no_rows"),
    "no output column": (lambda g: _table(g).update(outputs=[]), "no_output_column"),
    "output column without field": (lambda g: _table(g)["outputs"][0].pop("field"), "no_output_field"),
    "brackets in a field": (lambda g: _table(g)["outputs"][0].update(field="a[0]"), "wrong_field"),
    "same column id": (lambda g: _table(g)["outputs"][0].update(id="i0"), "duplicate_id"),
    "same row id": (lambda g: _table(g)["rules"][0].update(_id="r2"), "duplicate_id"),
    "a number for a cell": (lambda g: _table(g)["rules"][0].update(i0=5), "cell_not_text"),
    "a cell of no column": (lambda g: _table(g)["rules"][0].update(zz="5"), "unknown_cell"),
    "a field that is not there": (lambda g: _table(g)["inputs"][0].update(field="amount"), "unknown_field"),
    "a name that is not there": (lambda g: _table(g)["rules"][0].update(i0="> limmit"), "unknown_field"),
    "a field the output lacks": (lambda g: _table(g)["outputs"][1].update(field="why"), "unknown_output"),
    "a required output missing": (lambda g: _table(g)["outputs"][0].update(field="limit"), "missing_output"),
    "our own names": (lambda g: _table(g)["outputs"][1].update(field="__row_0"), "reserved_name"),
    "a null for a required output": (lambda g: _table(g)["rules"][0].update(o0="null"), "empty_output"),
    "an expression too long": (
        lambda g: _table(g)["rules"][0].update(i0="> " + "1 + " * 600 + "1"),
        "expression_too_long",
    ),
    "brackets too deep": (lambda g: _table(g)["rules"][0].update(o1="[" * 50 + "]" * 50), "too_deep"),
    "closures too deep": (
        lambda g: _table(g)["rules"][0].update(o1="map([1..3000], map([1..3000], map([1..3000], 1)))"),
        "too_deep",
    ),
    "a list of a thousand million": (
        lambda g: _table(g)["rules"][0].update(o1="string(sum(map([1..1000000000], #*2)))"),
        "range_too_long",
    ),
    "a list without end": (lambda g: _table(g)["rules"][0].update(o1="string(sum(map([1..total], #)))"), "open_range"),
    "chance": (lambda g: _table(g)["rules"][0].update(o0="rand(10) > 5"), "not_deterministic"),
    "division": (lambda g: _table(g)["rules"][0].update(o0="1 / total > 5"), "may_divide_by_zero"),
    "an unknown node": (lambda g: _table(g)["rules"][0].update(o1="$nodes.other.x"), "unknown_node"),
    "too many nodes": (lambda g: g["nodes"].extend([_node(g, 2)] * 300), "too_many_nodes"),
    "too many edges": (lambda g: g["edges"].extend(g["edges"] * 2000), "too_many_edges"),
    "too many rows": (
        lambda g: _table(g).update(rules=[{"_id": str(n), "o0": "true"} for n in range(6000)]),
        "too_many_rows",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_is_found(fault: str, sandbox: Sandbox) -> None:
    change, code = BROKEN[fault]

    assert code in [code for _, code in issues_of(broken(change), sandbox)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"nodes": [NaN]}', "not_json"),
        (b"[]", "not_a_graph"),
        (b"[" * 100_000, "too_deep"),
        (b'{"nodes":' * 50 + b"1" + b"}" * 50, "too_deep"),
        (b" " * 2_000_001, "too_large"),
        (b"", "not_json"),
    ],
)
def test_what_is_no_graph_at_all_is_refused(data: bytes, code: str, sandbox: Sandbox) -> None:
    assert [found for _, found in issues_of(data, sandbox)] == [code]


def test_the_null_that_an_editor_writes_is_no_fault(sandbox: Sandbox) -> None:
    graph = broken(lambda g: _table(g)["rules"][0].update(_description=None, i1=None))

    assert issues_of(graph, sandbox) == []


def test_schemas_and_unknown_keys_of_an_upload_never_reach_the_engine(sandbox: Sandbox) -> None:
    def poison(graph: dict[str, Any]) -> None:
        _node(graph, 0)["content"] = {"schema": json.dumps({"$ref": "http://127.0.0.1:9/x.json"})}
        _node(graph, 1)["content"] = {"schema": json.dumps({"$ref": "file:///etc/passwd"})}
        _table(graph)["surprise"] = True

    checked = check(broken(poison), sandbox)

    assert "127.0.0.1" in checked.text
    for word in ("$ref", "127.0.0.1", "passwd", "surprise"):
        assert word not in checked.compiled.graph
        assert word not in str(checked.compiled.loop)


def test_switches_need_their_statements(sandbox: Sandbox) -> None:
    yes = expression_node({"approved": "true"})
    good = graph_of(
        {"which": switch_node(["total > 5", ""]), "yes": yes, "no": expression_node({"approved": "false"})},
        [("input", "which"), ("which", "yes", "s0"), ("which", "no", "s1"), ("yes", "output"), ("no", "output")],
    )
    lost = graph_of(
        {"which": switch_node(["total > 5", ""]), "yes": yes},
        [("input", "which"), ("which", "yes", "s9"), ("yes", "output")],
    )

    assert issues_of(good, sandbox) == []
    assert ("error", "dangling_handle") in issues_of(lost, sandbox)
    assert ("warning", "loose_statement") in issues_of(lost, sandbox)


def test_a_condition_that_always_fails_is_told(sandbox: Sandbox) -> None:
    graph = chain(table_node([["vendor > 5", "true", "''"], ["", "false", "''"]], inputs=[""]))

    assert issues_of(graph, sandbox) == [("warning", "condition_fails")]


def test_fields_are_known_from_node_to_node(sandbox: Sandbox) -> None:
    scored = expression_node({"score": "total * 2", "total": "total"})

    assert issues_of(chain(scored, table_node([["> 1", "", "true", "''"]], inputs=["score", "total"])), sandbox) == []
    gone = chain(scored, table_node([["> 5", "", "true", "''"], ["", "", "false", "''"]], inputs=["score", "vendor"]))
    assert [code for _, code in issues_of(gone, sandbox)] == ["unknown_field"]


def test_an_output_that_forbids_extras_makes_them_errors(sandbox: Sandbox) -> None:
    graph = chain(expression_node({"approved": "true", "note": "'x'"}))

    assert ("error", "unknown_output") in issues_of(graph, sandbox, narrow)
    assert issues_of(graph, sandbox, approval) == []


def test_a_required_output_may_be_null_and_must_be_there(sandbox: Sandbox) -> None:
    assert issues_of(chain(expression_node({"limit": "null"})), sandbox, nullable) == []
    assert issues_of(chain(expression_node({"other": "null"})), sandbox, nullable)[0] == ("error", "missing_output")


def test_every_issue_has_words_for_a_person(sandbox: Sandbox) -> None:
    for change, _ in BROKEN.values():
        for issue in found_in(broken(change), sandbox):
            assert len(issue["message"]) > 15
            assert "0x" not in issue["message"]
