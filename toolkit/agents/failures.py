"""What went wrong when a model was asked, sorted by who can help.

transient       rate limit, overload, server error, network, time-out   asked again by the engine's policy
configuration   key, model name, quota, refused request, long input     final; the message says what to change
behaviour       nothing usable after the agent's own retries            final; replay would meet the same answers
"""

from __future__ import annotations

import sys

from toolkit.agents.limits import Limits
from toolkit.errors import (
    BudgetExceeded,
    ConfigurationError,
    DefinitionError,
    ModelBehaviorError,
    ModelUnavailable,
    ToolkitError,
    TurnsExceeded,
)
from toolkit.workflows import RetryPolicy

_SHOWN = 500  # characters of a provider's message; enough to act on


def retry_policy(max_retries: int) -> RetryPolicy:
    """For model requests: transient failures only, and no sooner than the provider asked."""
    return RetryPolicy(max_retries=max_retries, retry_on=(ModelUnavailable,))


def translated_request_failure(error: Exception, *, model: str) -> ToolkitError | None:
    """The failure of one request to the model of key ``model``, in our words; None when it is none of the model's."""
    from pydantic_ai import exceptions as found

    openai = sys.modules.get("openai")  # not loaded, it has raised nothing
    setting = f"ai_models.{model}"
    match error:
        case found.FallbackExceptionGroup():
            causes = [translated_request_failure(inner, model=model) for inner in error.exceptions]
            waiting = next((cause for cause in causes if isinstance(cause, ModelUnavailable)), None)
            return waiting or next((cause for cause in causes if cause is not None), None)
        case found.ModelQuotaExceededError():
            return ConfigurationError(
                f"the quota of model {model!r} is used up; raise it at the provider or change {setting}.api_key",
                key=f"{setting}.api_key",
            )
        case found.ModelAuthenticationError():
            return ConfigurationError(
                f"the provider refused the API key of model {model!r}; set {setting}.api_key to a valid one",
                key=f"{setting}.api_key",
            )
        case found.ModelNotFoundError():
            return ConfigurationError(
                f"the provider knows no model {error.model_name!r} at this address; correct {setting}.model or "
                f"{setting}.base_url",
                key=f"{setting}.model",
            )
        case found.ModelContextWindowExceededError():
            return ConfigurationError(
                f"the input is longer than model {model!r} can read; send less, or set {setting}.model to one that "
                "reads more",
                key=f"{setting}.model",
            )
        case found.ModelAPIError() if _passes(error):
            return ModelUnavailable(
                f"model {model!r} cannot answer now: {type(error).__name__.removeprefix('_HTTP')}",
                retry_after=error.retry_after,
            )
        case found.ModelAPIError():
            return ConfigurationError(
                f"the provider refused the request to model {model!r}: {_short(error)}; correct the agent or {setting}",
                key=setting,
            )
        case _ if openai is not None and isinstance(error, openai.OpenAIError):  # before a request: a missing key
            return ConfigurationError(f"model {model!r} cannot be used: {_short(error)}; set {setting}", key=setting)
        case RuntimeError() if _is_guarded(error):
            return ConfigurationError(
                f"the real model {model!r} was asked, and no_live_models() forbids that here; answer from a script or "
                "from a file (ScriptedModel, RecordedModel)",
                key=setting,
            )
        case IndexError():  # what pydantic-ai makes of an answer without choices
            return ModelBehaviorError(f"model {model!r} sent an answer without any choice in it")
        case _:
            return None


def translated_failure(error: Exception, *, agent: str, model: str, limits: Limits) -> ToolkitError | None:
    """The failure of an agent run in our words; None when it came from somewhere else, such as a tool."""
    from pydantic_ai import exceptions as found

    match error:
        case ToolkitError():
            return None
        case found.UsageLimitExceeded():
            return _limit_reached(error, agent=agent, limits=limits)
        case found.UnexpectedModelBehavior():
            return ModelBehaviorError(
                f"agent {agent!r} got no usable answer from model {model!r}: {_short(error)}; "
                "change its prompt, its output_type or its retries="
            )
        case found.UserError():
            return DefinitionError(f"agent {agent!r} cannot run as it is defined: {_short(error)}")
        case found.ModelAPIError() | found.FallbackExceptionGroup():
            return translated_request_failure(error, model=model)
        case RuntimeError() if _is_guarded(error):
            return translated_request_failure(error, model=model)
        case _:
            return None


def _is_guarded(error: Exception) -> bool:
    """Whether the library refused to ask a real model, as tests tell it to; it says so in its text only."""
    return "ALLOW_MODEL_REQUESTS" in str(error)


def _limit_reached(error: Exception, *, agent: str, limits: Limits) -> BudgetExceeded:
    """Which limit it was; the library says so in its text only."""
    text = str(error)
    if "tool_calls_limit" in text:
        return BudgetExceeded(agent, limit="tool_calls", allowed=limits.tool_calls, used=limits.tool_calls)
    return TurnsExceeded(agent, max_turns=limits.requests or 0)


def gives_way(error: Exception) -> bool:
    """Whether another model may answer instead: this one cannot now, or its quota is used up."""
    from pydantic_ai import exceptions as found

    return isinstance(error, found.ModelQuotaExceededError) or _passes(error)


def _passes(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    from pydantic_ai import exceptions as found

    passing = (
        found.ModelRateLimitError,
        found.ModelUnavailableError,
        found.ModelServerError,
        found.ModelConnectionError,
        found.ModelRequestTimeout,
    )
    # Two that pydantic-ai leaves without a category and the openai client would have sent again itself.
    too_early = isinstance(error, found.ModelHTTPError) and error.status_code in (408, 409)
    return too_early or isinstance(error, passing)


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
