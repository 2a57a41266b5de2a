"""What changed between two versions, in the words of their authors."""

from __future__ import annotations

import copy
from typing import Any

from tests.rules.policies import LIMITS, chain, encode, expression_node, graph_of, switch_node, table_node
from toolkit.rules import RuleService
from toolkit.rules.differences import compare
from toolkit.rules.documents import graph_of as read


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [change.text for change in compare(read(encode(before).decode()), read(encode(after).decode()))]


def test_equal_graphs_have_no_differences_wherever_their_nodes_lie() -> None:
    moved = copy.deepcopy(LIMITS)
    moved["nodes"][2]["position"] = {"x": 5, "y": 5}
    moved["nodes"].reverse()
    moved["nodes"][0]["content"]["rules"][0]["i0"] = "<=  5000"

    assert changes(LIMITS, moved) == []


def test_a_row_is_known_by_its_id() -> None:
    after = copy.deepcopy(LIMITS)
    rules = after["nodes"][2]["content"]["rules"]
    rules[0]["i0"] = "<= 6000"
    rules[1], rules[2] = rules[2], rules[1]
    rules.append({"_id": "r9", "i0": "> 9", "o0": "true", "o1": "''"})
    rules.pop(2)

    assert changes(LIMITS, after) == [
        "node1: row 2 was removed",
        "node1, row 1, total: was `<= 5000`, is `<= 6000`",
        "node1: row 3 was added",
    ]


def test_only_rows_that_moved_are_said_to_move() -> None:
    rows = [[f"<= {n}", "", "true", "''"] for n in range(5)]
    before = chain(table_node(rows))
    after = copy.deepcopy(before)
    after["nodes"][2]["content"]["rules"].insert(0, after["nodes"][2]["content"]["rules"].pop())

    assert changes(before, after) == ["node1: row 5 is now row 1"]


def test_columns_settings_expressions_and_conditions_are_told_apart() -> None:
    before = graph_of(
        {"ways": switch_node(["total > 5", ""]), "a": expression_node({"approved": "true", "reason": "'a'"})},
        [("input", "ways"), ("ways", "a", "s0"), ("ways", "a", "s1"), ("a", "output")],
    )
    after = graph_of(
        {"ways": switch_node(["total > 6"]), "a": expression_node({"approved": "false"}, passThrough=True)},
        [("input", "ways"), ("ways", "a", "s0"), ("a", "output")],
    )

    assert changes(before, after) == [
        "ways: s0 was `total > 5`, is `total > 6`",
        "ways: s1 was removed: empty",
        "a: passes through was `False`, is `True`",
        "a: approved was `true`, is `false`",
        "a: reason was removed: `'a'`",
        "ways no longer leads to a by s1",
    ]
    assert changes(chain(table_node([["1", "true"]], inputs=["total"], outputs=["approved"])), LIMITS)[:2] == [
        "node1: the column category was added",
        "node1: the column reason was added",
    ]


async def test_two_versions_are_compared(service: RuleService) -> None:
    after = copy.deepcopy(LIMITS)
    after["nodes"][2]["content"]["rules"][1]["i0"] = "<= 200"
    await service.upload("approval", encode(LIMITS))
    await service.upload("approval", encode(after))

    (change,) = await service.workbench.diff("approval", 2, against=1)

    assert (change.kind, change.row, change.field) == ("cell_changed", "r2", "total")
    assert (change.before, change.after) == ("<= 100", "<= 200")


def test_another_sub_decision_and_other_javascript_are_differences() -> None:
    def graph(key: str, source: str) -> dict[str, Any]:
        return chain(
            {"type": "decisionNode", "content": {"key": key}}, {"type": "functionNode", "content": {"source": source}}
        )

    assert changes(graph("limits@1", "x"), graph("limits@2", "y")) == [
        "node1: key was `limits@1`, is `limits@2`",
        "node2: its JavaScript was changed",
    ]
