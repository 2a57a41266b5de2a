"""What the service tells of rules, versions and decisions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from toolkit.rules.issues import Report


class RuleSummary(BaseModel):
    """A rule and what decides for it now."""

    model_config = ConfigDict(frozen=True)

    name: str
    description: str | None
    source: Literal["python", "override"]
    active_version: int | None
    on_no_match: Literal["error", "default"]
    on_error: Literal["raise", "default"]
    pin: Literal["run", "latest"]
    changed_by: str | None
    changed_at: datetime | None
    next_version: int | None = None
    next_at: datetime | None = None
    """When ``next_version`` takes over."""
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


class RuleVersion(BaseModel):
    """One accepted override. ``graph`` is the text as uploaded, and left out of lists."""

    model_config = ConfigDict(frozen=True)

    rule: str
    number: int
    sha256: str
    note: str | None
    created_by: str
    created_at: datetime
    active: bool
    fits: bool
    """Whether it was made for the input and output models that the rule has today."""
    report: Report
    created: bool = False
    """Whether this upload made it; an equal graph gives the version that was there."""
    trusted: bool | None = None
    """Whether somebody answers for it, so that it decides without the sandbox; not told in lists."""
    graph: str | None = None


class Decision(BaseModel):
    """What an evaluation outside of any run gave."""

    model_config = ConfigDict(frozen=True)

    output: dict[str, Any]
    source: Literal["python", "override"]
    version: int | None
    rows: list[str]
    duration_ms: float
    fallback: str | None = None
    """Why the function stepped in for the override, if it did."""


class BatchItem(BaseModel):
    """One result of a batch: an output, or an error with ``type``, ``message`` and ``errors`` (one a field)."""

    model_config = ConfigDict(frozen=True)

    output: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
