"""From ``security`` in the configuration to the authenticator of the API."""

from __future__ import annotations

import importlib
from typing import Any

from toolkit.access import (
    ApiKeyAuthenticator,
    Authenticator,
    ChainAuthenticator,
    DevelopmentAuthenticator,
    parse_api_keys,
)
from toolkit.config import ApiKeySettings, Settings
from toolkit.errors import ConfigurationError

_KEY = "security.authenticator"


def authenticator_of(settings: Settings) -> Authenticator:
    """Who tells the principals of this installation apart. API keys count beside any other authenticator.

    Raises:
        ConfigurationError: a key does not fit, or the named object is missing or is no authenticator.
    """
    keys = parse_api_keys(
        {name: _plain(entry) for name, entry in settings.security.api_keys.items()}, key="security.api_keys"
    )
    chosen = settings.authenticator
    if chosen == "api_keys":
        if not keys:
            raise ConfigurationError(
                "security.authenticator is 'api_keys' and security.api_keys is empty, so nobody could do anything; "
                "run `toolkit key create NAME`",
                key="security.api_keys",
            )
        return ApiKeyAuthenticator(keys)
    if chosen is None:
        return ChainAuthenticator()  # knows nobody
    own = DevelopmentAuthenticator() if chosen == "dev" else _imported(chosen)
    return ChainAuthenticator(ApiKeyAuthenticator(keys), own) if keys else own


def _plain(entry: ApiKeySettings) -> dict[str, Any]:
    permissions: Any = "*" if "*" in entry.permissions else entry.permissions
    return entry.model_dump() | {"hash": entry.hash.get_secret_value(), "permissions": permissions}


def _imported(reference: str) -> Authenticator:
    place, _, name = reference.partition(":")
    try:
        found: Any = getattr(importlib.import_module(place), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{_KEY} is {reference!r}, which cannot be imported: {error}", key=_KEY) from error
    except Exception as error:  # whatever the author's module does when it is imported
        raise ConfigurationError(
            f"{_KEY} is {reference!r}, and importing {place!r} fails: {type(error).__name__}: {error}", key=_KEY
        ) from error
    if isinstance(found, type):
        found = _made(found, reference)
    if not callable(getattr(found, "authenticate", None)):
        raise ConfigurationError(
            f"{_KEY} is {reference!r}, a {type(found).__name__} without a method `authenticate(headers)`", key=_KEY
        )
    authenticator: Authenticator = found
    return authenticator


def _made(kind: type, reference: str) -> Any:
    try:
        return kind()
    except Exception as error:
        raise ConfigurationError(
            f"{_KEY} is {reference!r}, a class that cannot be made without arguments: {type(error).__name__}: {error}; "
            "name an object of it",
            key=_KEY,
        ) from error
