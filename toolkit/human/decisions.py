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
    CANCEL = "cancel"
    """Withdraw the question: nothing is decided, and the run is told so."""


@dataclass(frozen=True)
class Ruling(Decision):
    """A decision, and whether it rests on the right to manage tasks alone."""

    is_administrative: bool = False

    @property
    def mark(self) -> dict[str, str]:
        """What is written down with an act that rests on that right alone."""
        return {"capacity": "manager"} if self.is_administrative else {}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is known of a task when somebody wants something of it. Actors are ``user:ada`` and ``group:finance``."""

    assigned_to: str | None
    candidates: Collection[str]
    assigned_by: str | None = None
    """Who put it before them by the right to manage tasks; nobody where the question itself named them."""
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

    def all_groups(self, *, without: Collection[str] = ()) -> set[str]:
        """Every group that one may speak for, in person or for an absent member who is not in ``without``."""
        others = [groups for absent, groups in self.substitutes_for.items() if absent not in without]
        return set(self.groups).union(*others)


def decide(principal: Principal, act: Act, task: Standing, capacity: Capacity) -> Ruling:
    """Whether ``principal`` may do ``act``, and why. Denies whatever it does not know.

    Whoever is excluded by four eyes is denied everything that decides or chooses who decides, whatever else would
    allow it: administrators, members of groups and substitutes are no exception, and nobody gains by standing in for
    somebody excluded. Where several are asked, the right to manage tasks is no vote. What somebody has put before
    oneself by the right to manage tasks is answered by that right.
    """
    if principal.kind == "anonymous":
        return _no("nobody is known to be asking; send a credential")
    if act is Act.CANCEL:
        return _by_permission(principal, Permission.TASKS_CANCEL, Permission.TASKS_MANAGE)
    if act is not Act.ANNOTATE and principal.id in task.excluded:
        return _no(f"{principal.display_name!r} started or prepared this and cannot decide on it (four eyes)")
    if act is Act.MANAGE:
        return _by_permission(principal, Permission.TASKS_MANAGE)
    personal = _as_oneself(principal, act, task, capacity)
    if personal.allowed or _is_for_those_asked(act, task):
        return personal
    administrative = _by_permission(principal, Permission.TASKS_MANAGE)
    return administrative if administrative.allowed else personal


def _as_oneself(principal: Principal, act: Act, task: Standing, capacity: Capacity) -> Ruling:
    """What somebody may do as an assignee, a candidate, or the substitute of one."""
    allies = {absent: groups for absent, groups in capacity.substitutes_for.items() if absent not in task.excluded}
    actors = Capacity(groups=capacity.groups, substitutes_for=allies).actors(principal.id)
    is_own_choice = task.assigned_by == principal.id
    if is_own_choice and not task.has_quorum and act is not Act.ANNOTATE:
        return _no(f"{principal.display_name!r} was not asked, and has taken it by the right to manage tasks")
    is_assignee = task.assigned_to is not None and f"user:{task.assigned_to}" in actors
    if task.assigned_to is not None and not task.has_quorum:
        if is_assignee:
            return Ruling(allowed=True, reason=f"it is assigned to {task.assigned_to!r}")
        if act is not Act.ANNOTATE:
            return _no(f"it is assigned to {task.assigned_to!r}, not to {principal.display_name!r}")
    if act is Act.DELEGATE:
        return _no("it is nobody's yet; claim it, and hand it on then")
    if actors & set(task.candidates) or (is_assignee and not is_own_choice):
        return Ruling(allowed=True, reason=f"{principal.display_name!r} is a candidate")
    if not task.candidates and task.assigned_to is None:
        return _no(f"it is assigned to nobody and has no candidates, so only holders of {Permission.TASKS_MANAGE} may")
    return _no(f"{principal.display_name!r} is not a candidate for it")


def _by_permission(principal: Principal, *permissions: Permission) -> Ruling:
    for permission in permissions:
        if principal.permissions == "*" or permission in principal.permissions:
            reason = f"{principal.display_name!r} holds {permission}"
            return Ruling(allowed=True, reason=reason, is_administrative=True)
    return _no(f"{principal.display_name!r} does not hold {permissions[0]}")


def _is_for_those_asked(act: Act, task: Standing) -> bool:
    """Whether only those who were asked may ``act``: a vote is theirs, unless nobody was named."""
    return act is Act.COMPLETE and task.has_quorum and (bool(task.candidates) or task.assigned_to is not None)


def _actors(person: str, groups: Collection[str]) -> set[str]:
    return {f"user:{person}", *(f"group:{group}" for group in groups)}


def _no(reason: str) -> Ruling:
    return Ruling(allowed=False, reason=reason)
