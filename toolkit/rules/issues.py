"""What was found in an uploaded graph, each finding with its place."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Severity = Literal["error", "warning"]


class Issue(BaseModel):
    """One finding. ``path`` leads into the uploaded JSON, as in ``nodes.1.content.rules.3.amount``."""

    model_config = ConfigDict(frozen=True)

    node: str | None
    path: str
    code: str
    message: str
    severity: Severity


class Report(BaseModel):
    """What was checked before a graph was accepted, kept with the version."""

    model_config = ConfigDict(frozen=True)

    issues: list[Issue]
    samples: int = 0
    """Inputs that the dry run tried."""
    decided: int = 0
    """Samples for which a fitting output came out."""
    unmatched: int = 0
    """Samples that no row of a table fitted."""
    failed: int = 0
    """Samples whose evaluation failed, or whose output did not fit."""

    @property
    def is_clean(self) -> bool:
        return all(issue.severity != "error" for issue in self.issues)


class Findings:
    """Collects issues, so that an author hears of all of them at once."""

    def __init__(self) -> None:
        self.issues: list[Issue] = []

    def error(self, code: str, message: str, *, path: str, node: str | None = None) -> None:
        self.issues.append(Issue(node=node, path=path, code=code, message=message, severity="error"))

    def warning(self, code: str, message: str, *, path: str, node: str | None = None) -> None:
        self.issues.append(Issue(node=node, path=path, code=code, message=message, severity="warning"))

    @property
    def has_errors(self) -> bool:
        return any(issue.severity == "error" for issue in self.issues)
