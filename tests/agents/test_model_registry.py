from __future__ import annotations

import asyncio

import pytest
from pydantic_ai.models.test import TestModel

from toolkit.agents import Agent, ConfiguredModelKey, ModelRegistry
from toolkit.errors import ConfigurationError

OPENAI = {"provider": "openai", "model": "gpt-5-mini", "api_key": "sk-test"}


def _check(registry: ModelRegistry, model: str) -> None:
    registry.check(Agent("extract", model=model))


def test_a_configured_model_passes_the_check() -> None:
    _check(ModelRegistry({"invoice_model": OPENAI}), "invoice_model")
    _check(ModelRegistry({"invoice_model": OPENAI}), ConfiguredModelKey("invoice_model"))


@pytest.mark.parametrize(
    ("entry", "setting"),
    [
        ({"provider": "openai", "model": "gpt-5-mini"}, "ai_models.invoice_model.api_key"),
        ({"provider": "openai", "api_key": "sk-test"}, "ai_models.invoice_model.model"),
        ({"provider": "acme", "model": "m"}, "ai_models.invoice_model.provider"),
    ],
)
def test_what_a_model_lacks_is_named_at_start(entry: dict[str, str], setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting) as caught:
        _check(ModelRegistry({"invoice_model": entry}), "invoice_model")

    assert caught.value.key == setting


@pytest.mark.parametrize("model", ["invoice_model", ConfiguredModelKey("openai:gpt-5")])
def test_a_key_that_is_not_configured_is_named_with_its_agent(model: str) -> None:
    with pytest.raises(ConfigurationError, match=r"agent 'extract'.*configured: other"):
        _check(ModelRegistry({"other": OPENAI}), model)


def test_an_entry_with_a_wrong_value_names_its_place() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ModelRegistry({"invoice_model": {**OPENAI, "api": "soap"}})

    assert caught.value.key == "ai_models.invoice_model.api"


def test_a_server_of_ones_own_needs_no_key() -> None:
    _check(ModelRegistry({"local": {"model": "llama", "base_url": "http://127.0.0.1:8080/v1"}}), "local")


def test_a_model_string_needs_the_key_of_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigurationError):
        _check(ModelRegistry(), "openai:gpt-5")
    with pytest.raises(ConfigurationError):
        _check(ModelRegistry(), "nobody:gpt-5")

    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    _check(ModelRegistry(), "openai:gpt-5")


async def test_a_factory_makes_the_models_of_its_provider_and_of_its_key() -> None:
    offline, special = TestModel(), TestModel()
    registry = ModelRegistry({"invoice_model": {"provider": "offline", "model": "labels"}})
    registry.register_model_factory("offline", lambda settings: offline)
    registry.register_model_factory("special", lambda settings: special)

    assert registry.model("invoice_model") is offline
    assert registry.model("offline:labels") is offline
    assert registry.model("special") is special
    _check(registry, "invoice_model")
    _check(registry, "special")


async def test_the_api_chooses_the_protocol_and_the_client_never_retries() -> None:
    registry = ModelRegistry({"chat": {**OPENAI, "api": "chat"}, "responses": {**OPENAI, "api": "responses"}})

    chat, responses = registry.model("chat"), registry.model("responses")

    assert type(chat).__name__ == "OpenAIChatModel"
    assert type(responses).__name__ == "OpenAIResponsesModel"
    assert chat.client.max_retries == 0  # type: ignore[attr-defined]
    assert str(chat.client.base_url) == "https://api.openai.com/v1/"  # type: ignore[attr-defined]
    await registry.close()


async def test_the_address_does_not_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.test/v1")
    registry = ModelRegistry({"chat": OPENAI})

    assert str(registry.model("chat").client.base_url) == "https://api.openai.com/v1/"  # type: ignore[attr-defined]
    await registry.close()


def test_each_event_loop_has_a_client_of_its_own() -> None:
    registry = ModelRegistry({"chat": OPENAI})

    async def twice() -> tuple[object, object]:
        found = registry.model("chat"), registry.model("chat")
        await registry.close()
        return found

    first, same = asyncio.run(twice())
    other, _ = asyncio.run(twice())

    assert first is same
    assert first is not other


def test_settings_of_transport_are_not_recorded() -> None:
    registry = ModelRegistry({"chat": {**OPENAI, "settings": {"max_tokens": 9, "extra_headers": {"X-Key": "secret"}}}})

    assert registry.recorded_settings("chat") == {"max_tokens": 9}
