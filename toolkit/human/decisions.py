"""Who may do what with a task: one pure function, asked on every path, in the transaction of the act."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from toolkit.access import Decision, Permission, Principal


class Act(StrEnum):
    """What somebody may want to do with a task."""

    CLAIM = "claim"
    COMPLETE = "complete"
    DELEGATE = "delegate"
    RETURN = "return"
    """Unclaim, or send back: the task goes back to whoever may take it."""
    ANNOTATE = "annotate"
    """Comment, attach a file, save a draft: nothing is decided."""
    MANAGE = "manage"
    """Assign to anybody, edit the due date and the priority."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is known of a task when somebody wants something of it. Actors are ``user:ada`` and ``group:finance``."""

    assigned_to: str | None
    candidates: Collection[str]
    excluded: Collection[str] = ()
    """Who started or prepared what is decided here, where four eyes must see it."""
    has_quorum: bool = False


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """In what capacity a person acts today: the own groups, and the people whose substitute the person is."""

    groups: frozenset[str] = frozenset()
    substitutes_for: dict[str, frozenset[str]] = field(default_factory=dict)
    """Each absent person with that person's groups."""

    def actors(self, person: str) -> set[str]:
        """Every actor that ``person`` may stand for."""
        found = _actors(person, self.groups)
        for absent, groups in self.substitutes_for.items():
            found |= _actors(absent, groups)
        return found


def decide(principal: Principal, act: Act, task: Standing, capacity: Capacity) -> Decision:
    """Whether ``principal`` may do ``act``, and why. Denies whatever it does not know.

    Whoever is excluded by four eyes is denied everything that decides or chooses who decides, whatever else would
    allow it: administrators, members of groups and substitutes are no exception, and nobody gains by standing in for
    somebody excluded.
    """
    if principal.kind == "anonymous":
        return _no("nobody is known to be asking; send a credential")
    if act is not Act.ANNOTATE and principal.id in task.excluded:
        return _no(f"{principal.display_name!r} started or prepared this and cannot decide on it (four eyes)")
    if principal.permissions == "*" or Permission.TASKS_MANAGE in principal.permissions:
        return Decision(allowed=True, reason=f"{principal.display_name!r} holds {Permission.TASKS_MANAGE}")
    if act is Act.MANAGE:
        return _no(f"{principal.display_name!r} does not hold {Permission.TASKS_MANAGE}")
    allies = {absent: groups for absent, groups in capacity.substitutes_for.items() if absent not in task.excluded}
    actors = Capacity(groups=capacity.groups, substitutes_for=allies).actors(principal.id)
    if task.assigned_to is not None and not task.has_quorum:
        if f"user:{task.assigned_to}" in actors:
            return Decision(allowed=True, reason=f"it is assigned to {task.assigned_to!r}")
        if act is not Act.ANNOTATE:
            return _no(f"it is assigned to {task.assigned_to!r}, not to {principal.display_name!r}")
    if actors & set(task.candidates) or f"user:{task.assigned_to}" in actors:
        return Decision(allowed=True, reason=f"{principal.display_name!r} is a candidate")
    if not task.candidates and task.assigned_to is None:
        return _no(f"it is assigned to nobody and has no candidates, so only holders of {Permission.TASKS_MANAGE} may")
    return _no(f"{principal.display_name!r} is not a candidate for it")


def _actors(person: str, groups: Collection[str]) -> set[str]:
    return {f"user:{person}", *(f"group:{group}" for group in groups)}


def _no(reason: str) -> Decision:
    return Decision(allowed=False, reason=reason)
