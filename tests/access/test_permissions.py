"""A principal may do what it holds, and nothing that nobody thought of."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from toolkit.access import (
    ANONYMOUS,
    PUBLIC,
    SYSTEM,
    Decision,
    Permission,
    Principal,
    acting_as,
    allow,
    current_principal,
    current_request_id,
    parse_permissions,
    require,
)
from toolkit.errors import ConfigurationError, PermissionDenied, Unauthenticated

ADA = Principal(id="ada", kind="person", permissions=frozenset({Permission.RUNS_READ}))


@pytest.mark.parametrize("permission", Permission)
def test_nobody_in_particular_gets_what_is_public_and_no_more(permission: Permission) -> None:
    assert allow(ANONYMOUS, permission).allowed is (permission in PUBLIC)


@pytest.mark.parametrize("permission", Permission)
def test_a_star_covers_everything(permission: Permission) -> None:
    assert allow(SYSTEM, permission).allowed


def test_a_set_covers_what_it_holds_and_the_reason_says_so() -> None:
    assert allow(ADA, Permission.RUNS_READ) == Decision(allowed=True, reason="'ada' holds runs:read")
    assert allow(ADA, Permission.RUNS_CANCEL) == Decision(allowed=False, reason="'ada' does not hold runs:cancel")


def test_a_star_does_not_make_nobody_somebody() -> None:
    forged = Principal(id="anonymous", kind="anonymous", permissions="*")

    assert not allow(forged, Permission.FILES_READ).allowed


def test_require_tells_apart_who_could_log_in_and_who_may_not() -> None:
    with pytest.raises(Unauthenticated):
        require(Permission.RUNS_READ)
    with acting_as(ADA):
        assert require(Permission.RUNS_READ) is ADA
        with pytest.raises(PermissionDenied) as raised:
            require(Permission.RUNS_CANCEL)
    assert raised.value.permission == "runs:cancel"


def test_a_policy_of_ones_own_may_narrow_the_usual_one() -> None:
    def only_own(principal: Principal, permission: Permission, resource: Any) -> Decision:
        usual = allow(principal, permission, resource)
        return usual if resource == principal.id else Decision(allowed=False, reason="not yours")

    with acting_as(ADA):
        assert require(Permission.RUNS_READ, "ada", policy=only_own) is ADA
        with pytest.raises(PermissionDenied, match="not yours"):
            require(Permission.RUNS_READ, "grace", policy=only_own)


def test_permissions_are_read_by_name_and_an_unknown_one_is_named() -> None:
    assert parse_permissions("*", key="k") == "*"
    assert parse_permissions(["*"], key="k") == "*"
    assert parse_permissions(["runs:read"], key="k") == frozenset({Permission.RUNS_READ})
    with pytest.raises(ConfigurationError, match=r"'runs:\*'") as raised:
        parse_permissions(["runs:read", "runs:*"], key="roles.clerk")
    assert raised.value.key == "roles.clerk"


async def test_who_acts_is_known_in_the_block_and_in_the_tasks_it_starts() -> None:
    seen: list[str] = []

    async def look() -> None:
        seen.append(current_principal().id)

    with acting_as(ADA, request_id="r-1"):
        task = asyncio.create_task(look())
        assert current_request_id() == "r-1"
        with acting_as(SYSTEM):
            assert current_principal() is SYSTEM
            assert current_request_id() is None
        assert current_principal() is ADA
    await task

    assert seen == ["ada"]
    assert current_principal() is ANONYMOUS


def test_knowing_a_principal_loads_no_database_library() -> None:
    code = (
        "import sys; from toolkit.access import ApiKeyAuthenticator, Principal, judge_request, require; "
        "print([name for name in ('sqlalchemy', 'sqlmodel', 'starlette') if name in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
