"""Several people decide together, and nobody decides twice."""

from __future__ import annotations

import asyncio

import pytest

from tests.human.office import Office, ask_by_name, person
from toolkit.access import acting_as
from toolkit.errors import Conflict, DefinitionError, PermissionDenied
from toolkit.human import Quorum, TaskState
from toolkit.human.quorums import Ballot, standing

YES, NO = '{"approved": true}', '{"approved": false}'


async def vote(office: Office, who: str, task_id: str, answer: str = YES) -> TaskState:
    with acting_as(person(who)):
        return (await office.tasks.complete(task_id, answer)).state


async def test_two_of_three_accept(office: Office) -> None:
    run = await office.engine.start(ask_by_name, "two_of_three", [])
    task_id = await office.open_task(run.id)

    assert await vote(office, "ada", task_id) is TaskState.OPEN
    with pytest.raises(Conflict, match="has the vote of 'ada'"):
        await vote(office, "ada", task_id)
    assert await vote(office, "bob", task_id, NO) is TaskState.OPEN
    with pytest.raises(PermissionDenied):
        await vote(office, "mallory", task_id)
    with acting_as(person("cleo")), pytest.raises(Conflict, match="nobody can take it alone"):
        await office.tasks.claim(task_id)
    quorum = (await office.tasks.get(task_id)).quorum
    assert quorum is not None
    assert (quorum.accepted, quorum.rejected) == (1, 1)
    assert await vote(office, "cleo", task_id) is TaskState.COMPLETED

    assert await run.result() == "completed by cleo True [ada,bob,cleo]"
    assert (await office.tasks.verify(task_id)).answers == 3


async def test_two_rejections_of_three_end_it_early(office: Office) -> None:
    run = await office.engine.start(ask_by_name, "two_of_three", [])
    task_id = await office.open_task(run.id)

    await vote(office, "ada", task_id, NO)
    await vote(office, "bob", task_id, NO)

    assert await run.result() == "rejected by bob False [ada,bob]"
    with pytest.raises(Conflict, match="completed by 'bob'"):
        await vote(office, "cleo", task_id)


async def test_votes_do_not_count_for_what_came_back_as_something_else(office: Office) -> None:
    run = await office.engine.start(ask_by_name, "two_of_three", [], started_by="eve")
    task_id = await office.open_task(run.id)

    await vote(office, "ada", task_id)
    for suggested in (None, '{"amount": "1000000"}'):
        with acting_as(person("bob")):
            await office.tasks.send_back(task_id, reason="is the amount right?")
        with acting_as(person("eve")):
            task = await office.tasks.return_reworked(task_id, suggested_json=suggested)
        assert task.quorum is not None
        assert task.quorum.accepted == (1 if suggested is None else 0)
    assert await vote(office, "bob", task_id) is TaskState.OPEN
    assert await vote(office, "ada", task_id) is TaskState.COMPLETED

    assert await run.result() == "completed by ada True [bob,ada]"
    assert (await office.tasks.verify(task_id)).is_unchanged
    returned = [each.details for each in await office.tasks.history(task_id) if each.action == "returned"]
    assert returned == [{"has_new_data": False}, {"has_new_data": True, "lapsed_votes": ["ada"]}]


async def test_votes_at_one_moment_are_all_counted(office: Office) -> None:
    run = await office.engine.start(ask_by_name, "two_of_three", [])
    task_id = await office.open_task(run.id)

    states = await asyncio.gather(
        *(vote(office, who, task_id) for who in ("ada", "bob", "cleo")), return_exceptions=True
    )

    assert sum(state is TaskState.COMPLETED for state in states) == 1
    assert sum(isinstance(state, Conflict) for state in states) == 1
    assert "completed by" in await run.result()


async def test_one_of_each_group_must_accept(office: Office) -> None:
    await office.staff()
    run = await office.engine.start(ask_by_name, "legal_and_finance", [], started_by="dora")
    task_id = await office.open_task(run.id)

    with pytest.raises(PermissionDenied, match="four eyes"):
        await vote(office, "dora", task_id)
    assert await vote(office, "cleo", task_id) is TaskState.OPEN  # of both groups, and one person all the same
    await office.tasks.directory.put_group("legal", members=["cleo", "bob"])
    assert await vote(office, "bob", task_id) is TaskState.COMPLETED

    assert await run.result() == "completed by bob True [cleo,bob]"


async def test_a_substitute_speaks_for_the_group_of_the_absent(office: Office) -> None:
    """For one of the groups all the same: who stands in does not count twice."""
    await office.staff()
    today = office.clock.now().date()
    await office.tasks.directory.add_substitution("dora", "bob", first_day=today, last_day=today)
    run = await office.engine.start(ask_by_name, "legal_and_finance", [])
    task_id = await office.open_task(run.id)

    assert await vote(office, "bob", task_id) is TaskState.OPEN  # of finance, and for Dora of legal
    await office.tasks.directory.put_group("finance", members=["bob", "eve"])
    assert await vote(office, "eve", task_id) is TaskState.COMPLETED

    assert await run.result() == "completed by eve True [bob,eve]"


async def test_one_group_can_stop_it(office: Office) -> None:
    await office.staff()
    run = await office.engine.start(ask_by_name, "legal_and_finance", [])
    task_id = await office.open_task(run.id)

    await vote(office, "dora", task_id, NO)

    assert await run.result() == "rejected by dora False [dora]"


@pytest.mark.parametrize(
    ("groups_of_voters", "expected"),
    [
        ([{"legal"}, {"legal"}], "open"),
        ([{"legal", "finance"}], "open"),
        ([{"legal", "finance"}, {"legal"}], "accepted"),
        ([{"legal"}, {"legal", "finance"}], "accepted"),
        ([set(), {"legal"}, {"finance"}], "accepted"),
    ],
)
def test_nobody_speaks_for_two_groups(groups_of_voters: list[set[str]], expected: str) -> None:
    ballots = [Ballot(is_rejection=False, groups=frozenset(groups)) for groups in groups_of_voters]

    assert standing(ballots, needed=0, one_of_each=["legal", "finance"], rejections_allowed=0) == expected


@pytest.mark.parametrize("wrong", [{}, {"needed": 2, "one_of_each": ("a",)}, {"needed": 3, "of": 2}])
def test_a_quorum_that_cannot_be_reached_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DefinitionError, match="quorum"):
        Quorum(**wrong)  # type: ignore[arg-type]
