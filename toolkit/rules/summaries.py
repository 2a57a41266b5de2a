"""What the service tells of rules, versions and decisions."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from toolkit.rules.issues import Report

if TYPE_CHECKING:
    from toolkit.rules.definitions import Rule
    from toolkit.rules.tables import PointerRow, VersionRow


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


def summary_of(rule: Rule[Any, Any], pointer: PointerRow | None) -> RuleSummary:
    """What is told of ``rule``; ``pointer`` says what decides for it, if it ever had a version."""
    number = pointer.active_version if pointer else None
    is_changed = pointer is not None and pointer.activation_id is not None
    return RuleSummary(
        name=rule.name,
        description=rule.description,
        source="python" if number is None else "override",
        active_version=number,
        on_no_match=rule.on_no_match,
        on_error=rule.on_error,
        pin=rule.pin,
        changed_by=pointer.changed_by if pointer and is_changed else None,
        changed_at=pointer.changed_at if pointer and is_changed else None,
        next_version=pointer.next_version if pointer else None,
        next_at=pointer.next_at if pointer else None,
        input_schema=rule.input_schema(),
        output_schema=rule.output_schema(),
    )


def version_of(
    row: VersionRow,
    rule: Rule[Any, Any],
    *,
    active_version: int | None,
    created: bool = False,
    with_graph: bool = False,
    is_trusted: bool | None = None,
) -> RuleVersion:
    """What is told of a stored version of ``rule``."""
    return RuleVersion(
        rule=row.rule,
        number=row.number,
        sha256=row.sha256,
        note=row.note,
        created_by=row.created_by,
        created_at=row.created_at,
        active=active_version == row.number,
        fits=row.contract_sha256 == rule.contract.sha256,
        report=Report.model_validate_json(row.report),
        created=created,
        trusted=is_trusted,
        graph=row.graph if with_graph else None,
    )
