"""From ``security`` in the configuration to who is asking."""

import sys
from pathlib import Path
from typing import Any

import pytest

from toolkit.access import new_api_key
from toolkit.app.authentication import authenticator_of
from toolkit.config import Settings
from toolkit.errors import ConfigurationError, Unauthenticated


def security(tmp_path: Path, **content: Any) -> Settings:
    return Settings.of({"security": content}, folder=tmp_path)


async def test_dev_believes_a_name(tmp_path: Path) -> None:
    caller = await authenticator_of(Settings.defaults(folder=tmp_path)).authenticate({"X-Toolkit-User": "ada"})

    assert caller is not None
    assert caller.id == "ada"


async def test_api_keys_count_beside_any_authenticator(tmp_path: Path) -> None:
    key = new_api_key()
    settings = security(tmp_path, api_keys={"erp": {"hash": key.hash, "permissions": ["runs:read"]}})

    authenticator = authenticator_of(settings)

    service = await authenticator.authenticate({"X-API-Key": key.text})
    anybody = await authenticator.authenticate({})
    assert service is not None
    assert anybody is not None
    assert (service.id, service.kind, anybody.id) == ("erp", "service", "dev")
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate({"X-API-Key": "tk_wrong"})


async def test_api_keys_alone_know_nobody_else(tmp_path: Path) -> None:
    settings = Settings.of(
        {"security": {"api_keys": {"erp": {"hash": new_api_key().hash}}}}, env="prod", folder=tmp_path
    )

    assert await authenticator_of(settings).authenticate({"X-Toolkit-User": "ada"}) is None


async def test_without_any_authenticator_nobody_is_known(tmp_path: Path) -> None:
    authenticator = authenticator_of(Settings.defaults("prod", folder=tmp_path))

    assert await authenticator.authenticate({"X-Toolkit-User": "ada"}) is None


async def test_a_key_may_do_what_it_was_given_and_nothing_else(tmp_path: Path) -> None:
    wide, narrow, none = new_api_key(), new_api_key(), new_api_key()
    keys = {
        "wide": {"hash": wide.hash, "permissions": "*"},
        "narrow": {"hash": narrow.hash, "permissions": ["runs:read"]},
        "none": {"hash": none.hash},
    }
    authenticator = authenticator_of(security(tmp_path, authenticator="api_keys", api_keys=keys))

    found = [await authenticator.authenticate({"X-API-Key": key.text}) for key in (wide, narrow, none)]

    assert [caller and caller.permissions for caller in found] == ["*", {"runs:read"}, frozenset()]


async def test_an_authenticator_of_ones_own_is_named_in_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "company_login.py").write_text(
        "class Badge:\n    async def authenticate(self, headers):\n        return headers['x-badge']\n\nready = Badge()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    for name in ("company_login:Badge", "company_login:ready"):
        found: Any = await authenticator_of(security(tmp_path, authenticator=name)).authenticate({"x-badge": "7"})
        assert found == "7"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise RuntimeError('no LDAP here')", "importing 'broken_login' fails: RuntimeError: no LDAP here"),
        ("def broken(:", "importing 'broken_login' fails: SyntaxError"),
        (
            "class Badge:\n    def __init__(self, server): ...",
            "cannot be made without arguments: TypeError: .*; name an object of it",
        ),
    ],
)
def test_an_authenticator_whose_module_fails_is_named_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, says: str
) -> None:
    (tmp_path / "broken_login.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_login", raising=False)

    with pytest.raises(ConfigurationError, match=f"security.authenticator is 'broken_login:Badge'.*{says}") as caught:
        authenticator_of(security(tmp_path, authenticator="broken_login:Badge"))

    assert caught.value.key == "security.authenticator"


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"authenticator": "api_keys"}, "security.api_keys"),
        ({"authenticator": "no.such.module:thing"}, "security.authenticator"),
        ({"authenticator": "pathlib:Nothing"}, "security.authenticator"),
        ({"authenticator": "json:dumps"}, "security.authenticator"),
        ({"api_keys": {"erp": {"hash": "tk_a_key_itself"}}}, "security.api_keys.erp.hash"),
        ({"api_keys": {"erp": {"hash": "sha256:short"}}}, "security.api_keys.erp.hash"),
    ],
)
def test_what_cannot_work_is_refused_by_its_key(tmp_path: Path, content: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        authenticator_of(security(tmp_path, **content))
    assert caught.value.key == key
    assert "tk_a_key_itself" not in str(caught.value)
