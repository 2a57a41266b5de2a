"""Models by key: what ``ai_models`` of the configuration names, what an application makes itself, and model strings.

A model is looked up by a text, never held by an agent: the text can be recorded, and means a model of this
installation in every process. In this order:

1. what :func:`using_model` says (tests);
2. a factory registered for this very key;
3. a key of ``ai_models``, made by the factory of its ``provider``;
4. a string such as ``openai:gpt-5`` or ``anthropic:claude-…``, as pydantic-ai writes them.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from toolkit.agents.fingerprints import TRANSPORT_SETTINGS
from toolkit.agents.prices import has_public_price, price_of
from toolkit.config import AIModelSettings
from toolkit.errors import ConfigurationError
from toolkit.serialization import field_errors
from toolkit.workflows import resource

if TYPE_CHECKING:
    from decimal import Decimal

    from openai import AsyncOpenAI
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.models import Model

    from toolkit.agents.agent import Agent

    ModelFactory = Callable[[AIModelSettings], Model]

OPENAI_URL = "https://api.openai.com/v1"  # said aloud, so that no variable of the environment sends documents elsewhere
_OPENAI_PREFIXES = {"openai": "responses", "openai-responses": "responses", "openai-chat": "chat"}


class ConfiguredModelKey(str):
    """A key under ``ai_models`` (or of a registered factory); a plain text may be a model string too."""

    __slots__ = ()


class ModelRegistry:
    """The models of one installation. Models and clients are made at first use, one for each running event loop.

    Raises:
        ConfigurationError: ``ai_models`` has an entry that cannot be read.
    """

    def __init__(self, ai_models: Mapping[str, AIModelSettings | Mapping[str, Any]] | None = None) -> None:
        self._settings = {key: _settings(key, entry) for key, entry in (ai_models or {}).items()}
        self._factories: dict[str, ModelFactory] = {}
        self._loaded: set[str] = set()
        # A client belongs to the loop that opened its connections: shared, it fails with "Event loop is closed".
        self._models: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Model]] = WeakKeyDictionary()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, list[AsyncOpenAI]] = WeakKeyDictionary()

    def register_model_factory(self, key_or_provider: str, factory: ModelFactory) -> None:
        """Make models by ``factory(settings)``: those of a key, or those of every entry that names this provider.

        A factory for a key needs no entry in the configuration. Register before the first run.
        """
        self._factories[key_or_provider] = factory

    def keys(self) -> list[str]:
        """The keys that are configured, sorted."""
        return sorted(self._settings)

    def check(self, agent: Agent[Any, Any]) -> None:
        """See at start that ``agent`` can get its model, without asking it anything.

        Raises:
            ConfigurationError: it cannot; ``key`` is the setting to change.
        """
        self.check_model(agent.model, wanted_by=f"agent {agent.name!r}", is_priced=agent.limits.cost is not None)

    def check_model(self, key: str, *, wanted_by: str, is_priced: bool = False) -> None:
        """See that there is a model for ``key`` and each of its fallbacks, and a price for them where one is needed.

        Raises:
            ConfigurationError: there is not; ``key`` of the error is the setting to change.
        """
        self._check_alone(key, wanted_by=wanted_by)
        for other in self._fallbacks(key):
            if other == key or other not in self._settings:
                raise ConfigurationError(
                    f"ai_models.{key}.fallback names {other!r}; expected other keys under ai_models: "
                    f"{', '.join(known for known in self.keys() if known != key) or 'there are none'}",
                    key=f"ai_models.{key}.fallback",
                )
            self._check_alone(other, wanted_by=wanted_by)
        if is_priced:
            self.check_price(key, wanted_by=wanted_by)

    def _check_alone(self, key: str, *, wanted_by: str) -> None:
        settings, factory = self._found(key, wanted_by=wanted_by)
        if factory is None and settings is not None:
            _check_openai(key, settings)
        elif factory is None:
            self._make_alone(key)  # a model string: the library knows best what it needs

    def model(self, key: str) -> Model:
        """The model of ``key`` for the running event loop; the same each time.

        Raises:
            ConfigurationError: there is none.
        """
        overriding = _USED_MODEL.get()
        if overriding is not None:
            return overriding
        models = self._models.setdefault(asyncio.get_running_loop(), {})
        if key not in models:
            models[key] = self._make(key)
        return models[key]

    def recorded_settings(self, key: str) -> dict[str, Any]:
        """The request settings of ``key`` that shape an answer; kept with each call until it ends."""
        settings = self._settings.get(key)
        found = settings.settings if settings else {}
        return {name: value for name, value in found.items() if name not in TRANSPORT_SETTINGS}

    def cost_of(self, response: ModelResponse, *, key: str) -> Decimal | None:
        """What an answer of the model of ``key`` costs, fallbacks apart; None if nobody knows.

        The configured price comes first, the public price list second.
        """
        settings = self._settings.get(key)
        name = None if is_doubled() else self._name(key)
        return price_of(response, settings.price if settings is not None else None, name=name)

    def check_price(self, key: str, *, wanted_by: str) -> None:
        """See that a limit on money can be kept, whichever of the models of ``key`` answers.

        Raises:
            ConfigurationError: nobody knows what one of them costs, so the limit might never be reached.
        """
        if is_doubled():
            return
        for one in (key, *self._fallbacks(key)):
            settings, name = self._settings.get(one), self._name(one)
            if (settings is None or settings.price is None) and not (name and has_public_price(name)):
                raise ConfigurationError(
                    f"{wanted_by} has a limit on money, and the price of model {str(one)!r} is unknown; set "
                    f"ai_models.{one}.price, or limit tokens instead",
                    key=f"ai_models.{one}.price",
                )

    def _name(self, key: str) -> str | None:
        """The name by which the model of ``key`` is asked for."""
        settings = self._settings.get(key)
        return settings.model if settings is not None else key.partition(":")[2] or None

    async def load(self, key: str) -> None:
        """Import what the model of ``key`` needs, in a thread: it takes seconds, and heartbeats must not wait."""
        wanted = "" if _USED_MODEL.get() is not None else key
        if wanted not in self._loaded:
            await asyncio.to_thread(self._load, wanted)
            self._loaded.add(wanted)

    def _load(self, key: str) -> None:
        importlib.import_module("toolkit.agents.assembly")
        if not key or self._found(key, wanted_by="a run")[1] is not None:
            return
        self._make(key)  # thrown away: its first making reads the price list and loads the provider
        if "openai" in sys.modules:  # which loads these at the first request otherwise
            importlib.import_module("openai.resources.chat.completions")
            importlib.import_module("openai.resources.responses")

    async def close(self) -> None:
        """Close the clients of the running event loop."""
        loop = asyncio.get_running_loop()
        self._models.pop(loop, None)
        for client in self._clients.pop(loop, []):
            await client.close()

    def _found(self, key: str, *, wanted_by: str) -> tuple[AIModelSettings | None, ModelFactory | None]:
        """The settings and the factory of a key; neither for a model string."""
        if key in self._factories:
            return self._settings.get(key) or AIModelSettings(provider=key), self._factories[key]
        settings = self._settings.get(key)
        if settings is not None:
            if settings.provider != "openai" and settings.provider not in self._factories:
                raise ConfigurationError(
                    f"ai_models.{key}.provider is {settings.provider!r}, which is neither 'openai' nor registered with "
                    f"register_model_factory(); registered: {', '.join(sorted(self._factories)) or 'none'}",
                    key=f"ai_models.{key}.provider",
                )
            return settings, self._factories.get(settings.provider)
        provider, colon, name = key.partition(":")
        if isinstance(key, ConfiguredModelKey) or not colon:
            raise ConfigurationError(
                f"{wanted_by} uses model {str(key)!r}, and there is no such key: add ai_models.{key} with provider, "
                f"model and api_key to the configuration; configured: {', '.join(self.keys()) or 'none'}",
                key=f"ai_models.{key}",
            )
        if provider in self._factories:
            return AIModelSettings(provider=provider, model=name), self._factories[provider]
        return None, None

    def _fallbacks(self, key: str) -> tuple[str, ...]:
        settings = self._settings.get(key)
        return settings.fallback if settings is not None else ()

    def _make(self, key: str) -> Model:
        model, others = self._make_alone(key), self._fallbacks(key)
        if not others:
            return model
        from toolkit.agents.fallbacks import fallback_model

        return fallback_model([(key, model), *((other, self._make_alone(other)) for other in others)])

    def _make_alone(self, key: str) -> Model:
        settings, factory = self._found(key, wanted_by="a run")
        if settings is not None:
            if factory is not None:
                return factory(settings)
            return self._make_openai(key, settings, name=_check_openai(key, settings))
        provider, _, name = key.partition(":")
        if provider in _OPENAI_PREFIXES:
            api = _OPENAI_PREFIXES[provider]
            return self._make_openai(key, AIModelSettings.model_validate({"api": api, "model": name}), name=name)
        from pydantic_ai.exceptions import UserError
        from pydantic_ai.models import infer_model

        try:
            return infer_model(key)
        except (UserError, ValueError, ImportError) as error:
            raise ConfigurationError(f"model {key!r} cannot be used: {error}", key="ai_models") from error

    def _make_openai(self, key: str, settings: AIModelSettings, *, name: str) -> Model:
        from openai import AsyncOpenAI, OpenAIError
        from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
        from pydantic_ai.providers.openai import OpenAIProvider

        api_key = settings.api_key.get_secret_value() if settings.api_key else None
        if api_key is None and settings.base_url is not None:
            api_key = "none"  # local servers ask for none, and the client insists on one
        try:
            # The engine retries, where it can be seen and cancelled; the client must not do so as well.
            client = AsyncOpenAI(
                api_key=api_key,
                base_url=settings.base_url or OPENAI_URL,
                timeout=settings.timeout_seconds,
                max_retries=0,
            )
        except OpenAIError as error:
            raise ConfigurationError(
                f"model {key!r} has no API key; set ai_models.{key}.api_key", key=f"ai_models.{key}.api_key"
            ) from error
        self._remember(client)
        transport: Any = {name: value for name, value in settings.settings.items() if name in TRANSPORT_SETTINGS}
        # A client of ours: one that the provider made would be closed and opened again around every request.
        provider = OpenAIProvider(openai_client=client)
        if settings.api == "responses":
            return OpenAIResponsesModel(name, provider=provider, settings=transport)
        return OpenAIChatModel(name, provider=provider, settings=transport)

    def _remember(self, client: AsyncOpenAI) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # made outside a loop, to look or to load; nobody asks it anything
            return
        self._clients.setdefault(loop, []).append(client)


@contextmanager
def using_model(model: Model) -> Iterator[None]:
    """Let every agent that is called inside use ``model``, whatever its key; for tests.

    It reaches calls made in this task and below it. Runs that a worker carries out are not below it: register a
    factory for the key instead.
    """
    token = _USED_MODEL.set(model)
    try:
        yield
    finally:
        _USED_MODEL.reset(token)


def is_doubled() -> bool:
    """Whether :func:`using_model` says which model is asked: a double of a test costs nothing, whatever its name."""
    return _USED_MODEL.get() is not None


def current_registry() -> ModelRegistry:
    """The registry of this installation; outside of any, one that knows model strings only."""
    return resource(ModelRegistry) or _standalone()


_USED_MODEL: ContextVar[Model | None] = ContextVar("toolkit_used_model", default=None)


@cache
def _standalone() -> ModelRegistry:
    return ModelRegistry()


def _settings(key: str, entry: AIModelSettings | Mapping[str, Any]) -> AIModelSettings:
    if isinstance(entry, AIModelSettings):
        return entry
    try:
        return AIModelSettings.model_validate(entry)
    except ValidationError as error:
        wrong = field_errors(error)[0]
        place = ".".join(filter(None, (f"ai_models.{key}", wrong["loc"])))
        raise ConfigurationError(f"{place}: {wrong['msg']}", key=place) from None


def _check_openai(key: str, settings: AIModelSettings) -> str:
    """The model's name, once it is sure that name and key are there."""
    if not settings.model:
        raise ConfigurationError(
            f"ai_models.{key}.model is missing: the name that the provider gives the model, such as gpt-5-mini",
            key=f"ai_models.{key}.model",
        )
    if settings.api_key is None and settings.base_url is None:
        raise ConfigurationError(
            f"ai_models.{key}.api_key is missing: set it, for example to ${{OPENAI_API_KEY}}, or set base_url to a "
            "server that needs none",
            key=f"ai_models.{key}.api_key",
        )
    return settings.model
