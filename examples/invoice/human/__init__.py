"""Where people come in: the review of an invoice, and to whom it goes when nobody answers."""

from __future__ import annotations

from examples.invoice.human.review import (
    ReviewCase,
    ReviewDecision,
    ReviewedInvoice,
    ask_reviewer,
    review_invoice,
)

__all__ = [
    "ReviewCase",
    "ReviewDecision",
    "ReviewedInvoice",
    "ask_reviewer",
    "review_invoice",
]
