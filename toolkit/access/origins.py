"""Origins: whether a request may come from where it comes from. Pure; the web layer turns a refusal into an answer.

Two attacks end here. A page of another site makes a browser post to us with the user's cookies (CSRF): an unsafe method
must come from our own pages. A page of another site gets its name resolved to our address (DNS rebinding) and is then
"same origin" to the browser: the name asked for must be one of ours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from toolkit.access.authenticators import presented_api_key
from toolkit.errors import Unauthenticated

LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
"""The names of this machine for itself: what ``toolkit dev`` answers to."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Refusal:
    """The status to answer with, and why."""

    status: Literal[403, 421]
    reason: str


def judge_request(
    method: str, headers: Mapping[str, str], *, allowed_hosts: Collection[str], allowed_origins: Collection[str] = ()
) -> Refusal | None:
    """Both judgements, the host first; ``None`` lets the request pass.

    A WebSocket handshake comes in as method ``WEBSOCKET``: it is a GET, and it is not safe.
    """
    return judge_host(_only(headers, "host"), allowed_hosts=allowed_hosts) or judge_origin(
        method, headers, allowed_origins=allowed_origins
    )


def judge_host(host: str | None, *, allowed_hosts: Collection[str]) -> Refusal | None:
    """Whether the ``Host`` header names us.

    ``allowed_hosts`` holds names and addresses (``example.com``, ``::1``), with a port (``example.com:8443``) where
    only that port counts, ``*.example.com`` for every name below it, or ``*`` where a proxy in front has checked.
    """
    asked = _parse_host(host or "")
    if asked is None:
        return Refusal(421, f"the Host header is {host!r}; expected one name or address, and perhaps a port")
    if any(_fits(asked, allowed) for allowed in allowed_hosts):
        return None
    return Refusal(421, f"this server does not answer for the host {host!r}; add it to the allowed hosts if it should")


def judge_origin(method: str, headers: Mapping[str, str], *, allowed_origins: Collection[str] = ()) -> Refusal | None:
    """Whether a request that changes something comes from one of our own pages, or from no browser at all.

    A request that carries an API key passes: no page of another site can make a browser send one. Where the browser
    says whence a request comes (``Sec-Fetch-Site``) its word counts, else ``Origin`` must name the host that was asked.
    A request with neither header was not made by a browser and cannot have borrowed anyone's cookies.
    ``allowed_origins`` are other sites that may write to us, such as ``https://portal.example.com``.

    Source: the algorithm of Go's net/http.CrossOriginProtection, Go 1.25.
    """
    if method.upper() in _SAFE_METHODS or _carries_api_key(headers):
        return None
    origin, site = _only(headers, "origin"), _only(headers, "sec-fetch-site")
    if origin is not None and origin in allowed_origins:
        return None
    if site is not None:
        if site in {"same-origin", "none"}:
            return None
        return Refusal(
            403, f"a page of another site sent this request (Sec-Fetch-Site: {site!r}); send it from our own"
        )
    if origin is None or _is_own(origin, host=_only(headers, "host")):
        return None
    return Refusal(403, f"the origin {origin!r} is not the host that was asked; send the request from our own pages")


def _carries_api_key(headers: Mapping[str, str]) -> bool:
    try:
        return presented_api_key(headers) is not None
    except Unauthenticated:
        return False  # two keys are no key; authentication will say so


def _only(headers: Mapping[str, str], name: str) -> str | None:
    """A header's one value. Sent more than once it becomes a list, which fits nothing and is refused."""
    found = [value.strip() for key, value in headers.items() if key.lower() == name]
    return ", ".join(found) if found else None


@dataclass(frozen=True)
class _Host:
    name: str
    port: int | None


def _parse_host(text: str) -> _Host | None:
    """``name``, ``name:port``, ``[address]:port`` or a bare IPv6 address; ``None`` for anything else."""
    if not text or not text.isascii() or not text.isprintable() or set(text) & set(" /\\@?#,"):
        return None
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    try:
        parts = urlsplit(f"//{text}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    return _Host(name.rstrip("."), port) if name and name.strip(".") else None


def _fits(asked: _Host, allowed: str) -> bool:
    if allowed == "*":
        return True
    known = _parse_host(allowed.removeprefix("*."))
    if known is None or (known.port is not None and known.port != asked.port):
        return False
    return asked.name.endswith(f".{known.name}") if allowed.startswith("*.") else asked.name == known.name


def _is_own(origin: str, *, host: str | None) -> bool:
    """Whether an origin is the host that was asked.

    The scheme is not compared: behind a proxy that ends TLS we do not know our own. A port left out is the scheme's.
    """
    scheme, separator, rest = origin.partition("://")
    theirs, ours = _parse_host(rest), _parse_host(host or "")
    if not separator or scheme not in _DEFAULT_PORTS or theirs is None or ours is None:
        return False
    default = _DEFAULT_PORTS[scheme]
    return theirs.name == ours.name and (theirs.port or default) == (ours.port or default)
