"""Permissions: what a route can ask for, as ``resource:action``.

A route declares one of these; roles will be named sets of them. A new route that fits none gets a member of its own:
an action mapped to a neighbour's permission is how a reader comes to write.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from toolkit.errors import ConfigurationError


class Permission(StrEnum):
    """One action on one resource of the REST interface."""

    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    WORKFLOWS_READ = "workflows:read"
    WORKFLOWS_START = "workflows:start"
    RUNS_READ = "runs:read"
    RUNS_CANCEL = "runs:cancel"
    TASKS_READ = "tasks:read"
    TASKS_COMPLETE = "tasks:complete"
    TASKS_CANCEL = "tasks:cancel"
    RULES_READ = "rules:read"
    RULES_UPLOAD = "rules:upload"
    RULES_ACTIVATE = "rules:activate"
    RULES_EVALUATE = "rules:evaluate"
    EVENTS_EMIT = "events:emit"
    ENTITIES_READ = "entities:read"
    ENTITIES_WRITE = "entities:write"
    AUDIT_READ = "audit:read"
    HEALTH_READ = "health:read"


Permissions: TypeAlias = frozenset[Permission] | Literal["*"]
"""What someone holds: some permissions, or ``"*"``, which also covers those that later versions add."""

PUBLIC: Final = frozenset({Permission.HEALTH_READ})
"""What needs no credential at all."""


def parse_permissions(found: str | Iterable[str], *, key: str) -> Permissions:
    """``"*"`` or names such as ``"runs:read"`` as permissions; ``key`` is their place in the configuration.

    Raises:
        ConfigurationError: a name is unknown.
    """
    if found == "*":
        return "*"
    names = [found] if isinstance(found, str) else list(found)
    if names == ["*"]:
        return "*"
    unknown = sorted({name for name in names if name not in set(Permission)})
    if unknown:
        raise ConfigurationError(
            f"{key} names the unknown permission(s) {', '.join(map(repr, unknown))}; "
            f"expected '*' or some of {', '.join(Permission)}",
            key=key,
        )
    return frozenset(Permission(name) for name in names)
