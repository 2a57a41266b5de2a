"""Access says who is asking, what they may do, and keeps the record of what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    """The audit trail needs SQLAlchemy, which telling principals apart does not: load it when it is asked for."""
    if name in {"AuditEntry", "audit_change", "list_audit", "record_audit"}:
        from toolkit.access import audit

        return getattr(audit, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
