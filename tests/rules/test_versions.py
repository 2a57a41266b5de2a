"""Uploads, activations and rollbacks, on both databases."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import pytest
from sqlalchemy import text

from tests.rules.policies import LIMITS, STRICT, Claim, Verdict, approval, chain, encode, table_node
from toolkit.access import Principal, acting_as, list_audit
from toolkit.clock import SystemClock
from toolkit.errors import (
    ConfigurationError,
    Conflict,
    DefinitionError,
    LimitExceeded,
    NotFound,
    RuleEvaluationError,
    RuleGraphInvalid,
    RuleVersionRefused,
)
from toolkit.rules import RuleService, rule
from toolkit.rules.engine import load_zen
from toolkit.storage import Database

SMALL = '{"total": "99.50"}'
MIDDLE = '{"total": 500, "category": "meals"}'


class OtherClaim(Claim):
    weight: Decimal = Decimal(0)


@rule(name="approval")
def approval_later(input: OtherClaim) -> Verdict:
    """The rule ``approval`` as a later release has it."""
    return Verdict(approved=False, reason="later")


@rule(name="approval")
def approval_again(input: Claim) -> Verdict:
    return Verdict(approved=True)


class TurnedClock(SystemClock):
    """Sleeps until it is turned, once."""

    def __init__(self) -> None:
        self.asked, self.turned = asyncio.Event(), asyncio.Event()
        self.seconds = 0.0

    async def sleep(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked.set()
        await self.turned.wait()
        self.turned.clear()

    async def turn(self) -> None:
        """Let one sleep end and return when the next begins."""
        await self.asked.wait()
        self.asked.clear()
        self.turned.set()
        await self.asked.wait()


async def test_an_upload_is_a_version_and_changes_nothing(service: RuleService) -> None:
    with acting_as(Principal(id="ada", kind="person")):
        version = await service.upload("approval", encode(LIMITS), note="limits of 2026")

    assert (version.number, version.created, version.active, version.fits) == (1, True, False, True)
    assert (version.note, version.created_by) == ("limits of 2026", "ada")
    assert version.report.is_clean
    assert json.loads(version.graph or "") == LIMITS
    assert service.get_rule("approval").source == "python"
    assert (await service.evaluate("approval", MIDDLE)).output["reason"] == "by the function"


async def test_equal_content_is_the_same_version(service: RuleService) -> None:
    first = await service.upload("approval", encode(LIMITS))
    reordered = json.dumps(LIMITS, indent=4, sort_keys=True).encode()

    again = await service.upload("approval", reordered, note="another note")
    other = await service.upload("approval", encode(STRICT))

    assert (again.number, again.created, again.note) == (first.number, False, None)
    assert again.sha256 == first.sha256
    assert other.number == 2
    assert [version.number for version in await service.versions("approval")] == [2, 1]
    assert all(version.graph is None for version in await service.versions("approval"))


async def test_uploads_at_once_get_numbers_of_their_own(service: RuleService) -> None:
    graphs = [chain(table_node([["", "", "true", f"'{n}'"]])) for n in range(4)]

    versions = await asyncio.gather(*(service.upload("approval", encode(graph)) for graph in [*graphs, graphs[0]]))

    assert sorted({version.number for version in versions}) == [1, 2, 3, 4]
    assert versions[0].number == versions[4].number


async def test_an_activation_changes_the_next_decision(service: RuleService) -> None:
    await service.upload("approval", encode(LIMITS))

    summary = await service.activate("approval", 1, reason="agreed in May")

    assert (summary.source, summary.active_version) == ("override", 1)
    small, middle = await service.evaluate("approval", SMALL), await service.evaluate("approval", MIDDLE)
    assert (small.output["approved"], small.rows, small.version) == (True, ["node1/r2"], 1)
    assert (middle.output["reason"], middle.rows, middle.source) == ("ask", ["node1/r3"], "override")
    assert [version.active for version in await service.versions("approval")] == [True]


async def test_a_faulty_graph_is_refused_and_the_active_version_stays(service: RuleService) -> None:
    await service.upload("approval", encode(LIMITS))
    await service.activate("approval", 1)

    with pytest.raises(RuleGraphInvalid) as refused:
        await service.upload("approval", encode(chain(table_node([["> 'x'", "", "true", ""]]))))

    assert refused.value.issues[0]["code"] == "cell_cannot_match"
    assert [version.number for version in await service.versions("approval")] == [1]
    assert (await service.evaluate("approval", MIDDLE)).version == 1


async def test_rolling_back_goes_the_way_back_to_the_function(service: RuleService) -> None:
    for graph in (LIMITS, STRICT):
        await service.upload("approval", encode(graph))
    await service.activate("approval", 1)
    await service.activate("approval", 2)
    await service.deactivate("approval")

    seen = [(await service.rollback("approval")).active_version for _ in range(3)]

    assert seen == [2, 1, None]
    with pytest.raises(Conflict, match="nothing decided before"):
        await service.rollback("approval")


async def test_what_is_so_already_is_a_conflict(service: RuleService) -> None:
    await service.upload("approval", encode(LIMITS))
    with pytest.raises(Conflict, match="by its function already"):
        await service.deactivate("approval")
    with pytest.raises(Conflict, match="never changed"):
        await service.rollback("approval")
    await service.activate("approval", 1)
    with pytest.raises(Conflict, match="by version 1 already"):
        await service.activate("approval", 1)


async def test_what_does_not_exist_is_not_found(service: RuleService) -> None:
    with pytest.raises(NotFound, match="there is no rule 'pricing'; known: approval"):
        service.get_rule("pricing")
    with pytest.raises(NotFound, match="approval/7"):
        await service.activate("approval", 7)
    with pytest.raises(NotFound):
        await service.upload("pricing", b"{}")
    with pytest.raises(NotFound):
        await service.evaluate("approval", SMALL, version=3)


async def test_every_change_is_in_the_audit_trail_with_who_and_why(service: RuleService, database: Database) -> None:
    with acting_as(Principal(id="ada", kind="person")):
        await service.upload("approval", encode(LIMITS))
        await service.activate("approval", 1, reason="agreed")
    with acting_as(Principal(id="bob", kind="person")):
        await service.rollback("approval", reason="too generous")

    entries = await list_audit(database, object_kind="rule", object_id="approval")

    assert [(entry.action, entry.actor) for entry in entries] == [
        ("rule.rolled_back", "bob"),
        ("rule.activated", "ada"),
        ("rule.version_uploaded", "ada"),
    ]
    assert entries[0].details == {"version": None, "before": 1, "reason": "too generous"}
    assert service.get_rule("approval").changed_by == "bob"


async def test_another_process_learns_of_an_activation_by_one_small_read(
    service: RuleService, database: Database
) -> None:
    elsewhere = RuleService(database, [approval])
    await elsewhere.refresh()
    await service.upload("approval", encode(LIMITS))
    await service.activate("approval", 1)
    assert elsewhere.active_version("approval") is None

    await elsewhere.refresh()

    assert (await elsewhere.evaluate("approval", MIDDLE)).version == 1
    await elsewhere.close()


@pytest.fixture
async def later(database: Database) -> AsyncIterator[RuleService]:
    """The installation after a release that changed the rule's input."""
    service = RuleService(database, [approval_later], refresh_seconds=3600)
    yield service
    await service.close()


