"""The process that an invoice goes through."""

from __future__ import annotations

from examples.invoice.workflows.outcome import EndState, Outcome
from examples.invoice.workflows.process import process_invoice

__all__ = ["EndState", "Outcome", "process_invoice"]
