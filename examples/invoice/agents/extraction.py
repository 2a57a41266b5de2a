"""What the extraction agent gives back: the invoice, or why there is none."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from examples.invoice.invoice_data import InvoiceData


class Extraction(BaseModel):
    """Exactly one of the two is given, so that a model need not invent an invoice where there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    invoice: InvoiceData | None = Field(default=None, description="The invoice, as far as the document states it")
    problem: str = Field(
        default="", max_length=500, description="Why no invoice could be read, e.g. which required field is missing"
    )

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.invoice is None) == (not self.problem):
            raise ValueError("give either the invoice or the problem that kept it from being read, not both")
        return self
