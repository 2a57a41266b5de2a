"""A batch gives what single calls give, for every shape of graph, in the process and in the sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import zen

from tests.rules.policies import encode
from tests.rules.shapes import DISCOUNT, SHAPES, Shipping, orders, shipping, surroundings
from toolkit.errors import RuleEvaluationError, ToolkitError
from toolkit.rules import Sandbox
from toolkit.rules.engine import DecisionEngine
from toolkit.rules.isolation import IsolatedEngine
from toolkit.rules.overrides import Override
from toolkit.rules.uploads import check_upload


@pytest.fixture(scope="module")
def isolated() -> Iterator[IsolatedEngine]:
    engine = IsolatedEngine(silence_seconds=10)
    yield engine
    engine.close()


def override_of(
    shape: str, sandbox: Sandbox, engine: DecisionEngine | IsolatedEngine | None = None
) -> Override[Any, Any]:
    checked = check_upload(shipping, encode(SHAPES[shape]), sandbox, surroundings(sandbox))
    override = Override(
        shipping.contract, checked.compiled, engine or DecisionEngine(), number=1, sha256=checked.sha256
    )
    override.load()
    return override


def outcome(found: object) -> object:
    return (type(found).__name__, str(found)) if isinstance(found, ToolkitError) else found


@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_gives_what_single_calls_give(shape: str, sandbox: Sandbox, isolated: IsolatedEngine) -> None:
    override = override_of(shape, sandbox)
    inputs = orders(5_000, seed=7)

    single: list[object] = []
    for one in inputs:
        try:
            single.append(override.decide(one))
        except ToolkitError as error:
            single.append(error)
    batch = override.decide_many(inputs)
    apart = override_of(shape, sandbox, isolated).decide_many(inputs)

    expected = [outcome(one) for one in single]
    assert [outcome(one) for one in batch] == expected
    assert [outcome(one) for one in apart] == expected
    assert {isinstance(one, ToolkitError) for one in single} == {True, False}, "the inputs hold both"


def test_chains_are_decided_in_loops(sandbox: Sandbox) -> None:
    by_loop = {shape for shape in SHAPES if override_of(shape, sandbox).compiled.loop}

    assert by_loop == {
        "first table",
        "first table with conditions",
        "expressions",
        "table that passes through",
        "three nodes",
        "nested output",
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_the_compiled_graph_decides_as_the_uploaded_one(shape: str, sandbox: Sandbox) -> None:
    override = override_of(shape, sandbox)
    uploads = {"graph": SHAPES[shape], "discount@1": DISCOUNT}
    as_uploaded = {key: zen.ZenDecisionContent(json.dumps(graph)) for key, graph in uploads.items()}
    engine = zen.ZenEngine({"loader": as_uploaded.__getitem__})

    for one in orders(300, seed=3):
        if one.weight is not None and one.weight != one.weight:  # not a number
            continue
        context = shipping.contract.encode(one)
        try:
            expected = Shipping.model_validate(engine.evaluate("graph", context)["result"])
        except (RuntimeError, ValueError):
            expected = None
        try:
            found = override.decide(one)[0]
        except RuleEvaluationError:
            found = None
        assert found == expected
