"""Real answers of a model, kept in a file and given again; and a guard against asking a real model by mistake."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import (
    CompletedStreamedResponse,
    Model,
    ModelRequestParameters,
    StreamedResponse,
    infer_model,
    override_allow_model_requests,
)
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings

from toolkit.agents import fingerprint_differences, fingerprint_of_request
from toolkit.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic_ai import RunContext

_VERSION = 1
_MOST_SHOWN = 5


class RecordedModel(Model):
    """Answers from a file of real answers, found by what is asked; a request that is not in the file is an error.

    With ``live``, a model or a string such as ``openai:gpt-5-mini``, that one is asked for what the file lacks, and its
    answer is added to the file. What is asked counts as it does for a run that resumes: messages, tools, output and
    settings, without ids, times and transport; so what was recorded from an agent stays good until the agent asks
    something else. The same request asked again gets the next of its answers, and the last one from then on.

    The file is JSON, made to be kept with the tests. It holds what the model said, and of what was asked only digests.
    ``requests`` counts all requests, ``recorded`` those that went to ``live``.
    """

    def __init__(self, file: str | Path, *, live: Model | str | None = None) -> None:
        """Raises ConfigurationError: the file is no such file, or there is none and nobody to ask."""
        super().__init__(profile=ModelProfile(supports_json_schema_output=True, supports_json_object_output=True))
        self.file = Path(file)
        self.requests = self.recorded = 0
        self._live = infer_model(live) if live is not None else None
        self._answers = _read(self.file, is_needed=live is None)
        self._asked: Counter[str] = Counter()

    @property
    def model_name(self) -> str:
        """Of this stand-in; an answer has the name of the model that gave it."""
        return "recorded"

    @property
    def system(self) -> str:
        """Of this stand-in."""
        return "recorded"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """The answer on file, or the one that ``live`` gives now.

        Raises:
            ConfigurationError: the request is not in the file; the message says in what it differs.
        """
        self.requests += 1
        fingerprint = fingerprint_of_request(messages, model_settings, model_request_parameters)
        key = json.dumps(fingerprint, sort_keys=True)
        place, self._asked[key] = self._asked[key], self._asked[key] + 1
        known = [answer for answer in self._answers if answer["asked"] == fingerprint]
        if known and (place < len(known) or self._live is None):
            return _response(known[min(place, len(known) - 1)])
        if self._live is None:
            raise ConfigurationError(self._not_recorded(fingerprint), key=str(self.file))
        response = await self._live.request(messages, model_settings, model_request_parameters)
        self.recorded += 1
        self._add(fingerprint, response)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Like :meth:`request`; the answer comes in the pieces that can be made of a whole one."""
        response = await self.request(messages, model_settings, model_request_parameters)
        yield CompletedStreamedResponse(response, model_request_parameters=model_request_parameters, replay_events=True)

    def _add(self, fingerprint: dict[str, Any], response: ModelResponse) -> None:
        (told,) = ModelMessagesTypeAdapter.dump_python([response], mode="json")
        self._answers.append({"asked": fingerprint, "answer": told})
        self.file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.file.with_name(f"{self.file.name}.new")
        text = json.dumps({"version": _VERSION, "answers": self._answers}, indent=1, ensure_ascii=False)
        fresh.write_text(f"{text}\n", encoding="utf-8")
        fresh.replace(self.file)

    def _not_recorded(self, fingerprint: dict[str, Any]) -> str:
        found = [fingerprint_differences(answer["asked"], fingerprint) for answer in self._answers]
        nearest = min(found, key=len, default=[])[:_MOST_SHOWN]
        told = f"; the nearest of the {len(found)} on record differs in: {'; '.join(nearest)}" if nearest else ""
        return (
            f"{str(self.file)!r} has no answer to request {self.requests} of this test{told}. Record it: give "
            "RecordedModel a live= model and run the test once, or remove the file first to record all of it anew"
        )


@contextmanager
def no_live_models() -> Iterator[None]:
    """Forbid requests to real models for the length of the block, in this whole process: they raise ConfigurationError.

    Models that answer from a script, from a file or from a function are not meant.
    """
    with override_allow_model_requests(False):
        yield


def _read(file: Path, *, is_needed: bool) -> list[dict[str, Any]]:
    if not file.exists():
        if is_needed:
            raise ConfigurationError(
                f"there are no recorded answers in {str(file)!r}; give RecordedModel a live= model to record some",
                key=str(file),
            )
        return []
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        version, answers = kept["version"], kept["answers"]
        for answer in answers:
            _response(answer)
            answer["asked"].items()
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{str(file)!r} holds no recorded answers ({error}); remove it and record anew", key=str(file)
        ) from error
    if version != _VERSION:
        raise ConfigurationError(
            f"{str(file)!r} is of version {version}, and this is version {_VERSION}; remove it and record anew",
            key=str(file),
        )
    return list(answers)


def _response(answer: dict[str, Any]) -> ModelResponse:
    (response,) = ModelMessagesTypeAdapter.validate_python([answer["answer"]])
    if not isinstance(response, ModelResponse):
        raise TypeError("an answer that is no response")
    return response
