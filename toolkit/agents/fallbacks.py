"""Fallbacks: models of which the next is asked while one cannot answer, and a note of which did.

The name that an answer carries does not tell: a deployment answers by the name of the model behind it, and two servers
may serve one model at different prices. Loaded only where pydantic-ai is needed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from toolkit.agents.calls import current_call
from toolkit.agents.failures import gives_way


def fallback_model(models: Iterable[tuple[str, Model]]) -> Model:
    """The models, each with its key, as one that asks them in this order."""
    return FallbackModel(*(_KeyedModel(model, key=key) for key, model in models), fallback_on=gives_way)


class _KeyedModel(WrapperModel):
    """A model that notes its key in the agent's call when it answers; the last one that does is the one that counts."""

    def __init__(self, wrapped: Model, *, key: str) -> None:
        super().__init__(wrapped)
        self._key = key

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        response = await super().request(messages, model_settings, model_request_parameters)
        self._note()
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        stream = super().request_stream(messages, model_settings, model_request_parameters, run_context)
        async with stream as response:
            self._note()
            yield response

    def _note(self) -> None:
        call = current_call()
        if call is not None:
            call.answered_by = self._key
