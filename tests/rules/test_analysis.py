"""Gaps, overlaps and dead rows, and the inputs that show them."""

from __future__ import annotations

import random
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from tests.rules.policies import LIMITS, chain, encode, table_node
from toolkit.rules import Rule, RuleService, Sandbox, TableAnalysis, rule
from toolkit.rules.analysis import analyse
from toolkit.rules.compilation import compile_graph
from toolkit.rules.documents import graph_of
from toolkit.rules.engine import Evaluation, matched_rows
from toolkit.rules.explanations import evaluate_quietly


class Shipment(BaseModel):
    weight: int = Field(ge=0, le=100)
    zone: Literal["near", "far"]
    is_fragile: bool = False
    note: str | None = None


class Price(BaseModel):
    price: int


@rule
def price(input: Shipment) -> Price:
    return Price(price=1)


def analysis_of(
    rows: list[list[str | None]], sandbox: Sandbox, *, inputs: tuple[str, ...] = ("weight", "zone"), **more: Any
) -> TableAnalysis:
    graph = graph_of(encode(chain(table_node(rows, inputs=inputs, outputs=("price",), **more))).decode())
    (table,) = analyse(graph, compile_graph(graph, price.contract), price.contract, sandbox=sandbox).tables
    return table


def test_a_gap_comes_with_an_input_for_which_the_engine_finds_no_row(sandbox: Sandbox) -> None:
    found = analysis_of([["< 10", "", "1"], ["> 10", "'near'", "2"]], sandbox)

    assert [gap.values for gap in found.gaps] == [{"weight": 10, "zone": "near"}]
    assert all(gap.is_confirmed for gap in found.gaps)
    assert found.gaps[0].input is not None
    assert found.is_complete


def test_what_the_model_rules_out_is_no_gap(sandbox: Sandbox) -> None:
    found = analysis_of([["[0..50]", "'near'", "1"], ["[51..100]", "'near'", "2"], ["", "'far'", "3"]], sandbox)

    assert (found.gaps, found.dead_rows, found.overlaps) == ([], [], [])


def test_a_row_behind_a_wider_one_is_dead(sandbox: Sandbox) -> None:
    found = analysis_of([["< 50", "", "1"], ["< 10", "'near'", "2"], ["", "", "3"]], sandbox)

    assert found.dead_rows == ["r2"]
    assert [overlap.rows for overlap in found.overlaps] == [("r1", "r2"), ("r2", "r3"), ("r1", "r3")]


def test_a_row_that_two_others_cover_together_is_dead(sandbox: Sandbox) -> None:
    found = analysis_of([["", "'near'", "1"], ["", "'far'", "2"], ["> 5", "", "3"]], sandbox)

    assert (found.dead_rows, found.gaps) == (["r3"], [])


def test_a_cell_that_is_more_than_literals_is_taken_to_match_sometimes(sandbox: Sandbox) -> None:
    found = analysis_of([["> len(zone)", "", "1"], ["> 5", "", "2"], ["", "", "3"]], sandbox)

    assert (found.dead_rows, found.gaps, found.not_analysed) == ([], [], ["r1"])


def test_collecting_tables_have_no_gaps(sandbox: Sandbox) -> None:
    found = analysis_of([["< 10", "", "1"], ["< 5", "", "2"]], sandbox, hit_policy="collect", outputPath="all")

    assert (found.gaps, found.dead_rows, len(found.overlaps)) == ([], [], 1)


def test_an_optional_field_can_be_empty(sandbox: Sandbox) -> None:
    found = analysis_of([["'a'", "1"], ["!= 'a'", "2"]], sandbox, inputs=("note",))

    assert found.gaps == [], "the engine takes an empty field as other than any text"


@pytest.mark.parametrize("seed", range(6))
def test_what_is_called_dead_never_fires_and_what_is_called_whole_always_decides(seed: int, sandbox: Sandbox) -> None:
    """Random tables against the engine itself."""
    chance = random.Random(seed)
    weights = ["", "< 20", "> 20", "[10..40]", "20", "30, 50", "<= 90"]
    zones = ["", "'near'", "'far'", "!= 'far'"]
    flags = ["", "true", "false"]
    rows = [
        [chance.choice(weights), chance.choice(zones), chance.choice(flags), str(at)]
        for at in range(chance.randint(3, 9))
    ]
    graph = graph_of(
        encode(chain(table_node(rows, inputs=("weight", "zone", "is_fragile"), outputs=("price",)))).decode()
    )
    compiled = compile_graph(graph, price.contract)
    (found,) = analyse(graph, compiled, price.contract, sandbox=sandbox).tables
    inputs = [
        Shipment(weight=weight, zone=zone, is_fragile=flag)
        for weight in (0, 9, 10, 19, 20, 21, 29, 30, 31, 40, 41, 49, 50, 51, 90, 91, 100)
        for zone in ("near", "far")
        for flag in (True, False)
    ]
    fired: set[str] = set()
    unmatched = 0
    for evaluation in evaluate_quietly(compiled, [price.contract.encode(one) for one in inputs], sandbox=sandbox):
        assert isinstance(evaluation, Evaluation)
        matched, missing = matched_rows(compiled, evaluation.result, evaluation.trace)
        fired.update(row.split("/")[1] for row in matched)
        unmatched += missing is not None

    assert set(found.dead_rows) == {f"r{n}" for n in range(1, len(rows) + 1)} - fired
    assert bool(found.gaps) == bool(unmatched)
    assert all(gap.is_confirmed for gap in found.gaps)


async def test_a_stored_version_is_analysed(service: RuleService) -> None:
    await service.upload("approval", encode(LIMITS))

    (table,) = (await service.workbench.analyse("approval", 1)).tables

    assert (table.gaps, table.dead_rows, table.is_complete) == ([], [], True)
    assert isinstance(price, Rule)
