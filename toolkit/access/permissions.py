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
    FILES_DELETE = "files:delete"
    FILES_RELEASE = "files:release"
    WORKFLOWS_READ = "workflows:read"
    WORKFLOWS_START = "workflows:start"
    RUNS_READ = "runs:read"
    RUNS_CANCEL = "runs:cancel"
    RUNS_PAUSE = "runs:pause"
    RUNS_RELEASE = "runs:release"
    RUNS_RETRY = "runs:retry"
    RUNS_FORK = "runs:fork"
    RUNS_BULK = "runs:bulk"
    SCHEDULES_READ = "schedules:read"
    SCHEDULES_PAUSE = "schedules:pause"
    SCHEDULES_TRIGGER = "schedules:trigger"
    TASKS_READ = "tasks:read"
    TASKS_COMPLETE = "tasks:complete"
    TASKS_CANCEL = "tasks:cancel"
    TASKS_MANAGE = "tasks:manage"
    TASK_LINKS_USE = "task-links:use"
    DIRECTORY_READ = "directory:read"
    DIRECTORY_WRITE = "directory:write"
    RULES_READ = "rules:read"
    RULES_UPLOAD = "rules:upload"
    RULES_ACTIVATE = "rules:activate"
    RULES_EVALUATE = "rules:evaluate"
    RULES_SIMULATE = "rules:simulate"
    RULES_TRUST = "rules:trust"
    DECISIONS_READ = "decisions:read"
    AGENTS_READ = "agents:read"
    AGENTS_CHANGE = "agents:change"
    AGENTS_ACTIVATE = "agents:activate"
    AGENTS_SIMULATE = "agents:simulate"
    AGENTS_EVALUATE = "agents:evaluate"
    EVENTS_EMIT = "events:emit"
    ENTITIES_READ = "entities:read"
    ENTITIES_WRITE = "entities:write"
    ENTITIES_DELETE = "entities:delete"
    AUDIT_READ = "audit:read"
    HEALTH_READ = "health:read"


Permissions: TypeAlias = frozenset[Permission] | Literal["*"]
"""What someone holds: some permissions, or ``"*"``, which also covers those that later versions add."""

PUBLIC: Final = frozenset({Permission.HEALTH_READ, Permission.TASK_LINKS_USE})
"""What needs no credential at all; a task's link is one itself."""


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
