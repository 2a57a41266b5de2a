"""A task is claimed, given back, assigned, delegated, sent back: each time with who, when and why."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.human.office import Office, person
from toolkit.access import acting_as
from toolkit.errors import Conflict, NotFound, PermissionDenied
from toolkit.human import Group, TaskState

YES = '{"approved": true}'


async def test_a_claimed_task_belongs_to_one(office: Office) -> None:
    await office.staff()
    task_id = await office.asked("claimable")

    with acting_as(person("bob")):
        claimed = await office.tasks.claim(task_id)
    with acting_as(person("ada")):
        with pytest.raises(Conflict, match="claimed by 'bob'"):
            await office.tasks.claim(task_id)
        with pytest.raises(PermissionDenied, match="assigned to 'bob'"):
            await office.tasks.complete(task_id, YES)
    with acting_as(person("bob")):
        done = await office.tasks.complete(task_id, YES)

    assert (claimed.state, claimed.assigned_to) == (TaskState.CLAIMED, "bob")
    assert done.completed_by == "bob"
    assert [(c.action, c.actor) for c in await office.tasks.history(task_id)] == [
        ("opened", "system"),
        ("claimed", "bob"),
        ("completed", "bob"),
    ]


async def test_a_task_given_back_is_everybodys_again(office: Office) -> None:
    await office.staff()
    task_id = await office.asked("claimable")
    with acting_as(person("bob")):
        await office.tasks.claim(task_id)
        assert [task.id for task in await office.tasks.list(mine=True)] == [task_id]
    with acting_as(person("ada")):
        assert await office.tasks.list(mine=True) == []

    with acting_as(person("bob")):
        given_back = await office.tasks.unclaim(task_id, reason="on leave")
    with acting_as(person("ada")):
        found = await office.tasks.list(mine=True)
        done = await office.tasks.complete(task_id, YES)

    assert (given_back.state, given_back.assigned_to) == (TaskState.OPEN, None)
    assert [task.id for task in found] == [task_id]
    assert done.completed_by == "ada"
    assert await office.tasks.list(candidate="user:ada") == []
    released = (await office.tasks.history(task_id))[2]
    assert (released.action, released.note, released.details) == ("unclaimed", "on leave", {"from": "bob"})


async def test_only_who_manages_tasks_assigns_them(office: Office) -> None:
    await office.staff()
    task_id = await office.asked("mine")

    with acting_as(person("ada")), pytest.raises(PermissionDenied, match="tasks:manage"):
        await office.tasks.assign(task_id, "bob")
    to_bob = await office.tasks.assign(task_id, "bob", reason="Ada is away")
    to_finance = await office.tasks.assign(task_id, Group("finance"))
    with acting_as(person("ada")), pytest.raises(PermissionDenied):
        await office.tasks.complete(task_id, YES)
    with acting_as(person("cleo")):
        await office.tasks.complete(task_id, YES)

    assert (to_bob.assigned_to, to_finance.assigned_to) == ("bob", None)
    assert to_finance.candidates == ["group:finance"]
    first = (await office.tasks.history(task_id))[1]
    assert (first.note, first.details) == ("Ada is away", {"from": "ada", "to": "user:bob"})


async def test_a_delegated_task_keeps_whose_it_was(office: Office) -> None:
    task_id = await office.asked("mine")

    with acting_as(person("ada")):
        await office.tasks.delegate(task_id, "bob", reason="you know the supplier")
    with acting_as(person("bob")):
        again = await office.tasks.delegate(task_id, "cleo")
    with acting_as(person("cleo")):
        done = await office.tasks.complete(task_id, YES)

    assert (again.owner, again.assigned_to) == ("ada", "cleo")
    assert (done.owner, done.completed_by) == ("ada", "cleo")
    with acting_as(person("mallory")), pytest.raises(Conflict):
        await office.tasks.delegate(task_id, "mallory")


async def test_a_candidate_hands_on_what_is_claimed_and_nothing_else(office: Office) -> None:
    await office.staff()
    task_id = await office.asked("claimable")

    with acting_as(person("bob")):
        with pytest.raises(PermissionDenied, match="claim it, and hand it on then"):
            await office.tasks.delegate(task_id, "mallory")
        await office.tasks.claim(task_id)
        handed_on = await office.tasks.delegate(task_id, "cleo")

    assert (handed_on.owner, handed_on.assigned_to) == ("bob", "cleo")


async def test_a_substitute_acts_on_the_days_of_absence_only(office: Office) -> None:
    today = office.clock.now().date()
    task_id = await office.asked("mine")
    with acting_as(person("bob")), pytest.raises(PermissionDenied):
        await office.tasks.complete(task_id, YES)
    await office.tasks.directory.add_substitution(
        "ada", "bob", first_day=today - timedelta(days=9), last_day=today - timedelta(days=1)
    )
    with acting_as(person("bob")), pytest.raises(PermissionDenied):
        await office.tasks.complete(task_id, YES)
    now = await office.tasks.directory.add_substitution(
        "ada", "bob", first_day=today, last_day=today + timedelta(days=1)
    )

    with acting_as(person("bob")):
        found = await office.tasks.list(mine=True)
        done = await office.tasks.complete(task_id, YES)

    assert [task.id for task in found] == [task_id]
    assert done.completed_by == "bob"
    assert (await office.tasks.history(task_id))[-1].details == {"in_stead_of": "ada"}
    assert now.last_day > date(2000, 1, 1)


async def test_the_substitutions_of_a_configuration_come_and_go_with_it(office: Office) -> None:
    directory, today = office.tasks.directory, office.clock.now().date()
    away = {"user": "ada", "substitute": "bob", "first_day": today, "last_day": today + timedelta(days=9)}
    await directory.add_substitution("cleo", "dora", first_day=today, last_day=today)
    task_id = await office.asked("mine")

    await directory.load({}, {}, [away])
    await directory.load({}, {}, [away])  # another process, or another start
    with acting_as(person("bob")):
        mine = await office.tasks.list(mine=True)
    await directory.load({}, {}, [])
    with acting_as(person("bob")), pytest.raises(PermissionDenied):
        await office.tasks.complete(task_id, YES)

    assert [task.id for task in mine] == [task_id]
    assert [(one.user, one.substitute) for one in await directory.list_substitutions()] == [("cleo", "dora")]


async def test_a_stale_form_hears_of_the_reassignment(office: Office) -> None:
    task_id = await office.asked("mine")
    seen = await office.tasks.get(task_id)
    await office.tasks.assign(task_id, "bob")

    with acting_as(person("ada")), pytest.raises(Conflict, match="has changed since it was shown") as caught:
        await office.tasks.complete(task_id, YES, version=seen.version)

    assert caught.value.details["assigned_to"] == "bob"


async def test_a_task_sent_back_stays_open_and_waits_for_rework(office: Office) -> None:
    run_by = "eve"
    task_id = await office.asked("mine", started_by=run_by)

    with acting_as(person("ada")):
        back = await office.tasks.send_back(task_id, reason="the receipt is missing")
        with pytest.raises(Conflict, match="was sent back to 'eve'"):
            await office.tasks.complete(task_id, YES)
        assert await office.tasks.list(mine=True) == []
    with acting_as(person(run_by)):
        assert [task.id for task in await office.tasks.list(mine=True)] == [task_id]
        await office.tasks.comment(task_id, "attached now")
        returned = await office.tasks.return_reworked(task_id, suggested_json='{"amount": "7"}')
        with pytest.raises(PermissionDenied):
            await office.tasks.complete(task_id, YES)
    with acting_as(person("ada")):
        await office.tasks.complete(task_id, YES)

    assert (back.state, back.sent_back_to) == (TaskState.OPEN, "eve")
    assert (returned.sent_back_to, returned.suggested_data) == (None, {"amount": "7"})
    assert [c.action for c in await office.tasks.history(task_id)] == [
        "opened",
        "sent_back",
        "commented",
        "returned",
        "completed",
    ]


async def test_due_date_and_priority_are_edited_on_record(office: Office) -> None:
    task_id = await office.asked("climbing")
    before = await office.tasks.get(task_id)
    assert before.due_at is not None
    assert before.next_at is not None

    after = await office.tasks.edit(task_id, due_at=before.due_at + timedelta(days=7), priority=5, reason="fair week")

    assert (after.priority, after.due_at) == (5, before.due_at + timedelta(days=7))
    assert after.next_at == before.next_at + timedelta(days=7)
    edited = (await office.tasks.history(task_id))[-1]
    assert (edited.action, edited.actor, edited.note) == ("edited", "manager", "fair week")
    assert edited.details["priority"] == [0, 5]


async def test_a_draft_is_ones_own_and_goes_with_the_task(office: Office) -> None:
    await office.staff()
    task_id = await office.asked("claimable")
    with acting_as(person("ada")):
        await office.tasks.save_draft(task_id, '{"amount": "half"}')
        assert await office.tasks.draft(task_id) == {"amount": "half"}
    with acting_as(person("bob")), pytest.raises(NotFound):
        await office.tasks.draft(task_id)
    with acting_as(person("mallory")), pytest.raises(PermissionDenied):
        await office.tasks.save_draft(task_id, "{}")

    with acting_as(person("ada")):
        await office.tasks.complete(task_id, YES)
        with pytest.raises(NotFound):
            await office.tasks.draft(task_id)
