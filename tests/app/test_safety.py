"""What ``prod`` refuses to start with."""

from pathlib import Path

import pytest

from toolkit.app import safety
from toolkit.app.safety import refuse_unsafe
from toolkit.config import Settings
from toolkit.errors import ConfigurationError

KEY = {"erp": {"hash": "sha256:" + "0" * 64, "permissions": "*"}}


def prod(tmp_path: Path, **content: object) -> Settings:
    return Settings.of(content, env="prod", folder=tmp_path)


def test_prod_needs_a_way_to_tell_who_asks(tmp_path: Path) -> None:
    for security in ({}, {"authenticator": "dev"}, {"authenticator": "dev", "api_keys": KEY}):
        with pytest.raises(ConfigurationError, match="does not start without authentication") as caught:
            refuse_unsafe(prod(tmp_path, security=security), serves=True)
        assert caught.value.key == "security.authenticator"

    refuse_unsafe(prod(tmp_path, security={"api_keys": KEY}), serves=True)
    refuse_unsafe(prod(tmp_path, security={"authenticator": "company.login:Single"}), serves=True)


def test_a_worker_answers_nobody_and_needs_none(tmp_path: Path) -> None:
    refuse_unsafe(prod(tmp_path), serves=False)


def test_prod_refuses_sqlite_on_a_network_mount_and_names_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "network_filesystem", lambda _path: "nfs4")

    with pytest.raises(ConfigurationError, match=r"network mount \(nfs4\).*postgresql://") as caught:
        refuse_unsafe(prod(tmp_path), serves=False)
    assert caught.value.key == "database.url"

    refuse_unsafe(prod(tmp_path, database={"url": "postgresql://h/d"}), serves=False)
    refuse_unsafe(Settings.defaults("dev", folder=tmp_path), serves=True)
