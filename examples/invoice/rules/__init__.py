"""What may be paid without a person, as a rule that business can replace by a decision table."""

from __future__ import annotations

from examples.invoice.rules.approval import Action, PolicyDecision, PolicyInput, approval_policy, keep_for_person

__all__ = ["Action", "PolicyDecision", "PolicyInput", "approval_policy", "keep_for_person"]
