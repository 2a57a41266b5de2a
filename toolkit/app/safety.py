"""What an installation refuses to start with in ``prod``; each refusal says how to go on."""

from __future__ import annotations

from toolkit.app.mounts import network_filesystem
from toolkit.config import Settings
from toolkit.errors import ConfigurationError


def refuse_unsafe(settings: Settings, *, serves: bool) -> None:
    """Check what must hold before others rely on the installation; ``serves`` says whether it answers requests.

    Raises:
        ConfigurationError: ``prod`` without authentication, or SQLite on a network mount.
    """
    if settings.env != "prod":
        return
    if serves:
        _require_authentication(settings)
    _require_local_sqlite(settings)


def _require_authentication(settings: Settings) -> None:
    if settings.authenticator not in {None, "dev"}:
        return
    found = (
        "security.authenticator is 'dev', which believes every caller" if settings.authenticator else "there is none"
    )
    raise ConfigurationError(
        f"'prod' does not start without authentication, and {found}. Do one of these: run `toolkit key create NAME` "
        "and put what it prints under security.api_keys; name your own with security.authenticator: "
        "package.module:object; or use `toolkit dev` to try things out on this machine",
        key="security.authenticator",
    )


def _require_local_sqlite(settings: Settings) -> None:
    path = settings.sqlite_path
    if path is None:
        return
    if filesystem := network_filesystem(path):
        raise ConfigurationError(
            f"the SQLite database {str(path)!r} lies on a network mount ({filesystem}), where locks and durable writes "
            "cannot be relied on: two processes could destroy it. Put it on a local disk, or use PostgreSQL, which any "
            "number of machines can share: database.url: postgresql://user:password@host/name",
            key="database.url",
        )
