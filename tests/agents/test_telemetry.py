"""Promise: traces tell what happened once: work that comes from the journal leaves no second span."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, Tracer, TracerProvider
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.instrumented import InstrumentationSettings

from tests.agents.runs import Cut, Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, ModelRegistry, durability, tool

# pydantic-evals pins an earlier one; where a later one is installed, the tests run.
pytestmark = pytest.mark.skipif(
    durability.replay_scope is None, reason="pydantic-ai before 2.68 has no scope for work that is replayed"
)


class Spans(TracerProvider, Tracer):
    """Counts the spans that ended, by name."""

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        return self

    def start_span(self, name: str, *args: Any, **kwargs: Any) -> Span:
        return _Span(self, name)

    def start_as_current_span(self, name: str, *args: Any, **kwargs: Any) -> Any:
        from opentelemetry.trace import use_span

        return use_span(self.start_span(name), end_on_exit=True)


class _Span(NonRecordingSpan):
    def __init__(self, spans: Spans, name: str) -> None:
        super().__init__(SpanContext(trace_id=1, span_id=1, is_remote=False, trace_flags=TraceFlags(1)))
        self._spans, self._name = spans, name

    def is_recording(self) -> bool:
        return True

    def end(self, end_time: int | None = None) -> None:
        self._spans.ended[self._name] += 1


@pytest.fixture
def spans() -> Iterator[Spans]:
    spans = Spans()
    PydanticAgent.instrument_all(InstrumentationSettings(tracer_provider=spans, include_content=False))
    yield spans
    PydanticAgent.instrument_all(False)


@tool(effect="read")
def look(letter: str) -> str:
    """Look something up."""
    return letter.upper()


SCRIPT = ([call("look", letter="a"), call("look", id="b", letter="b")], [call("look", id="c", letter="c")], "done")
KEYS = ["config", "model:0", "tool:agent:look#look-1:0", "model:1", "tool:agent:look#c:0", "model:2"]
WHOLE = {"chat scripted": 3, "execute_tool look": 3, "invoke_agent looker": 1}


@pytest.mark.parametrize("key", KEYS)
async def test_a_run_that_died_has_each_span_once(runs: Runs, spans: Spans, key: str) -> None:
    script = ScriptedModel(*SCRIPT)
    registry = ModelRegistry()
    registry.register_model_factory("m", lambda settings: script.model)
    runs.use(registry)
    agent: Agent[str] = Agent("looker", model="m", tools=[look])

    beside = ("tool:agent:look#b:0",) if key == "tool:agent:look#look-1:0" else ()
    await runs.cut_off(Cut("after", key, beside), agent, "?")
    before = Counter(spans.ended)
    await runs.go_on()

    live = spans.ended - before
    turns = {"config": 3, "model:0": 2, KEYS[2]: 2, "model:1": 1, KEYS[4]: 1, "model:2": 0}[key]
    assert live["chat scripted"] == turns
    tools = {"config": 3, "model:0": 3, KEYS[2]: 1, "model:1": 1, KEYS[4]: 0, "model:2": 0}[key]
    assert live["execute_tool look"] == tools


async def test_an_undisturbed_run_has_each_span_once(runs: Runs, spans: Spans) -> None:
    script = ScriptedModel(*SCRIPT)
    registry = ModelRegistry()
    registry.register_model_factory("m", lambda settings: script.model)
    runs.use(registry)

    await runs.call(Agent("looker", model="m", tools=[look]), "?")

    assert spans.ended == WHOLE
