"""What must hold before a version may decide."""

from __future__ import annotations

from typing import Any

from toolkit.access import current_principal
from toolkit.errors import Conflict, InvalidInput, PermissionDenied
from toolkit.rules.cases import CaseReport
from toolkit.rules.definitions import Rule

_MOST_NAMED = 20


def check_second_person(rule: Rule[Any, Any], *, uploaded_by: str, number: int) -> None:
    """Who uploaded a version does not let it decide, where the rule asks for a second person.

    Raises:
        PermissionDenied: the caller uploaded it.
    """
    if rule.needs_second_person and uploaded_by == current_principal().id:
        raise PermissionDenied(
            f"version {number} of rule {rule.name!r} was uploaded by {uploaded_by!r}; "
            "somebody else has to activate it, because the rule asks for a second person"
        )


def check_cases(report: CaseReport, *, rule: str, reason: str | None, force: bool) -> list[str]:
    """The names of the failing cases that ``force`` passes over.

    Raises:
        Conflict: a case fails, and nobody forces it.
        InvalidInput: it is forced without a reason.
    """
    if not report.failing:
        return []
    if not force:
        named = ", ".join(report.failing[:_MOST_NAMED])
        raise Conflict(
            f"{report.failed} of {len(report.results)} stored cases fail with version {report.version} of rule "
            f"{rule!r}: {named}; correct the graph or the cases, or activate with force and a reason",
            failing=report.failing[:_MOST_NAMED],
            failed=report.failed,
        )
    if not reason:
        message = "an activation against failing cases needs a reason"
        raise InvalidInput(message, errors=[{"loc": "reason", "msg": message, "type": "missing"}])
    return report.failing[:_MOST_NAMED]
