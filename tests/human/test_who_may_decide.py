"""Who may decide is one function, and no path passes it by."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.human.office import Office, ask_in_a_child, person
from toolkit.access import ANONYMOUS, Permission, Principal, acting_as
from toolkit.errors import PermissionDenied
from toolkit.human import Group, TaskService
from toolkit.human.decisions import Act, Capacity, Standing, decide

YES = '{"approved": true}'
ADA = person("ada")
MANAGER = person("manager", Permission.TASKS_MANAGE)
ROOT = Principal(id="root", kind="person", permissions="*")
FINANCE = Capacity(groups=frozenset({"finance"}))
FOR_EVE = Capacity(substitutes_for={"eve": frozenset({"finance"})})


@pytest.mark.parametrize(
    ("who", "capacity", "task", "is_allowed"),
    [
        (ADA, Capacity(), Standing(assigned_to="ada", candidates=[]), True),
        (ADA, Capacity(), Standing(assigned_to="bob", candidates=[]), False),
        (ADA, Capacity(), Standing(assigned_to="bob", candidates=["user:ada"]), False),
        (ADA, Capacity(), Standing(assigned_to=None, candidates=["user:ada"]), True),
        (ADA, Capacity(), Standing(assigned_to=None, candidates=["group:finance"]), False),
        (ADA, FINANCE, Standing(assigned_to=None, candidates=["group:finance"]), True),
        (ADA, FOR_EVE, Standing(assigned_to=None, candidates=["group:finance"]), True),
        (ADA, FOR_EVE, Standing(assigned_to="eve", candidates=[]), True),
        (ADA, Capacity(), Standing(assigned_to=None, candidates=[]), False),
        (MANAGER, Capacity(), Standing(assigned_to=None, candidates=[]), True),
        (ROOT, Capacity(), Standing(assigned_to="bob", candidates=[]), True),
        (ANONYMOUS, Capacity(), Standing(assigned_to="anonymous", candidates=["user:anonymous"]), False),
        # Four eyes beat everything else.
        (ADA, Capacity(), Standing(assigned_to="ada", candidates=[], excluded={"ada"}), False),
        (ADA, FINANCE, Standing(assigned_to=None, candidates=["group:finance"], excluded={"ada"}), False),
        (ROOT, Capacity(), Standing(assigned_to="root", candidates=[], excluded={"root"}), False),
        (ADA, FOR_EVE, Standing(assigned_to="eve", candidates=[], excluded={"eve"}), False),
        (ADA, FOR_EVE, Standing(assigned_to=None, candidates=["group:finance"], excluded={"eve"}), False),
        # A vote is for those who were asked, and the right to manage tasks is none.
        (ROOT, Capacity(), Standing(assigned_to=None, candidates=["user:ada"], has_quorum=True), False),
        (ROOT, Capacity(), Standing(assigned_to=None, candidates=[], has_quorum=True), True),
        (ROOT, Capacity(), Standing(assigned_to="root", assigned_by="root", candidates=[], has_quorum=True), False),
        (MANAGER, Capacity(), Standing(assigned_to="manager", assigned_by="manager", candidates=[]), True),
        (ADA, Capacity(), Standing(assigned_to="ada", assigned_by="ada", candidates=[]), False),
        # Nobody is nobody, also for somebody of that name.
        (person("None"), Capacity(), Standing(assigned_to=None, candidates=[]), False),
        (person("None"), Capacity(), Standing(assigned_to=None, candidates=["user:ada"], has_quorum=True), False),
        # A quorum is not one person's, whoever it is assigned to.
        (ADA, Capacity(), Standing(assigned_to="bob", candidates=["user:ada"], has_quorum=True), True),
    ],
)
def test_the_table_of_decisions(who: Principal, capacity: Capacity, task: Standing, is_allowed: bool) -> None:
    assert decide(who, Act.COMPLETE, task, capacity).allowed is is_allowed


@pytest.mark.parametrize("act", [act for act in Act if act not in {Act.ANNOTATE, Act.CANCEL}])
def test_who_started_it_neither_decides_nor_chooses_who_does(act: Act) -> None:
    task = Standing(assigned_to="root", candidates=[], excluded={"root"})

    assert not decide(ROOT, act, task, Capacity()).allowed


async def test_a_task_for_nobody_is_for_who_manages_tasks(office: Office) -> None:
    task_id = await office.asked("nobodys")

    with acting_as(person("ada")), pytest.raises(PermissionDenied, match="tasks:manage"):
        await office.tasks.complete(task_id, YES)
    assert (await office.tasks.complete(task_id, YES)).completed_by == "manager"


@pytest.mark.parametrize("starter", ["ada", "bob", "manager"])
async def test_four_eyes_hold_for_candidates_members_and_managers(office: Office, starter: str) -> None:
    await office.staff()
    task_id = await office.asked("two_pairs_of_eyes", started_by=starter)
    who = Principal(id=starter, kind="person", permissions="*")

    with acting_as(who):
        for attempt in (
            office.tasks.complete(task_id, YES),
            office.tasks.claim(task_id),
            office.tasks.delegate(task_id, "mallory"),
            office.tasks.assign(task_id, "mallory"),
        ):
            with pytest.raises(PermissionDenied, match="four eyes"):
                await attempt
    with acting_as(Principal(id="other", kind="person", permissions="*")):
        with pytest.raises(PermissionDenied, match="four eyes"):
            await office.tasks.assign(task_id, starter)
        await office.tasks.complete(task_id, YES)


async def test_whoever_prepared_it_is_kept_out_too(office: Office) -> None:
    task_id = await office.asked("two_pairs_of_eyes", started_by="eve", prepared_by=["ada"])

    with acting_as(person("ada")), pytest.raises(PermissionDenied, match="four eyes"):
        await office.tasks.complete(task_id, YES)


async def test_a_child_run_does_not_hide_who_started_it(office: Office) -> None:
    await office.staff()
    run = await office.engine.start(ask_in_a_child, "two_pairs_of_eyes", started_by="ada")

    async def child_task() -> str | None:
        found = await office.tasks.list(name="two_pairs_of_eyes")
        return found[0].id if found else None

    from tests.human.office import until

    task_id = await until(child_task)
    with acting_as(person("ada")), pytest.raises(PermissionDenied, match="four eyes"):
        await office.tasks.complete(task_id, YES)
    with acting_as(person("bob")):
        await office.tasks.complete(task_id, YES)
    assert await run.result() == "completed by bob True []"


async def test_joining_a_group_or_standing_in_gains_the_starter_nothing(office: Office) -> None:
    await office.staff()
    today = office.clock.now().date()
    task_id = await office.asked("two_pairs_of_eyes", started_by="eve")
    await office.tasks.directory.put_group("finance", members=["bob", "eve"])
    await office.tasks.directory.add_substitution("ada", "eve", first_day=today, last_day=today + timedelta(days=1))

    with acting_as(person("eve")), pytest.raises(PermissionDenied, match="four eyes"):
        await office.tasks.complete(task_id, YES)


async def test_a_group_means_its_members_of_now(office: Office) -> None:
    await office.staff()
    task_id = await office.asked("mine")
    await office.tasks.assign(task_id, Group("finance"))
    await office.tasks.directory.put_group("finance", members=["dora"])

    with acting_as(person("bob")), pytest.raises(PermissionDenied):
        await office.tasks.complete(task_id, YES)
    with acting_as(person("dora")):
        await office.tasks.complete(task_id, YES)


async def test_who_only_manages_tasks_says_why_where_access_is_controlled(office: Office) -> None:
    tasks = TaskService(database=office.database, humans=office.humans, engine=office.engine, managers_explain=True)
    task_id, own = await office.asked("mine"), await office.asked("mine")
    manager = person("mia", Permission.TASKS_MANAGE)

    for reason in (None, "  "):
        with acting_as(manager), pytest.raises(PermissionDenied, match="with a reason"):
            await tasks.complete(task_id, YES, reason=reason)
    with acting_as(manager):
        done = await tasks.complete(task_id, YES, reason="Ada is ill and the discount ends today")
    with acting_as(person("ada", Permission.TASKS_MANAGE)):
        await tasks.complete(own, YES)  # her own: no reason is wanted

    last = (await tasks.history(task_id))[-1]
    assert (done.completed_by, done.end_reason) == ("mia", "Ada is ill and the discount ends today")
    assert (last.note, last.details) == (done.end_reason, {"capacity": "manager", "in_stead_of": "ada"})


async def test_what_a_manager_takes_or_is_given_by_themself_is_answered_with_a_reason(office: Office) -> None:
    tasks = TaskService(database=office.database, humans=office.humans, engine=office.engine, managers_explain=True)
    await office.staff()
    await tasks.directory.put_group("finance", members=["mia"])
    claimed, assigned, delegated = [await office.asked("mine") for _ in range(3)]
    unclaimed, grouped, given = await office.asked("nobodys"), await office.asked("mine"), await office.asked("mine")
    await tasks.assign(given, "mia")
    with acting_as(person("mia", Permission.TASKS_MANAGE)):
        await tasks.claim(claimed)
        await tasks.claim(unclaimed)
        await tasks.assign(assigned, "mia")
        await tasks.assign(grouped, Group("finance"))
        await tasks.delegate(delegated, "mia")

        for task_id in (claimed, unclaimed, assigned, grouped, delegated):
            with pytest.raises(PermissionDenied, match="with a reason"):
                await tasks.complete(task_id, YES)
            await tasks.complete(task_id, YES, reason="Ada is ill")
            last = (await tasks.history(task_id))[-1]
            assert (last.note, last.details["capacity"]) == ("Ada is ill", "manager")
        await tasks.complete(given, YES)  # by somebody else: that is no choice of one's own

    taken = (await tasks.history(claimed))[1]
    assert (taken.action, taken.details) == ("claimed", {"capacity": "manager"})


async def test_a_claim_of_ones_own_task_is_answered_without_a_reason_also_by_who_manages(office: Office) -> None:
    tasks = TaskService(database=office.database, humans=office.humans, engine=office.engine, managers_explain=True)
    task_id = await office.asked("claimable")

    with acting_as(person("ada", Permission.TASKS_MANAGE)):
        await tasks.claim(task_id)
        await tasks.complete(task_id, YES)

    assert [change.details for change in await tasks.history(task_id)] == [{}, {}, {}]


async def test_no_manager_gives_themself_a_vote(office: Office) -> None:
    await office.staff()
    today = office.clock.now().date()
    await office.tasks.directory.put_group("finance", members=["mia"])
    await office.tasks.directory.add_substitution("eve", "mia", first_day=today, last_day=today + timedelta(days=1))
    task_id = await office.asked("two_of_three")

    with acting_as(person("mia", Permission.TASKS_MANAGE)):
        for to in ("mia", Group("finance"), "eve"):
            with pytest.raises(PermissionDenied, match="is no vote"):
                await office.tasks.assign(task_id, to)
        await office.tasks.assign(task_id, "dora")
        with pytest.raises(PermissionDenied, match="not a candidate"):
            await office.tasks.complete(task_id, YES, reason="it is late")
    for voter in ("dora", "bob"):
        with acting_as(person(voter)):
            await office.tasks.complete(task_id, YES)

    assert (await office.tasks.get(task_id)).completed_by == "bob"