async def test_an_override_for_other_models_is_refused_and_not_run(service: RuleService, later: RuleService) -> None:
    await service.upload("approval", encode(LIMITS))
    await service.activate("approval", 1)

    await later.open()

    with pytest.raises(RuleVersionRefused, match="upload the graph again"):
        await later.evaluate("approval", SMALL)
    assert [item.error["type"] for item in await later.evaluate_batch("approval", [{"total": 1}]) if item.error] == [
        "RuleVersionRefused"
    ]
    assert (await later.version("approval", 1)).fits is False
    again = await later.upload("approval", encode(LIMITS))
    assert (again.number, again.created, again.fits) == (2, True, True)
    await later.activate("approval", 2)
    assert (await later.evaluate("approval", SMALL)).version == 2
    with pytest.raises(RuleVersionRefused):
        await later.rollback("approval")
    assert later.active_version("approval") == 2


async def test_two_rules_of_one_name_are_refused_with_both_places(service: RuleService) -> None:
    service.register(approval)

    with pytest.raises(DefinitionError, match=r"policies\.approval .*test_versions\.approval_again"):
        service.register(approval_again)


async def test_the_starter_graph_of_any_rule_can_be_uploaded_as_it_is(service: RuleService) -> None:
    version = await service.upload("approval", encode(service.starter_graph("approval")))

    assert version.report.issues == []
    assert version.report.failed == 0


