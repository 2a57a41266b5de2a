"""People and groups may be saved and removed by many at once: each gets what it wrote, and the last one stays."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import date
from typing import Any

from toolkit.access import list_audit
from toolkit.errors import NotFound
from toolkit.human.directory import Directory
from toolkit.storage import Database

DAYS = {"first_day": date(2031, 1, 1), "last_day": date(2031, 1, 9)}


async def test_a_new_person_is_saved_by_many_at_once(database: Database) -> None:
    directory = Directory(database)

    saved = await asyncio.gather(*(directory.put_user("ada", display_name=str(at)) for at in range(20)))

    assert [user.display_name for user in saved] == [str(at) for at in range(20)]
    assert await directory.get_user("ada") in saved
    assert len(await list_audit(database, action="user.saved")) == 20


async def test_the_members_of_a_group_are_those_of_one_who_saved_it(database: Database) -> None:
    directory = Directory(database)
    lists = [[f"m{number:02}" for number in range(at, at + 10)] for at in range(20)]

    saved = await asyncio.gather(*(directory.put_group("all", members=members) for members in lists))

    assert [group.members for group in saved] == lists
    (group,) = await directory.list_groups()
    assert group.members in lists


async def test_what_is_removed_while_it_is_saved_is_there_or_gone(database: Database) -> None:
    directory = Directory(database)

    async def removed(verb: Any, name: str) -> None:
        with suppress(NotFound):
            await verb(name)

    await asyncio.gather(
        *(directory.put_user("ada") for _ in range(10)),
        *(removed(directory.delete_user, "ada") for _ in range(10)),
        *(directory.put_group("all", members=["ada", "bob"]) for _ in range(10)),
        *(removed(directory.delete_group, "all") for _ in range(10)),
    )

    kept = await directory.put_group("all")
    assert set(kept.members) <= {"ada", "bob"}
    assert [group.id for group in await directory.list_groups()] == ["all"]


async def test_a_group_that_is_renamed_keeps_its_members_and_the_others_theirs(database: Database) -> None:
    directory = Directory(database)
    await directory.put_group("finance", members=["bob", "ada", "bob"])
    await directory.put_group("law", members=["ada"])

    renamed = await directory.put_group("finance", display_name="Finance")

    assert (renamed.display_name, renamed.members) == ("Finance", ["ada", "bob"])
    assert [(group.id, group.members) for group in await directory.list_groups()] == [
        ("finance", ["ada", "bob"]),
        ("law", ["ada"]),
    ]
    assert (await directory.put_user("ada")).groups == ["finance", "law"]


async def test_a_substitution_ends_once(database: Database) -> None:
    directory = Directory(database)
    added = await directory.add_substitution("ada", "bob", **DAYS)

    ends = await asyncio.gather(*(directory.remove_substitution(added.id) for _ in range(5)), return_exceptions=True)

    assert sorted(type(end).__name__ for end in ends) == ["NoneType", *["NotFound"] * 4]
    assert len(await list_audit(database, action="substitution.removed")) == 1


async def test_processes_that_start_at_once_take_in_one_configuration(database: Database) -> None:
    directory = Directory(database)
    away = {"user": "ada", "substitute": "bob", **DAYS}

    await asyncio.gather(
        *(directory.load({"ada": {}, "bob": {}}, {"all": {"members": ["ada", "bob"]}}, [away]) for _ in range(5))
    )

    assert [user.groups for user in await directory.list_users()] == [["all"], ["all"]]
    assert len(await directory.list_substitutions()) == 1
