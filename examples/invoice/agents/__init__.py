"""The agent that reads invoices nobody encoded, and the offline model for where no real one is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from examples.invoice.agents.extraction import Extraction
from examples.invoice.agents.reader import OurCompany, read_invoice

if TYPE_CHECKING:
    from pydantic_ai.models import Model

    from toolkit.config import AIModelSettings

__all__ = ["Extraction", "OurCompany", "make_offline_model", "read_invoice"]


def make_offline_model(settings: AIModelSettings) -> Model[Any]:
    """The factory of the provider ``offline``; see `offline_model.py`, which is loaded only when it is used."""
    from examples.invoice.agents.offline_model import offline_model

    return offline_model()
