"""A graph may ask versions of other rules; which ones is fixed when it is uploaded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tests.rules.installation import RULES
from tests.rules.policies import LIMITS, STRICT, Claim, chain, encode, expression_node, table_node
from toolkit.errors import RuleGraphInvalid, RuleNoMatch
from toolkit.rules import RuleService
from toolkit.storage import Database


def asks(key: str, **settings: Any) -> dict[str, Any]:
    """A decision node."""
    return {"type": "decisionNode", "content": {"key": key, **settings}}


ASKING = chain(asks("newest"), expression_node({"approved": "approved", "reason": "'they say: ' + reason"}))
TOTAL = '{"total": 500, "category": "meals"}'


@pytest.fixture
async def service(database: Database) -> AsyncIterator[RuleService]:
    service = RuleService(database, RULES, refresh_seconds=3600)
    await service.open()
    yield service
    await service.close()


async def activated(service: RuleService, name: str, graph: dict[str, Any]) -> int:
    version = await service.upload(name, encode(graph))
    await service.activate(name, version.number)
    return version.number


async def issues(service: RuleService, graph: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(RuleGraphInvalid) as refused:
        await service.upload("approval", encode(graph))
    return [(issue["code"], issue["message"]) for issue in refused.value.issues if issue["severity"] == "error"]


async def test_a_graph_stays_with_the_version_that_it_was_uploaded_with(service: RuleService) -> None:
    await activated(service, "newest", LIMITS)
    first = await service.upload("approval", encode(ASKING))
    await activated(service, "newest", STRICT)
    second = await service.upload("approval", encode(ASKING))
    named = await service.upload("approval", encode(chain(asks("newest@1"))))

    decided = [await service.evaluate("approval", TOTAL, version=one.number) for one in (first, second, named)]

    assert [one.output["reason"] for one in decided] == ["they say: ask", "they say: strict", "ask"]
    assert [one.rows for one in decided] == [["node1/node1/r3"], ["node1/node1/r2"], ["node1/node1/r3"]]
    assert first.sha256 != second.sha256, "the same text with another sub-decision is another version"
    assert (await service.upload("approval", encode(ASKING))).number == second.number


async def test_what_a_sub_decision_did_is_explained(service: RuleService) -> None:
    await activated(service, "newest", LIMITS)
    await activated(service, "approval", ASKING)

    told = await service.workbench.explain_input("approval", TOTAL)

    assert "node1: version 1 of newest was asked." in told.text
    assert "node1/node1: row 3 matched: always." in told.text
    assert told.rows == ["node1/node1/r3"]


async def test_it_asks_for_each_item_of_a_list(service: RuleService) -> None:
    await activated(service, "newest", chain(table_node([["<= 10", "", "true", "''"], ["", "", "false", "''"]])))
    several = chain(
        expression_node({"claims": "[{total: total, category: 'meals'}, {total: total / 100, category: 'meals'}]"}),
        asks("newest", inputField="claims", outputPath="claims", executionMode="loop"),
        expression_node({"approved": "some(claims, #.approved)"}),
    )
    await activated(service, "approval", several)

    decided = await service.evaluate("approval", TOTAL)

    assert decided.output["approved"] is True
    assert decided.rows == ["node2/node1/r2", "node2/node1/r1"]


async def test_no_row_in_a_sub_decision_is_no_row(service: RuleService) -> None:
    await activated(service, "newest", chain(table_node([["<= 10", "", "true", "''"]])))
    await activated(service, "approval", chain(asks("newest")))

    with pytest.raises(RuleNoMatch) as refused:
        await service.evaluate("approval", TOTAL)
    assert refused.value.node == "node1/node1"


async def test_a_trusted_version_takes_its_sub_decisions_along(service: RuleService) -> None:
    await activated(service, "newest", LIMITS)
    number = await activated(service, "approval", ASKING)
    apart = await service.evaluate("approval", TOTAL)
    await service.trust("approval", number, reason="measured")

    here = await service.evaluate("approval", TOTAL)

    assert (here.output, here.rows) == (apart.output, apart.rows)
    override = await service.override("approval", number)
    assert override.isolated is None
    assert override.decide(Claim(total=Decimal(5)))[0].approved


async def test_what_cannot_be_asked_is_refused_with_the_reason(service: RuleService) -> None:
    assert await issues(service, chain(asks("nobody"))) == [
        ("unknown_rule", "'nobody' cannot be asked: there is no rule 'nobody'; known here: approval, lenient, newest")
    ]
    assert "no version of 'newest' is active" in (await issues(service, chain(asks("newest"))))[0][1]
    assert "has no version 7" in (await issues(service, chain(asks("newest@7"))))[0][1]
    assert "expected the name of a rule" in (await issues(service, chain(asks("../secret@x"))))[0][1]

    await service.upload("newest", encode(LIMITS))
    incomplete = chain(expression_node({"category": "category"}), asks("newest@1"))
    stored = await service.upload("approval", encode(incomplete))
    assert ("missing_input", "'newest@1' needs the field 'total', which is not there") in [
        (issue.code, issue.message) for issue in stored.report.issues
    ]


async def test_sub_decisions_go_only_so_deep(service: RuleService) -> None:
    await service.upload("approval", encode(LIMITS))
    for number in range(1, 6):
        await service.upload("approval", encode(chain(asks(f"approval@{number}"))))
    assert (await service.evaluate("approval", TOTAL, version=6)).output["reason"] == "ask"

    assert [code for code, _ in await issues(service, chain(asks("approval@6")))] == ["too_deep"]
