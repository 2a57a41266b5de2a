"""The whole configuration of one installation, put together from defaults and one mapping of keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError

from toolkit.config.masks import masked
from toolkit.config.mentions import check_mentions
from toolkit.config.problems import did_you_mean, refuse
from toolkit.config.sections import (
    AIModelSettings,
    DatabaseSettings,
    DirectorySettings,
    FileSettings,
    FileStorageSettings,
    LimitSettings,
    LoggingSettings,
    NotificationSettings,
    RuleSettings,
    Section,
    SecuritySettings,
    ServerSettings,
    WorkerSettings,
)
from toolkit.errors import ConfigurationError

Environment = Literal["dev", "prod"]
S = TypeVar("S", bound=Section)

# What differs between the two environments, and nothing else.
_DEFAULTS: dict[Environment, dict[str, Any]] = {
    "dev": {"logging": {"format": "text"}, "security": {"authenticator": "dev"}},
    "prod": {"logging": {"format": "json"}},
}
# Where an installation begins, not what it says: a file cannot set these.
_NOT_KEYS = {"env", "source", "folder"}

_SQLITE_FILE = re.compile(r"^sqlite:///(?!/)(?P<path>.+)$")
_LOCAL_FOLDER = re.compile(r"^(?:(?:file|local)://)?(?P<path>(?!\w[\w+.-]*:).+)$")


class Settings(Section):
    """One installation's configuration: frozen, complete, every path absolute."""

    env: Environment
    source: Path | None = None
    """The file it was read from; ``None`` when defaults alone made it."""
    folder: Path
    """Where relative paths start: the folder of that file, else of the application."""

    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    file_storage: dict[str, FileStorageSettings] = Field(default_factory=dict)
    """By name. ``default`` is always there and is the one used unless another is named."""
    files: FileSettings = Field(default_factory=FileSettings)
    ai_models: dict[str, AIModelSettings] = Field(default_factory=dict)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    security: SecuritySettings = Field(default_factory=SecuritySettings)
    notifications: NotificationSettings = Field(default_factory=NotificationSettings)
    directory: DirectorySettings = Field(default_factory=DirectorySettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    rules: RuleSettings = Field(default_factory=RuleSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)

    @classmethod
    def defaults(cls, env: Environment = "dev", *, folder: Path) -> Self:
        """The settings of ``env`` when no file says anything."""
        return cls.of({}, env=env, folder=folder)

    @classmethod
    def of(
        cls,
        content: Mapping[str, Any],
        *,
        env: Environment = "dev",
        folder: Path,
        source: Path | None = None,
        hidden: set[str] | None = None,
    ) -> Self:
        """Settings from ``content`` (as parsed from YAML) merged over the defaults of ``env``.

        Keys named in ``hidden`` (dotted) hold values that no message may quote.

        Raises:
            ConfigurationError: with the dotted key, what was found and what was expected.
        """
        place = str(source) if source else "configuration"
        for name in content:
            if name in _NOT_KEYS:
                known = cls.model_fields.keys() - _NOT_KEYS
                raise ConfigurationError(f"{place}: {name!r} is not a known key; {did_you_mean(name, known)}", key=name)
        merged = _merged(_DEFAULTS[env], content)
        storages = merged.get("file_storage")
        if storages is None or isinstance(storages, dict):
            named = {"default": "file://./.toolkit/files", **(storages or {})}
            # A URL alone is the common case; only object stores need options.
            merged["file_storage"] = {k: {"url": v} if isinstance(v, str) else v for k, v in named.items()}
        try:
            parsed = cls.model_validate({**merged, "env": env, "source": source, "folder": folder.resolve()})
        except ValidationError as error:
            # The original error quotes its input, secrets included, so it does not travel along.
            raise refuse(error, cls, place=place, hidden=hidden or set(), not_keys=_NOT_KEYS) from None
        check_mentions(parsed, place=place, hidden=hidden or set())
        return parsed.model_copy(
            update={
                "database": _placed(parsed.database, _absolute_database(parsed.database.url, parsed.folder)),
                "file_storage": {
                    name: _placed(storage, _absolute_storage(storage.url, parsed.folder))
                    for name, storage in parsed.file_storage.items()
                },
            }
        )

    @property
    def authenticator(self) -> str | None:
        """The way of telling who asks: as configured, else ``api_keys`` when there are keys, else none."""
        return self.security.authenticator or ("api_keys" if self.security.api_keys else None)

    @property
    def sqlite_path(self) -> Path | None:
        """The file of a SQLite database; ``None`` for any other database."""
        url = self.database.url.get_secret_value()
        return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None

    def shown(self) -> dict[str, Any]:
        """Everything, fit for a screen or a log: secrets are masked, also those inside URLs and options."""
        shown: dict[str, Any] = masked(self.model_dump())
        return shown

    def __repr__(self) -> str:
        return f"Settings(env={self.env!r}, source={str(self.source) if self.source else None!r})"

    __str__ = __repr__


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``under``, mapping by mapping; an empty section in a file (``None``) says nothing."""
    merged = dict(under)
    for key, value in over.items():
        beneath = merged.get(key)
        if value is None and (key in Settings.model_fields or isinstance(beneath, dict)):
            continue
        merged[key] = _merged(beneath, value) if isinstance(beneath, dict) and isinstance(value, dict) else value
    return merged


def _placed(section: S, url: SecretStr) -> S:
    return section.model_copy(update={"url": url})


def _absolute_database(url: SecretStr, folder: Path) -> SecretStr:
    if url.get_secret_value() in {"sqlite://", "sqlite:///", "sqlite:///:memory:"}:
        raise ConfigurationError(
            "'database.url' names a SQLite database in memory, which would forget every run; name a file, "
            "such as sqlite:///.toolkit/toolkit.db",
            key="database.url",
        )
    if url.get_secret_value().startswith("sqlite:///"):
        _check_sqlite_file(url.get_secret_value().removeprefix("sqlite:///"))
    match = _SQLITE_FILE.match(url.get_secret_value())
    return SecretStr(f"sqlite:///{(folder / match['path']).resolve()}") if match else url


def _check_sqlite_file(path: str) -> None:
    """Refuse what looks like options: they would become part of the file's name for one library and not for another."""
    found = "begins with 'file:'" if path.startswith("file:") else next((f"has a {c!r}" for c in "?#" if c in path), "")
    if found:
        raise ConfigurationError(
            f"'database.url': the path of the SQLite file {found}; expected a plain path and no options, such as "
            "sqlite:///.toolkit/toolkit.db. Leave them out; database.synchronous is the only one there is",
            key="database.url",
        )


def _absolute_storage(url: SecretStr, folder: Path) -> SecretStr:
    match = _LOCAL_FOLDER.match(url.get_secret_value())
    if match is None:
        return url
    return SecretStr(f"file://{(folder / match['path']).resolve()}")
