"""What should become of each sample, as `samples/expected.yaml` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from examples.invoice.rules import Action
from examples.invoice.workflows import EndState

SAMPLES = Path(__file__).parents[1] / "samples"


class Expectation(BaseModel):
    """One entry. Amounts are texts such as ``476.00 EUR``; ``answer`` is what the person says who is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    about: str
    total: str = ""
    action: Action
    reason_code: str
    answer: dict[str, Any] | None = None
    state: EndState
    paid: str = ""

    @property
    def path(self) -> Path:
        return SAMPLES / self.file


def read_expectations() -> list[Expectation]:
    """All entries, in their order."""
    import yaml

    entries = yaml.safe_load((SAMPLES / "expected.yaml").read_text(encoding="utf-8"))
    return TypeAdapter(list[Expectation]).validate_python(entries)
