"""Policies: the one place where a principal, a permission and a resource become yes or no, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from toolkit.access.permissions import PUBLIC, Permission
from toolkit.access.principals import Principal, current_principal
from toolkit.errors import PermissionDenied, Unauthenticated


@dataclass(frozen=True)
class Decision:
    """Whether something is allowed, and why; the reason is shown to the one who asked."""

    allowed: bool
    reason: str


Policy: TypeAlias = Callable[[Principal, Permission, Any], Decision]
"""Decides for a principal, a permission and the resource it is about (``None``: the kind as a whole).

An installation may bring its own, which may ask :func:`allow` first and narrow what it says.
"""


def allow(principal: Principal, permission: Permission, resource: Any = None) -> Decision:
    """The policy of an installation that has none of its own: what the principal holds, decides.

    Denies whatever it does not know. ``resource`` is not looked at; it is there for policies that do.
    """
    if permission in PUBLIC:
        return Decision(allowed=True, reason=f"{permission} is public")
    if principal.kind == "anonymous":
        return Decision(allowed=False, reason=f"{permission} needs a credential and the request carries none")
    if principal.permissions == "*" or permission in principal.permissions:
        return Decision(allowed=True, reason=f"{principal.display_name!r} holds {permission}")
    return Decision(allowed=False, reason=f"{principal.display_name!r} does not hold {permission}")


def require(permission: Permission, resource: Any = None, *, policy: Policy = allow) -> Principal:
    """The current principal, if ``policy`` lets it do this.

    Raises:
        Unauthenticated: it may not, and a credential could change that.
        PermissionDenied: it is known and may not.
    """
    principal = current_principal()
    decision = policy(principal, permission, resource)
    if decision.allowed:
        return principal
    if principal.kind == "anonymous":
        raise Unauthenticated(decision.reason)
    raise PermissionDenied(decision.reason, permission=permission)
