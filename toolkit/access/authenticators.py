"""Authenticators: from the headers of a request to the principal who sends it.

An answer of ``None`` means that the request carries no credential of this kind. A credential that is there and wrong is
an error, so that nobody with a mistyped key goes on as somebody else.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from toolkit.access.permissions import parse_permissions
from toolkit.access.principals import Principal
from toolkit.errors import ConfigurationError, Unauthenticated
from toolkit.serialization import field_errors

USER_HEADER: Final = "X-Toolkit-User"
KEY_HEADER: Final = "X-API-Key"
KEY_PREFIX: Final = "tk_"
HASH_PREFIX: Final = "sha256:"

_LONGEST_NAME = 255
_LONGEST_KEY = 256


class Authenticator(Protocol):
    """Tells who sends a request; users may bring their own."""

    async def authenticate(self, headers: Mapping[str, str]) -> Principal | None:
        """Who these headers stand for, or ``None`` where they carry no credential that this authenticator reads.

        Raises:
            Unauthenticated: there is a credential and it is not valid.
        """


# Development: a name is believed. ---------------------------------------------------------------------------------


class DevelopmentAuthenticator:
    """Believes ``X-Toolkit-User``, and takes everybody else for ``default``. For ``toolkit dev`` and tests alone."""

    def __init__(self, default: str = "dev") -> None:
        self._default = default

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        name = _header(headers, USER_HEADER)
        if name is None:
            name = self._default
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise Unauthenticated(f"{USER_HEADER} must be a printable name of 1 to {_LONGEST_NAME} characters")
        return Principal(id=name, kind="person", permissions="*")


# API keys: random, shown once, stored as a digest. ----------------------------------------------------------------


class NewApiKey(NamedTuple):
    """A key as it is shown this once, and the hash to put in the configuration."""

    text: str
    hash: str


def new_api_key() -> NewApiKey:
    """A key of 32 random bytes."""
    text = KEY_PREFIX + secrets.token_urlsafe(32)
    return NewApiKey(text, hash_api_key(text))


def hash_api_key(text: str) -> str:
    """What is stored of a key. A plain SHA-256 is enough because a key is random: there is no dictionary to try."""
    return HASH_PREFIX + hashlib.sha256(text.encode()).hexdigest()


class ApiKey(BaseModel):
    """A key that the configuration knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=_LONGEST_NAME)]
    hash: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")] = Field(repr=False)
    """SHA-256 of the key, as ``sha256:`` and 64 lower-case hexadecimal digits; :func:`new_api_key` gives it."""
    principal: Annotated[str, StringConstraints(max_length=_LONGEST_NAME)] = ""
    """The id that its holder acts under; the key's name where nothing is said."""
    kind: Literal["service", "person"] = "service"
    display_name: str = ""
    permissions: tuple[str, ...] | Literal["*"] = ()

    def holder(self, *, key: str = "permissions") -> Principal:
        """Who acts with this key; ``key`` is the place of its permissions in the configuration.

        Raises:
            ConfigurationError: the key names a permission that does not exist.
        """
        return Principal(
            id=self.principal or self.name,
            kind=self.kind,
            display_name=self.display_name or self.name,
            permissions=parse_permissions(self.permissions, key=key),
        )


def parse_api_keys(found: Mapping[str, Mapping[str, Any]], *, key: str = "security.api_keys") -> tuple[ApiKey, ...]:
    """The API keys of a configuration by their names; ``key`` is their place in it.

    Raises:
        ConfigurationError: an entry does not fit, or two hold the same hash. No value is repeated in it.
    """
    keys = tuple(_parse_api_key(name, entry, key=f"{key}.{name}") for name, entry in found.items())
    names: dict[str, str] = {}
    for one in keys:
        if one.hash in names:
            raise ConfigurationError(
                f"{key}.{one.name}.hash is that of {names[one.hash]!r} too; make a key for each holder",
                key=f"{key}.{one.name}.hash",
            )
        names[one.hash] = one.name
    return keys


def _parse_api_key(name: str, entry: Mapping[str, Any], *, key: str) -> ApiKey:
    if str(entry.get("hash", "")).startswith(KEY_PREFIX):
        raise ConfigurationError(
            f"{key}.hash holds a key itself, which is now written down: make a new key and store its hash",
            key=f"{key}.hash",
        )
    try:
        parsed = ApiKey.model_validate({**entry, "name": name})
    except ValidationError as error:
        first = field_errors(error)[0]
        raise ConfigurationError(f"{key}.{first['loc']}: {first['msg']}", key=f"{key}.{first['loc']}") from None
    parsed.holder(key=f"{key}.permissions")
    return parsed


class ApiKeyAuthenticator:
    """Knows the holders of API keys, sent as ``Authorization: Bearer tk_...`` or ``X-API-Key: tk_...``."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._holders = [(key.hash.encode(), key.holder()) for key in keys]

    async def authenticate(self, headers: Mapping[str, str]) -> Principal | None:
        text = presented_api_key(headers)
        if text is None:
            return None
        found = None
        if len(text) <= _LONGEST_KEY:
            digest = hash_api_key(text).encode()
            for known, holder in self._holders:  # all of them, so that time does not tell which one was near
                if hmac.compare_digest(known, digest):
                    found = holder
        if found is None:
            raise Unauthenticated("the API key is not known; ask the operator for a new one")
        return found


class ChainAuthenticator:
    """Asks one authenticator after the other; the first that knows somebody decides, and a bad credential ends it."""

    def __init__(self, *authenticators: Authenticator) -> None:
        self._authenticators = authenticators

    async def authenticate(self, headers: Mapping[str, str]) -> Principal | None:
        for authenticator in self._authenticators:
            principal = await authenticator.authenticate(headers)
            if principal is not None:
                return principal
        return None


def presented_api_key(headers: Mapping[str, str]) -> str | None:
    """The API key that the headers carry, valid or not.

    A bearer token without our prefix belongs to another authenticator.

    Raises:
        Unauthenticated: the request carries two different keys.
    """
    key = _header(headers, KEY_HEADER)
    scheme, _, token = (_header(headers, "Authorization") or "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" and token.strip().startswith(KEY_PREFIX) else None
    if key is not None and bearer is not None and key != bearer:
        raise Unauthenticated(f"Authorization and {KEY_HEADER} carry different API keys; send one")
    return bearer if key is None else key


def _header(headers: Mapping[str, str], name: str) -> str | None:
    """A header by its name in any case.

    A header sent twice is refused: two readers could take it for two different values.
    """
    found = {value for key, value in headers.items() if key.lower() == name.lower()}
    if len(found) > 1:
        raise Unauthenticated(f"the request carries {name} more than once, with different values")
    return found.pop().strip() if found else None
