"""An API key is shown once, kept as a hash, and names its holder."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from toolkit.access import (
    ApiKeyAuthenticator,
    ChainAuthenticator,
    DevelopmentAuthenticator,
    Permission,
    new_api_key,
    parse_api_keys,
)
from toolkit.errors import ConfigurationError, Unauthenticated

ERP, CLERK = new_api_key(), new_api_key()


@pytest.fixture
def authenticator() -> ApiKeyAuthenticator:
    return ApiKeyAuthenticator(
        parse_api_keys(
            {
                "erp": {"hash": ERP.hash, "permissions": ["files:write", "workflows:start"]},
                "ada": {
                    "hash": CLERK.hash,
                    "kind": "person",
                    "principal": "ada@example.com",
                    "display_name": "Ada",
                    "permissions": "*",
                },
            }
        )
    )


def test_a_new_key_has_the_prefix_and_32_random_bytes_and_a_sha256() -> None:
    key = new_api_key()

    assert key.text.startswith("tk_")
    assert len(key.text) == 3 + 43
    assert key.hash == "sha256:" + hashlib.sha256(key.text.encode()).hexdigest()
    assert new_api_key().text != key.text


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {ERP.text}"},
        {"Authorization": f"bearer   {ERP.text}"},
        {"x-api-key": ERP.text},
        {"X-API-Key": f" {ERP.text} "},
        {"X-API-Key": ERP.text, "Authorization": f"Bearer {ERP.text}"},
    ],
)
async def test_a_key_is_taken_from_either_header(authenticator: ApiKeyAuthenticator, headers: dict[str, str]) -> None:
    principal = await authenticator.authenticate(headers)

    assert principal is not None
    assert (principal.id, principal.kind, principal.display_name) == ("erp", "service", "erp")
    assert principal.permissions == frozenset({Permission.FILES_WRITE, Permission.WORKFLOWS_START})


async def test_a_key_may_stand_for_a_person(authenticator: ApiKeyAuthenticator) -> None:
    principal = await authenticator.authenticate({"x-api-key": CLERK.text})

    assert principal is not None
    assert (principal.id, principal.kind, principal.display_name) == ("ada@example.com", "person", "Ada")
    assert principal.permissions == "*"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "tk_wrong"},
        {"x-api-key": ""},
        {"x-api-key": ERP.hash},
        {"x-api-key": ERP.text + "x"},
        {"x-api-key": "tk_" + "x" * 100_000},
        {"x-api-key": "tk_ключ"},
        {"authorization": "Bearer tk_wrong"},
        {"authorization": f"Bearer {ERP.text}", "x-api-key": CLERK.text},
        {"x-api-key": ERP.text, "X-API-KEY": CLERK.text},
    ],
)
async def test_a_wrong_key_is_an_error_and_never_nobody(
    authenticator: ApiKeyAuthenticator, headers: dict[str, str]
) -> None:
    with pytest.raises(Unauthenticated) as raised:
        await authenticator.authenticate(headers)

    assert "tk_" not in str(raised.value)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic ZGV2OmRldg=="}, {"authorization": "Bearer eyJhbGciOi"}]
)
async def test_a_credential_of_another_kind_is_left_to_others(
    authenticator: ApiKeyAuthenticator, headers: dict[str, str]
) -> None:
    assert await authenticator.authenticate(headers) is None


async def test_a_chain_asks_on_until_somebody_is_known_and_stops_at_a_bad_key(
    authenticator: ApiKeyAuthenticator,
) -> None:
    chain = ChainAuthenticator(authenticator, DevelopmentAuthenticator())

    by_key = await chain.authenticate({"x-api-key": ERP.text, "x-toolkit-user": "mallory"})
    by_name = await chain.authenticate({"x-toolkit-user": "grace"})

    assert by_key is not None
    assert by_key.id == "erp"
    assert by_name is not None
    assert by_name.id == "grace"
    with pytest.raises(Unauthenticated):
        await chain.authenticate({"x-api-key": "tk_wrong", "x-toolkit-user": "grace"})


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"hash": ERP.text}, "security.api_keys.erp.hash"),
        ({"hash": "sha256:123"}, "security.api_keys.erp.hash"),
        ({"hash": ERP.hash.upper()}, "security.api_keys.erp.hash"),
        ({"hash": ERP.hash + "\n"}, "security.api_keys.erp.hash"),
        ({}, "security.api_keys.erp.hash"),
        ({"hash": ERP.hash, "kind": "anonymous"}, "security.api_keys.erp.kind"),
        ({"hash": ERP.hash, "admin": True}, "security.api_keys.erp.admin"),
        ({"hash": ERP.hash, "permissions": ["files:read", "files:rite"]}, "security.api_keys.erp.permissions"),
    ],
)
def test_a_configured_key_that_does_not_fit_is_named_and_not_shown(entry: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_api_keys({"erp": entry})

    assert raised.value.key == place
    assert place in str(raised.value)
    assert ERP.text not in str(raised.value)
    assert ERP.hash not in str(raised.value)


def test_two_holders_cannot_share_a_key() -> None:
    with pytest.raises(ConfigurationError, match="'erp'"):
        parse_api_keys({"erp": {"hash": ERP.hash}, "crm": {"hash": ERP.hash}})


def test_a_key_holds_nothing_unless_the_configuration_says_so_and_hides_its_hash() -> None:
    (key,) = parse_api_keys({"erp": {"hash": ERP.hash}})

    assert key.holder().permissions == frozenset()
    assert ERP.hash not in repr(key)


async def test_development_believes_a_name_and_takes_everybody_else_for_dev() -> None:
    development = DevelopmentAuthenticator()

    assert (await development.authenticate({})).id == "dev"
    grace = await development.authenticate({"X-Toolkit-User": "grace"})
    assert (grace.id, grace.kind, grace.permissions) == ("grace", "person", "*")


@pytest.mark.parametrize("name", ["", " ", "a\x00b", "line\nbreak", "x" * 256])
async def test_development_refuses_a_name_that_is_none(name: str) -> None:
    with pytest.raises(Unauthenticated):
        await DevelopmentAuthenticator().authenticate({"x-toolkit-user": name})
