"""People and groups over REST: whatever is put is kept as it was put, however often and beside whomever."""

from __future__ import annotations

import pytest

from tests.api.installation import Caller, Installation
from toolkit.access import list_audit

V1 = "/toolkit/v1"


async def test_a_group_of_many_is_kept_whole(call: Caller, installation: Installation) -> None:
    members = [f"auth0|{at:074}" for at in range(150)]

    put = await call("PUT", f"{V1}/groups/all", json={"members": members})

    assert (put.status_code, put.json()["members"]) == (200, members)
    (entry,) = await list_audit(installation.services.database, action="group.saved")
    assert (entry.details["members"]["count"], entry.details["members"]["first"][0]) == (150, members[0])


@pytest.mark.parametrize("email", ["a@[", "undisclosed:;@x", "=?utf-8?q?=0a?=@x", "a@b,c", "x" * 300 + "@y"])
async def test_an_address_that_no_letter_can_be_written_to_is_refused(call: Caller, email: str) -> None:
    response = await call("PUT", f"{V1}/users/ada", json={"email": email})

    assert (response.status_code, response.json()["errors"][0]["loc"]) == (422, "email")
    assert (await call("GET", f"{V1}/users/ada")).status_code == 404
