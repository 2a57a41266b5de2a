"""Access says who is asking, what they may do, and keeps the record of what they did."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from toolkit.access.permissions import PUBLIC, Permission, Permissions, parse_permissions
from toolkit.access.policies import Decision, Policy, allow, require
from toolkit.access.principals import (
    ANONYMOUS,
    SYSTEM,
    Principal,
    PrincipalKind,
    acting_as,
    current_principal,
    current_request_id,
)

if TYPE_CHECKING:
    from toolkit.access.audit import AuditEntry, audit_change, list_audit, record_audit
    from toolkit.access.authenticators import (
        ApiKey,
        ApiKeyAuthenticator,
        Authenticator,
        ChainAuthenticator,
        DevelopmentAuthenticator,
        NewApiKey,
        new_api_key,
        parse_api_keys,
    )
    from toolkit.access.origins import LOCAL_HOSTS, Refusal, judge_host, judge_origin, judge_request

__all__ = [
    "ANONYMOUS",
    "LOCAL_HOSTS",
    "PUBLIC",
    "SYSTEM",
    "ApiKey",
    "ApiKeyAuthenticator",
    "AuditEntry",
    "Authenticator",
    "ChainAuthenticator",
    "Decision",
    "DevelopmentAuthenticator",
    "NewApiKey",
    "Permission",
    "Permissions",
    "Policy",
    "Principal",
    "PrincipalKind",
    "Refusal",
    "acting_as",
    "allow",
    "audit_change",
    "current_principal",
    "current_request_id",
    "judge_host",
    "judge_origin",
    "judge_request",
    "list_audit",
    "new_api_key",
    "parse_api_keys",
    "parse_permissions",
    "record_audit",
    "require",
]


_MODULES = {
    "audit": ("AuditEntry", "audit_change", "list_audit", "record_audit"),
    "authenticators": (
        "ApiKey",
        "ApiKeyAuthenticator",
        "Authenticator",
        "ChainAuthenticator",
        "DevelopmentAuthenticator",
        "NewApiKey",
        "new_api_key",
        "parse_api_keys",
    ),
    "origins": ("LOCAL_HOSTS", "Refusal", "judge_host", "judge_origin", "judge_request"),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """What tells requests apart, and the trail with its SQLAlchemy, are loaded when they are asked for: an engine tells
    principals apart, and needs neither.
    """
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
