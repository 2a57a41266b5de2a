"""What an answer of a model costs: by the configured price first, by the public price list second, else unknown."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from toolkit.config import ModelPrice

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse

_MILLION = Decimal(1_000_000)


def price_of(response: ModelResponse, price: ModelPrice | None, *, name: str | None = None) -> Decimal | None:
    """The cost of one answer; None when nobody knows a price for the model.

    ``name`` is the one that the model was asked for by: the list may know that one only.
    """
    usage = response.usage
    if price is not None:
        return (
            usage.input_tokens * price.input_per_million + usage.output_tokens * price.output_per_million
        ) / _MILLION
    if usage.cost is not None:
        return usage.cost  # an earlier look at the list, or a gateway that said it
    if response.model_name:
        try:
            return response.cost().total_price
        except (LookupError, ValueError):  # the list does not know the model, or the answer did not say what it used
            pass
    return _listed(response, name) if name else None


def has_public_price(model: str) -> bool:
    """Whether the public price list knows a model of this name."""
    from genai_prices import Usage, calc_price

    try:
        calc_price(Usage(input_tokens=1), model_ref=model)
    except LookupError:
        return False
    return True


def _listed(response: ModelResponse, name: str) -> Decimal | None:
    from genai_prices import calc_price

    try:
        return calc_price(response.usage, model_ref=name, genai_request_timestamp=response.timestamp).total_price
    except (LookupError, ValueError):
        return None
