"""What it costs that every request is kept: ``python -m benchmarks.agents``.

An agent of ours in a run on SQLite beside the same agent of plain pydantic-ai, with a scripted model that answers at
once. One repetition of each is timed right after the other; medians are compared, by the clock and by the processor
time of this process, which a busy machine hardly changes.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic_ai import Agent as PlainAgent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from toolkit.agents import Agent, AgentService, ModelRegistry
from toolkit.storage import Database
from toolkit.workflows import Engine, workflow

REPEATS = 15
MOST_MILLISECONDS = 3.0


def look(letter: str) -> str:
    """Look something up."""
    return letter


def scripted(requests: int, *, with_tools: bool) -> FunctionModel:
    """Answers the last of ``requests`` with a text, those before it with a call of :func:`look`, or bad output."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        if with_tools and turn < requests - 1:
            return ModelResponse([ToolCallPart("look", {"letter": "a"}, tool_call_id=f"c{turn}")])
        return ModelResponse([TextPart("done")])

    return FunctionModel(answer, model_name="scripted")


Work = Callable[[], Awaitable[object]]


async def compare(what: str, requests: int, *, ours: Work, plain: Work) -> None:
    """Print what a request costs with us and without."""
    clocks = {"clock": time.perf_counter, "processor": time.process_time}
    times: dict[tuple[Work, str], list[float]] = {(work, name): [] for work in (ours, plain) for name in clocks}
    for repetition in range(REPEATS + 2):
        for work in (ours, plain):
            started = {name: now() for name, now in clocks.items()}
            await work()
            if repetition >= 2:  # the first ones warm up
                for name, now in clocks.items():
                    times[work, name].append((now() - started[name]) * 1000 / requests)
    print(what)
    for name in clocks:
        kept, bare = statistics.median(times[ours, name]), statistics.median(times[plain, name])
        print(
            f"  by the {name:<10} {kept:7.2f} ms a request, plain {bare:6.2f} ms: {kept - bare:+6.2f} ms "
            f"(target: at most {MOST_MILLISECONDS:g}), ratio {kept / bare:5.2f}"
        )


async def main() -> None:
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'agents.db'}")
        await database.open()
        registry = ModelRegistry()
        registry.register_model_factory("many", lambda settings: scripted(20, with_tools=True))
        registry.register_model_factory("one", lambda settings: scripted(1, with_tools=False))
        many: Agent[str] = Agent("many", model="many", tools=[look])
        one: Agent[str] = Agent("one", model="one")

        @workflow()
        async def run_many() -> str:
            return (await many("?")).output

        @workflow()
        async def run_one() -> str:
            for _ in range(20):
                await one("?")
            return "done"

        service = AgentService(database, [many, one], models=registry)
        engine = Engine(database, workflows=[run_many, run_one])
        engine.resources[ModelRegistry], engine.resources[AgentService] = registry, service
        await engine.open()

        plain_many = PlainAgent(scripted(20, with_tools=True), tools=[look])
        plain_one = PlainAgent(scripted(1, with_tools=False))

        async def ask_twenty_times() -> None:
            for _ in range(20):
                await plain_one.run("?")

        async def ours_many() -> object:
            return await (await engine.start(run_many)).result()

        async def ours_one() -> object:
            return await (await engine.start(run_one)).result()

        async def plain_once() -> object:
            return await plain_many.run("?")

        await compare("one call, 20 requests with a tool call each", 20, ours=ours_many, plain=plain_once)
        await compare("20 calls, a request each", 20, ours=ours_one, plain=ask_twenty_times)
        await engine.close()
        await service.close()
        await database.close()


if __name__ == "__main__":
    asyncio.run(main())
