"""An audit entry stands or falls with the change it is about, and names who made it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic_core import to_json

from toolkit.access import ANONYMOUS, Principal, acting_as, list_audit, record_audit
from toolkit.access.audit import LONGEST_DETAILS
from toolkit.errors import InvalidInput, SerializationError
from toolkit.storage import Database

ADA = Principal(id="ada", kind="person")


async def record(database: Database, action: str, object_id: str = "1", **details: object) -> None:
    async with database.session() as session:
        await record_audit(session, action=action, object_kind="rule", object_id=object_id, details=details)


async def test_an_entry_holds_who_what_and_which_request(database: Database) -> None:
    with acting_as(ADA, request_id="r-1"):
        await record(database, "rule.activated", "approval", version=3, limit=Decimal("1000.00"))

    (entry,) = await list_audit(database)

    assert (entry.actor, entry.actor_kind, entry.request_id) == ("ada", "person", "r-1")
    assert (entry.action, entry.object_kind, entry.object_id) == ("rule.activated", "rule", "approval")
    assert entry.details == {"version": 3, "limit": "1000.00"}
    assert entry.at.tzinfo is UTC
    assert abs((datetime.now(UTC) - entry.at).total_seconds()) < 60


async def test_an_entry_is_gone_with_the_change_that_failed(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.session() as session:
            await record_audit(session, action="rule.activated", object_kind="rule", object_id="1")
            raise ZeroDivisionError

    assert await list_audit(database) == []


async def test_code_outside_of_a_request_is_recorded_as_nobody(database: Database) -> None:
    await record(database, "rule.uploaded")

    (entry,) = await list_audit(database)

    assert (entry.actor, entry.actor_kind) == (ANONYMOUS.id, "anonymous")


async def test_the_trail_is_read_newest_first_filtered_and_page_by_page(database: Database) -> None:
    for number in range(5):
        with acting_as(ADA if number % 2 else ANONYMOUS):
            await record(database, "rule.uploaded", str(number))

    first = await list_audit(database, limit=2)
    second = await list_audit(database, limit=2, after=first[-1].id)
    by_ada = await list_audit(database, actor="ada")
    about_two = await list_audit(database, object_kind="rule", object_id="2", action="rule.uploaded")

    assert [entry.object_id for entry in first + second] == ["4", "3", "2", "1"]
    assert [entry.object_id for entry in by_ada] == ["3", "1"]
    assert [entry.object_id for entry in about_two] == ["2"]


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_page_has_a_size(database: Database, limit: int) -> None:
    with pytest.raises(InvalidInput):
        await list_audit(database, limit=limit)


@pytest.mark.parametrize(
    ("details", "kept"),
    [
        ({"id": [f"{at:036}" for at in range(401)]}, {"count": 401, "first": [f"{at:036}" for at in range(50)]}),
        ({"id": "ü" * 10_000}, "ü" * 1000 + "…"),
        ({"id": {str(at): [] for at in range(4000)}}, {"count": 4000, "first": {str(at): [] for at in range(50)}}),
        ({"id": {"in": ["x" * 300] * 40}}, {"in": {"count": 40, "first": ["x" * 300] * 20}}),
    ],
)
async def test_long_details_are_shortened_and_say_so(database: Database, details: dict[str, Any], kept: object) -> None:
    await record(database, "rule.uploaded", **details, reason="why")

    (entry,) = await list_audit(database)

    whole = to_json(details | {"reason": "why"})
    shortened = {"characters": len(whole.decode()), "sha256": hashlib.sha256(whole).hexdigest()}
    assert entry.details == {"id": kept, "reason": "why", "shortened": shortened}


@pytest.mark.parametrize(
    "details",
    [
        {f"name {at}": "x" * 100 for at in range(1000)},
        {"x" * 10_000: 1},
        {"deep": [[[[[["x" * 90] * 6] * 6] * 6] * 6] * 6]},
    ],
)
async def test_no_details_refuse_the_change_they_are_about(database: Database, details: dict[str, Any]) -> None:
    await record(database, "rule.uploaded", **details)

    (entry,) = await list_audit(database)

    assert entry.details["shortened"]["characters"] > LONGEST_DETAILS
    assert len(to_json(entry.details).decode()) <= LONGEST_DETAILS


async def test_details_of_the_longest_length_stay_whole(database: Database) -> None:
    text = "x" * (LONGEST_DETAILS - len('{"graph":""}'))

    await record(database, "rule.uploaded", graph=text)

    assert [entry.details for entry in await list_audit(database)] == [{"graph": text}]


async def test_details_have_a_json_form(database: Database) -> None:
    with pytest.raises(SerializationError):
        await record(database, "rule.uploaded", graph=object())

    assert await list_audit(database) == []
