"""The tables of the rules: versions that never change, which of them is active, and how it came to be."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Text, UniqueConstraint
from sqlmodel import Field

from toolkit.storage import Payload, Table, UtcDateTime


class VersionRow(Table, table=True):
    """One accepted graph of one rule. Written once, never changed, named by its content."""

    __tablename__ = "toolkit_rule_version"
    __table_args__ = (
        # A version is asked for by its number; the numbers of a rule are given out under the pointer's lock.
        UniqueConstraint("rule", "number"),
        # An equal graph is the same version, as long as the rule's models are the same.
        UniqueConstraint("rule", "sha256", "contract_sha256"),
        CheckConstraint("number > 0", name="number"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    rule: str = Field(sa_type=Text)
    number: int
    sha256: str = Field(sa_type=Text)
    contract_sha256: str = Field(sa_type=Text)
    graph: str = Field(sa_type=Text)
    compiled: str = Field(sa_type=Text)
    report: str = Field(sa_type=Payload)
    note: str | None = Field(default=None, sa_type=Text)
    created_by: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)


class PointerRow(Table, table=True):
    """What decides for one rule now: a version, or (``NULL``) the function. ``generation`` rises with each change.

    ``next_version`` takes over at ``next_at``.
    """

    __tablename__ = "toolkit_rule_pointer"
    __table_args__ = (
        CheckConstraint("activation_id IS NOT NULL OR active_version IS NULL", name="activation"),
        CheckConstraint("(next_version IS NULL) = (next_at IS NULL)", name="next"),
    )

    rule: str = Field(primary_key=True, sa_type=Text)
    active_version: int | None = None
    generation: int = 0
    activation_id: str | None = Field(default=None, sa_type=Text)
    next_version: int | None = None
    next_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    next_by: str | None = Field(default=None, sa_type=Text)
    next_reason: str | None = Field(default=None, sa_type=Text)
    changed_by: str = Field(sa_type=Text)
    changed_at: datetime = Field(sa_type=UtcDateTime)


class ActivationRow(Table, table=True):
    """One change of a pointer. ``previous_id`` is the activation that a rollback returns to."""

    __tablename__ = "toolkit_rule_activation"
    __table_args__ = (
        CheckConstraint("kind IN ('activated', 'rolled_back', 'deactivated')", name="kind"),
        # The history of one rule, newest last: ids sort by time.
        Index("ix_toolkit_rule_activation_rule", "rule", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    rule: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    version: int | None = None
    previous_id: str | None = Field(default=None, sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    created_by: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)


class CaseRow(Table, table=True):
    """One stored example of a rule: an input, and what must come out of it."""

    __tablename__ = "toolkit_rule_case"

    rule: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(primary_key=True, sa_type=Text)
    input: str = Field(sa_type=Payload)
    expected: str = Field(sa_type=Payload)
    note: str | None = Field(default=None, sa_type=Payload)
    changed_by: str = Field(sa_type=Text)
    changed_at: datetime = Field(sa_type=UtcDateTime)


class TrustRow(Table, table=True):
    """Somebody answers for one version: it decides in the process itself, outside the sandbox."""

    __tablename__ = "toolkit_rule_trust"

    rule: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(primary_key=True)
    reason: str = Field(sa_type=Text)
    trusted_by: str = Field(sa_type=Text)
    trusted_at: datetime = Field(sa_type=UtcDateTime)


class ShadowRow(Table, table=True):
    """A version that is evaluated beside what decides for a rule, and how often its outcome was another."""

    __tablename__ = "toolkit_rule_shadow"
    __table_args__ = (CheckConstraint("changed + failed <= compared", name="counts"),)

    rule: str = Field(primary_key=True, sa_type=Text)
    version: int
    started_by: str = Field(sa_type=Text)
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    compared: int = 0
    changed: int = 0
    failed: int = 0
    skipped: int = 0


class ShadowDifferenceRow(Table, table=True):
    """One decision of a run whose shadow came to another outcome. The values are in the journal, not here."""

    __tablename__ = "toolkit_rule_shadow_difference"

    rule: str = Field(primary_key=True, sa_type=Text)
    decision: str = Field(primary_key=True, sa_type=Text)
    version: int
    fields: str = Field(sa_type=Text)