async def test_an_open_service_learns_of_an_activation_within_a_second(database: Database) -> None:
    clock = TurnedClock()
    here, there = RuleService(database, [approval], clock=clock), RuleService(database, [approval])
    await here.open()
    await there.upload("approval", encode(LIMITS))
    await there.activate("approval", 1)
    assert here.active_version("approval") is None

    await clock.turn()

    assert clock.seconds == 1.0
    assert here.active_version("approval") == 1
    await here.close()
    await there.close()


async def test_a_batch_has_a_result_or_an_error_for_each_input_in_order(service: RuleService) -> None:
    await service.upload(
        "approval", encode(chain(table_node([["> 100", "", "true", "vendor"], ["> 10", "", "true", "null"]])))
    )
    await service.activate("approval", 1)
    inputs = [
        {"total": 500, "vendor": f"v{n}"} if n % 3 == 0 else {"total": "x"} if n % 3 == 1 else {"total": 5}
        for n in range(1_500)
    ]

    items = await service.evaluate_batch("approval", inputs)

    assert len(items) == 1_500
    for n, item in enumerate(items):
        if n % 3 == 0:
            assert item.output is not None
            assert item.output["reason"] == f"v{n}"
        else:
            assert item.error is not None
            assert item.error["type"] == ("InvalidInput" if n % 3 == 1 else "RuleNoMatch")
    assert items[1].error is not None
    assert items[1].error["errors"][0]["loc"] == "total"


async def test_a_batch_has_a_limit(service: RuleService) -> None:
    with pytest.raises(LimitExceeded, match="at most 10,000"):
        await service.evaluate_batch("approval", [{}] * 10_001)


@pytest.mark.parametrize("is_trusted", [False, True])
async def test_a_version_that_is_about_to_decide_keeps_its_graph_when_others_are_forgotten(
    service: RuleService, is_trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.rules.active._KEPT_VERSIONS", 1)
    for number, graph in enumerate((LIMITS, STRICT), start=1):
        await service.upload("approval", encode(graph))
        if is_trusted:
            await service.trust("approval", number, reason="tested")
    pinned = await service.override("approval", 1)

    await service.override("approval", 2)  # now the first is one too many

    assert (await asyncio.to_thread(pinned.decide, Claim(total=Decimal(5))))[0].approved
    remembered = weakref.ref(pinned)
    del pinned
    gc.collect()
    assert remembered() is None


async def test_a_refresh_that_fails_is_tried_again(database: Database) -> None:
    clock = TurnedClock()
    service = RuleService(database, [approval], clock=clock)
    await service.open()
    await rename(database, "toolkit_rule_pointer", "hidden")
    await clock.turn()
    await rename(database, "hidden", "toolkit_rule_pointer")
    other = RuleService(database, [approval])
    await other.upload("approval", encode(LIMITS))
    await other.activate("approval", 1)

    await clock.turn()

    assert service.active_version("approval") == 1
    await service.close()
    await other.close()


async def rename(database: Database, old: str, new: str) -> None:
    async with database.session() as session:
        connection = await session.connection()
        await connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


@pytest.fixture
def no_zen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process in which zen-engine is not installed."""
    load_zen.cache_clear()
    monkeypatch.setitem(sys.modules, "zen", None)
    yield
    load_zen.cache_clear()


async def test_without_zen_engine_functions_decide_and_the_rest_says_what_to_install(
    database: Database, request: pytest.FixtureRequest
) -> None:
    before = RuleService(database, [approval])
    await before.upload("approval", encode(LIMITS))
    request.getfixturevalue("no_zen")
    service = RuleService(database, [approval], refresh_seconds=3600)
    await service.open()

    assert (await service.evaluate("approval", SMALL)).source == "python"
    with pytest.raises(ConfigurationError, match=r"pip install 'process-toolkit\[rules\]'"):
        await service.upload("approval", encode(STRICT))
    with pytest.raises(ConfigurationError):
        await service.activate("approval", 1)

    await service.close()
    await before.close()


@rule()
def picky(input: Claim) -> Verdict:
    raise ValueError(f"secret of {input.vendor}")


async def test_what_a_function_raises_is_named_and_not_shown(database: Database) -> None:
    service = RuleService(database, [picky])

    with pytest.raises(RuleEvaluationError, match=r"its function raised ValueError$"):
        await service.evaluate("picky", SMALL)
    (item,) = await service.evaluate_batch("picky", [{"total": 1}])
    assert item.error is not None
    assert item.error["message"].endswith("its function raised ValueError")
