"""Why a decision came out as it did: in words, anew from the version and the input, also after the fact."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.rules.installation import CLAIM, Install, decide_all, decide_leniently, decide_side_by_side
from tests.rules.policies import (
    LIMITS,
    Claim,
    approval,
    chain,
    encode,
    expression_node,
    graph_of,
    switch_node,
    table_node,
)
from toolkit.errors import InvalidInput, NotFound, RuleGraphInvalid
from toolkit.rules import RuleService
from toolkit.rules.documents import graph_of as read_stored
from toolkit.rules.graphs import DecisionTable
from toolkit.rules.words import cell_in_words, row_in_words
from toolkit.workflows import using_engine

TRAVEL = '{"total": "1200.50", "category": "travel"}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("> 1000", "amount above 1,000"),
        ("[100..1000]", "amount from 100 to 1,000"),
        ("> 5 and <= 10.5", "amount above 5 and at most 10.5"),
        ("< 5, 20", "amount below 5 or 20"),
        ("not in ['a', 'b']", "amount other than a and other than b"),
        ("true", "amount yes"),
        ("'Travel'", "amount Travel"),
        ("> d('2026-01-01')", "amount `> d('2026-01-01')`"),
    ],
)
def test_a_cell_reads_as_words(text: str, words: str) -> None:
    assert cell_in_words("Amount", text) == words


def test_a_row_reads_as_a_sentence() -> None:
    graph = read_stored(
        encode(chain(table_node([["> 1000", "'Travel'", "true", "''"], ["", "", "false", "''"]]))).decode()
    )
    table = graph.nodes[2].content

    assert isinstance(table, DecisionTable)
    assert [row_in_words(table, row) for row in table.rows] == ["total above 1,000 and category Travel", "always"]


async def test_an_input_is_explained_by_what_is_active(service: RuleService) -> None:
    by_function = await service.workbench.explain_input("approval", TRAVEL)
    version = await service.upload("approval", encode(LIMITS))
    await service.activate("approval", version.number)
    by_override = await service.workbench.explain_input("approval", TRAVEL)

    assert (by_function.source, by_function.output) == (
        "python",
        {"approved": False, "reason": "by the function", "limit": None},
    )
    assert (by_override.version, by_override.rows) == (1, ["node1/r1"])
    assert by_override.output == {"approved": True, "reason": "travel is cheap", "limit": None}
    assert by_override.text.splitlines() == [
        "Version 1 decided.",
        "node1: row 1 matched: total at most 5,000 and category travel.",
        "The outcome: approved yes, reason travel is cheap, limit empty.",
    ]


async def test_every_kind_of_node_is_told(service: RuleService) -> None:
    graph = graph_of(
        {
            "ways": switch_node(["total > 1000", ""]),
            "much": expression_node({"approved": "false", "reason": "'much'"}),
            "little": table_node([["<= 5", "", "true", "'little'"]], hit_policy="first"),
        },
        [("input", "ways"), ("ways", "much", "s0"), ("ways", "little", "s1"), ("much", "output"), ("little", "output")],
    )

    much = await service.workbench.simulate("approval", encode(graph), TRAVEL)
    little = await service.workbench.simulate("approval", encode(graph), '{"total": 3}')
    none = await service.workbench.simulate("approval", encode(graph), '{"total": 30}')

    assert [node.text for node in much.nodes] == ["`total > 1000` held", "approved is no; reason is much"]
    assert [node.text for node in little.nodes] == ["otherwise", "row 1 matched: total at most 5"]
    assert [node.text for node in none.nodes] == ["otherwise", "no row of little matched"]
    assert none.error is not None
    assert "no row fits" in none.error


async def test_an_evaluation_that_fails_is_told_up_to_where_it_failed(service: RuleService) -> None:
    graph = chain(table_node([["", "", "true", "vendor"]]), expression_node({"approved": "reason > 5"}))

    told = await service.workbench.simulate("approval", encode(graph), TRAVEL)

    assert [node.node for node in told.nodes] == ["node1"]
    assert told.error is not None
    assert "node2" in told.error


async def test_a_simulation_checks_the_graph_and_the_input(service: RuleService) -> None:
    with pytest.raises(RuleGraphInvalid):
        await service.workbench.simulate("approval", b"{}", TRAVEL)
    with pytest.raises(InvalidInput):
        await service.workbench.simulate("approval", encode(LIMITS), '{"total": "much"}')


async def test_recorded_decisions_are_listed_and_explained_long_after(install: Install) -> None:
    here = await install()
    await here.activate(LIMITS)
    run = await here.engine.start(decide_side_by_side, CLAIM)
    await run.result()
    await here.activate(chain(expression_node({"approved": "true"})))
    later = await here.engine.start(decide_side_by_side, CLAIM)
    await later.result()

    bench = here.rules.workbench
    first_page = await bench.decisions("approval", limit=6)
    second_page = await bench.decisions("approval", limit=6, after=first_page[-1].id)
    by_first = await bench.decisions("approval", version=1, limit=2)
    told = await bench.explain(by_first[0].id)

    assert [one.version for one in [*first_page, *second_page]] == [2] * 5 + [1] * 5
    assert [one.version for one in by_first] == [1, 1]
    assert by_first[0].rows == {"node1/r3": 1}
    assert told.input["total"] == "500"
    assert (told.version, told.agrees, told.rows) == (1, True, ["node1/r3"])
    assert "row 3 matched: always" in told.text
    with pytest.raises(NotFound):
        await bench.explain("nothing")


async def test_a_decision_of_the_function_says_so(install: Install) -> None:
    here = await install()
    run = await here.engine.start(decide_side_by_side, CLAIM)
    await run.result()

    (decision, *_) = await here.rules.workbench.decisions("approval")
    told = await here.rules.workbench.explain(decision.id)

    assert (told.source, told.output["reason"]) == ("python", "by the function")
    assert approval.code_hash in told.text


async def test_one_input_of_a_batch_is_explained_by_its_number(install: Install) -> None:
    here = await install()
    await here.activate(chain(table_node([["> 10", "", "true", "vendor"]])), name="lenient")
    run = await here.engine.start(decide_all, [Claim(total=Decimal(50)), Claim(total=Decimal(5))])
    await here.suspended(run.id)

    (decision,) = await here.rules.workbench.decisions("lenient")
    told = await here.rules.workbench.explain(decision.id, item=0)

    assert (decision.inputs, decision.rows, told.agrees) == (2, {"node1/r1": 1}, True)
    assert told.output["reason"] == "ACME"
    with pytest.raises(InvalidInput, match="which `item`"):
        await here.rules.workbench.explain(decision.id)
    with pytest.raises(NotFound):
        await here.rules.workbench.explain(decision.id, item=2)


async def test_a_decision_in_which_the_function_stepped_in_says_why(install: Install) -> None:
    here = await install()
    await here.activate(chain(table_node([["<= 10", "", "true", "'small'"]])), name="lenient")
    run = await here.engine.start(decide_leniently, CLAIM)
    await run.result()

    (decision,) = await here.rules.workbench.decisions("lenient")
    told = await here.rules.workbench.explain(decision.id)

    assert told.output["reason"] == "by the function"
    assert "no row of node1 matched" in told.text
    assert "the rule's function decided instead" in told.text


async def test_the_rule_itself_explains_an_input(install: Install) -> None:
    alone = await approval.explain(CLAIM)
    here = await install()
    await here.activate(LIMITS)
    with using_engine(here.engine):
        told = await approval.explain(CLAIM)

    assert alone.source == "python"
    assert told.rows == ["node1/r3"]
