"""Whoever follows the changes of tasks hears of each once, in the order of commits, wherever they go on from."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import UUID

import pytest

from tests.human.office import Office, person
from toolkit.access import acting_as
from toolkit.human.feeds import changes_after, last_number
from toolkit.human.tables import ChangeRow
from toolkit.storage import Database


def change(number: int) -> ChangeRow:
    """A change whose id was made at the moment ``number``, whenever it is committed."""
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    return ChangeRow(id=str(UUID(int=number)), task_id="t", at=moment, actor="ada", action=f"act-{number}")


async def commit(database: Database, number: int) -> None:
    async with database.session() as session:
        session.add(change(number))


async def read_on(database: Database, after: int) -> tuple[list[str], int]:
    """The actions after a number, and the last number of them."""
    found = await changes_after(database, after, limit=200)
    return [each.action for _, each in found], found[-1][0] if found else after


async def test_a_change_is_heard_of_although_its_id_is_older_than_one_that_was_heard_before(
    database: Database,
) -> None:
    await commit(database, 5)
    first, last = await read_on(database, 0)
    await commit(database, 2)
    second, last = await read_on(database, last)
    third, _ = await read_on(database, last)

    assert (first, second, third) == (["act-5"], ["act-2"], [])
    assert (await read_on(database, 0))[0] == ["act-5", "act-2"]


@pytest.mark.postgresql
async def test_a_transaction_that_is_still_open_is_waited_for_by_nobody_and_lost_to_nobody(
    postgresql_url: str,
) -> None:
    database = Database(postgresql_url)
    await database.open()
    async with database.session() as slow:
        slow.add(change(1))
        await slow.flush()
        await commit(database, 2)
        first, last = await read_on(database, 0)
    second, _ = await read_on(database, last)
    await database.close()

    assert (first, second) == (["act-2"], ["act-1"])


async def test_many_who_follow_at_once_give_each_change_one_number(database: Database) -> None:
    async with AsyncExitStack() as stack:
        others = [Database(database.url) for _ in range(4)]
        for other in others:
            await other.open()
            stack.push_async_callback(other.close)
        heard: dict[int, list[str]] = {at: [] for at in range(len(others))}

        async def follow(at: int) -> None:
            last = 0
            while len(heard[at]) < 40:
                found = await changes_after(others[at], last, limit=7)
                assert [number for number, _ in found] == list(range(last + 1, last + 1 + len(found)))
                heard[at] += [each.action for _, each in found]
                last += len(found)

        async def write() -> None:
            for number in reversed(range(40)):
                await commit(database, number)

        await asyncio.gather(write(), *(follow(at) for at in heard))

    assert all(each == heard[0] for each in heard.values())
    assert sorted(heard[0]) == sorted(f"act-{number}" for number in range(40))


async def test_from_now_on_is_after_everything_that_is_committed(database: Database) -> None:
    async with database.session() as session:
        session.add_all(change(number) for number in range(2005))  # more than are numbered at once

    now = await last_number(database)
    await commit(database, 7000)

    assert now == 2005
    assert (await read_on(database, now))[0] == ["act-7000"]


async def test_what_is_said_about_a_task_comes_back_to_who_said_it(office: Office) -> None:
    task_id = await office.asked("mine")

    async def say(text: str) -> str | None:
        with acting_as(person("ada")):
            return (await office.tasks.comment(task_id, text)).note

    said = [f"comment {number}" for number in range(20)]

    assert await asyncio.gather(*map(say, said)) == said
