"""Rules inside runs: steps of their own kind, and one version for the whole of a run."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.rules.installation import (
    CLAIM,
    Install,
    decide_after_an_error,
    decide_all,
    decide_leniently,
    decide_side_by_side,
    decide_twice,
    decide_twice_by_the_newest,
    lenient,
)
from tests.rules.policies import LIMITS, STRICT, Claim, approval, chain, expression_node, table_node
from toolkit.workflows import StepRecord, using_engine


def details_of(step: StepRecord) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(step.details or "{}")
    return found


async def test_a_decision_is_a_step_that_says_what_decided(install: Install) -> None:
    here = await install()
    by_function = await here.engine.start(decide_side_by_side, CLAIM)
    await by_function.result()
    await here.activate(LIMITS)
    by_override = await here.engine.start(decide_side_by_side, CLAIM)
    await by_override.result()

    step = (await here.rule_steps(by_function.id))[0]
    assert (step.name, step.kind) == ("approval", "rule")
    assert json.loads(step.arguments or "")["total"] == "500"
    details = details_of(step)
    assert details.pop("duration_ms") >= 0
    assert details == {"source": "python", "code_hash": approval.code_hash}

    details = details_of((await here.rule_steps(by_override.id))[0])
    assert details.pop("duration_ms") >= 0
    assert details == {
        "source": "override",
        "version": 1,
        "sha256": (await here.rules.version("approval", 1)).sha256,
        "engine": "2.1.3",
        "isolated": True,
        "rows": ["node1/r3"],
    }


@pytest.mark.parametrize("is_restarted", [False, True], ids=["warm", "replayed"])
async def test_an_activation_changes_the_next_run_and_not_one_that_decided(
    install: Install, is_restarted: bool
) -> None:
    here = await install()
    first = await here.engine.start(decide_twice, CLAIM)
    await here.suspended(first.id)
    await here.activate(LIMITS)
    second = await here.engine.start(decide_twice, CLAIM)
    await here.suspended(second.id)
    await here.activate(STRICT)
    if is_restarted:
        here = await install()
    third = await here.engine.start(decide_twice, CLAIM)
    await here.suspended(third.id)

    for run_id in (first.id, second.id, third.id):
        await here.engine.emit_event("go on", run_id=run_id)

    results = [await here.result(run) for run in (first, second, third)]
    assert results == [["by the function"] * 2, ["ask"] * 2, ["strict"] * 2]


async def test_a_rule_pinned_to_the_latest_follows_every_activation(install: Install) -> None:
    here = await install()
    run = await here.engine.start(decide_twice_by_the_newest, CLAIM)
    await here.suspended(run.id)
    await here.activate(LIMITS, name="newest")

    await here.engine.emit_event("go on", run_id=run.id)

    assert await run.result() == ["by the function", "ask"]


async def test_a_failed_decision_pins_too_and_is_the_same_error_on_replay(install: Install) -> None:
    here = await install()
    await here.activate(chain(table_node([["<= 10", "", "true", "'small'"]])))
    run = await here.engine.start(decide_after_an_error, CLAIM)
    await here.suspended(run.id)
    await here.activate(LIMITS)
    here = await install()

    await here.engine.emit_event("go on", run_id=run.id)

    with pytest.raises(Exception, match="no row fits the input"):
        await here.result(run)
    first, second = await here.rule_steps(run.id)
    assert details_of(first)["version"] == details_of(second)["version"] == 1


@pytest.mark.parametrize("is_restarted", [False, True], ids=["warm", "replayed"])
async def test_a_batch_is_one_step_with_errors_in_their_places(install: Install, is_restarted: bool) -> None:
    here = await install()
    await here.activate(
        chain(table_node([["> 100", "", "vendor", "''"], ["> 10", "", "true", "vendor"]])), name="lenient"
    )
    claims = [
        Claim(total=Decimal(50), vendor="ACME"),
        Claim(total=Decimal(5)),
        Claim(total=Decimal(5), vendor="unknown"),
        Claim(total=Decimal(20), vendor="Umbrella"),
    ]
    run = await here.engine.start(decide_all, claims)
    await here.suspended(run.id)
    if is_restarted:
        here = await install()
    await here.engine.emit_event("go on", run_id=run.id)

    assert await here.result(run) == [
        "ACME",
        "by the function",
        "RecordedError: ValueError: nobody knows this vendor",
        "Umbrella",
    ]
    (step,) = await here.rule_steps(run.id)
    details = details_of(step)
    assert (details["inputs"], details["failed"], details["fallbacks"]) == (4, 1, 2)
    assert details["rows"] == {"node1/r2": 2}


async def test_the_function_steps_in_where_the_rule_says_so_and_the_record_tells(install: Install) -> None:
    here = await install()
    await here.activate(chain(table_node([["<= 10", "", "true", "'small'"]])), name="lenient")
    unmatched = await here.engine.start(decide_leniently, CLAIM)
    assert await unmatched.result() == "by the function"
    await here.activate(chain(expression_node({"approved": "total <= 10 ? true : vendor > 5"})), name="lenient")
    failed = await here.engine.start(decide_leniently, CLAIM)
    assert await failed.result() == "by the function"

    by_version = [details_of((await here.rule_steps(run.id))[0]) for run in (unmatched, failed)]

    assert [details["version"] for details in by_version] == [1, 2]
    assert "no row fits the input" in by_version[0]["fallback"]
    assert "Failed to evaluate expression" in by_version[1]["fallback"]


async def test_branches_of_a_run_decide_by_one_version(install: Install) -> None:
    here = await install()
    await here.activate(LIMITS)

    run = await here.engine.start(decide_side_by_side, CLAIM)

    assert await run.result() == ["ask"] * 5
    assert {details_of(step)["version"] for step in await here.rule_steps(run.id)} == {1}


async def test_outside_a_run_what_is_active_decides(install: Install) -> None:
    here = await install()
    await here.activate(LIMITS)

    assert (await approval(CLAIM)).reason == "by the function", "no installation is near"
    with using_engine(here.engine):
        assert (await approval(CLAIM)).reason == "ask"
        assert [one.reason for one in await approval.batch([CLAIM, CLAIM])] == ["ask", "ask"]
        with pytest.raises(ValueError, match="nobody knows"):
            await lenient(Claim(total=Decimal(1), vendor="unknown"))
