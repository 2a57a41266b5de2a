"""Settings fit for a screen or a log: what may be a secret is replaced, also within URLs and options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr

MASK = "***"

# A password may hold a slash, a question mark, even an at sign, so all goes up to the last of these.
_URL_PASSWORD = re.compile(r"(?<=://)([^/@:?#]*):.*@", re.DOTALL)
_HTTP_USER = re.compile(r"^(https?://)[^/@?#]*@", re.IGNORECASE)  # a token, as often as not
_URL_SECRET = re.compile(
    r"([?&][^=&]*(?:pass|pwd|secret|token|key|sig|sas|credential|auth|code)[^=&]*=)[^&#]*", re.IGNORECASE
)
_HOOK = re.compile(r"^([a-z]+://)(?:[^/?#@]*@)?([^/?#@]+)(.*)$", re.IGNORECASE | re.DOTALL)
_SECRET_NAME = re.compile(r"key|secret|token(?!s$)|password|credential|authorization", re.IGNORECASE)
# The arguments of file systems are theirs to name, and most are credentials; these are none.
_OPEN_OPTIONS = {"account_name", "account_url", "endpoint_url", "project", "region", "region_name"}
# What a request to a model carries besides what its protocol asks for.
_CLOSED_SETTING = re.compile(r"header|^extra_", re.IGNORECASE)


def masked(value: Any, path: tuple[str, ...] = ()) -> Any:
    """``value``, which stands at ``path`` of a dumped configuration, without secrets."""
    name = path[-1] if path else ""
    if isinstance(value, dict):
        return {key: masked(one, (*path, str(key))) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked(one, path) for one in value]
    if isinstance(value, SecretStr):
        if name != "url":
            return MASK
        url = value.get_secret_value()
        return _masked_hook(url) if path[:2] == ("notifications", "channels") else masked_url(url)
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool):
        return value
    if _is_closed(path) or (isinstance(value, str | int | float) and _SECRET_NAME.search(name)):
        return MASK
    return masked_url(value) if isinstance(value, str) else value


def masked_url(url: str) -> str:
    """``url`` without the password before its host and without secrets in its query."""
    bare = _HTTP_USER.sub(rf"\1{MASK}@", _URL_PASSWORD.sub(rf"\1:{MASK}@", url))
    return _URL_SECRET.sub(rf"\1{MASK}", bare)


def _masked_hook(url: str) -> str:
    """The host alone: whoever knows the path of an incoming webhook may post to it."""
    match = _HOOK.match(url)
    if match is None or "@" in match[3]:  # of a path or of a password with a slash, nobody knows
        return MASK
    return f"{match[1]}{match[2]}/{MASK}" if match[3].strip("/") else url


def _is_closed(path: tuple[str, ...]) -> bool:
    match path:
        case ("file_storage", _, "options", *_, name):
            return name not in _OPEN_OPTIONS
        case ("ai_models", _, "settings", *names):
            return any(_CLOSED_SETTING.search(name) for name in names)
        case _:
            return False
