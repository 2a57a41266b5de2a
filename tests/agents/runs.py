"""Agents called in runs of the real engine, which a test can cut off at any checkpoint and have gone on with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import pytest

from toolkit.agents import Agent, AgentService, ModelRegistry, People, Question, Reply
from toolkit.agents import approvals as approvals_module
from toolkit.agents import durability as durability_module
from toolkit.agents import limits as limits_module
from toolkit.agents import work as work_module
from toolkit.errors import RunFailed, WaitTimeout
from toolkit.storage import Database
from toolkit.workflows import (
    Checkpoint,
    Engine,
    EngineOptions,
    RunHandle,
    StepRecord,
    checkpoint,
    step_context,
    suspend,
    wait_for_event,
    workflow,
)

OPTIONS = EngineOptions(poll_seconds=0.05, drain_seconds=0.0, lease_seconds=5.0)


class Cut(NamedTuple):
    """A moment at which a process may die: before or after the checkpoint whose path ends with ``key``.

    Checkpoints ``beside`` it are waited for: what dies halfway runs again, and that is another test.
    """

    when: Literal["before", "after"]
    key: str
    beside: tuple[str, ...] = ()


class Runs:
    """Starts a run that calls an agent, and keeps what the call returned or raised."""

    def __init__(self, database: Database, registry: ModelRegistry) -> None:
        self.database, self.registry = database, registry
        self.outcomes: asyncio.Queue[Any] = asyncio.Queue()
        self.cut: Cut | None = None
        self.is_cut_off = asyncio.Event()
        self.recorded: set[str] = set()
        self.progress = asyncio.Condition()
        self.questions: asyncio.Queue[Question] = asyncio.Queue()
        self.is_approving = False
        self.service = AgentService(database, [], models=registry)

    @asynccontextmanager
    async def open(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runs]:
        for module in (approvals_module, durability_module, limits_module, work_module):
            monkeypatch.setattr(module, "checkpoint", self._checkpoint)
        await self._start_process()
        try:
            yield self
        finally:
            await self.engine.close()
            await self.service.close()
            await self.registry.close()

    async def call(self, agent: Agent[Any, Any], input: Any, **arguments: Any) -> Any:
        """What the agent returns in a run of its own, or raises."""
        await self.start(agent, input, **arguments)
        return await self.outcome()

    async def start(self, agent: Agent[Any, Any], input: Any, **arguments: Any) -> None:
        self.called = (agent, input, arguments)
        self.run: RunHandle[None] = await self.engine.start(self.workflow)

    async def outcome(self) -> Any:
        async with asyncio.timeout(30):
            found = await self.outcomes.get()
            try:
                await self.run.result()
            except RunFailed:
                assert isinstance(found, Exception)
                raise found from None
            return found

    async def cut_off(self, cut: Cut, agent: Agent[Any, Any], input: Any, **arguments: Any) -> None:
        """Start a run and let its process die at ``cut``."""
        self.cut = cut
        self.recorded.clear()
        self.is_cut_off.clear()
        await self.start(agent, input, **arguments)
        async with asyncio.timeout(30):
            await self.is_cut_off.wait()
        self.cut = None
        await self.engine.close()

    async def go_on(self, agent: Agent[Any, Any] | None = None) -> Any:
        """What the call returns in the next process, with changed code if ``agent`` is given."""
        if agent is not None:
            self.called = (agent, *self.called[1:])
        await self.restart()
        return await self.outcome()

    async def restart(self) -> None:
        """Have another process go on with the run."""
        await self.engine.close()
        await self._start_process()
        self.run = RunHandle(self.engine, self.run.id, self.workflow)

    def use(self, registry: ModelRegistry) -> None:
        """Have another registry from here on."""
        self.registry = self.engine.resources[ModelRegistry] = registry

    async def asked(self) -> Question:
        """The next question to a person, once the run waits for its answer."""
        async with asyncio.timeout(30):
            question = await self.questions.get()
            while (await self.engine.get_run(self.run.id)).summary.state != "suspended":
                await asyncio.sleep(0.01)
        return question

    async def answer(self, answer: Any, *, by: str = "ada") -> None:
        """Answer what was asked; None withdraws the question."""
        await self.engine.emit_event("answer", {"answer": answer, "by": by}, run_id=self.run.id)

    async def approve(self, question: Question, *, arguments: dict[str, Any] | None = None) -> None:
        """Approve every call that waits, with other ``arguments`` if they are given."""
        await self.answer(_approval(question, arguments))

    async def _ask(self, question: Question) -> Reply:
        self.questions.put_nowait(question)
        if self.is_approving:  # a person who says yes to everything, and is there again after every restart
            payload: Any = {"answer": _approval(question, None), "by": "ada"}
            await suspend(interval=0)
        else:
            limit = question.expires.total_seconds() if question.expires is not None else -1
            try:
                payload = await wait_for_event("answer", max_wait_time=limit)
            except WaitTimeout:
                payload = {"answer": None, "by": None}
        answer = None if payload["answer"] is None else question.answer_type.model_validate(payload["answer"])
        return Reply(answer=answer, task_id="task", by=payload["by"], at=datetime.now(UTC))

    async def steps(self) -> dict[str, StepRecord]:
        """The journal of the last run, by path."""
        return {step.path: step for step in await self.engine.list_steps(self.run.id)}

    async def _start_process(self) -> None:
        outcomes = self.outcomes

        @workflow(name="calls_an_agent")
        async def calls_an_agent() -> None:
            agent, given, arguments = self.called
            try:
                outcomes.put_nowait(await agent(given, **arguments))
            except Exception as error:
                outcomes.put_nowait(error)
                raise

        self.workflow = calls_an_agent
        self.engine = Engine(self.database, workflows=[calls_an_agent], options=OPTIONS)
        self.engine.resources[ModelRegistry] = self.registry
        self.engine.resources[People] = People(self._ask)
        self.engine.resources[AgentService] = self.service
        await self.engine.open()

    async def _checkpoint(self, key: str, **arguments: Any) -> Checkpoint:
        await self._die_at("before", key)
        kept = await checkpoint(key, **arguments)
        async with self.progress:
            self.recorded.add(key)
            self.progress.notify_all()
        await self._die_at("after", key)
        return kept

    async def _die_at(self, when: str, key: str) -> None:
        context = step_context()
        assert context is not None
        path = f"{context.path}/{key}"
        cut = self.cut
        if cut is not None and cut.when == when and f"/{path}".endswith(f"/{cut.key}"):
            async with self.progress:
                await self.progress.wait_for(lambda: self.recorded >= set(cut.beside))
            self.is_cut_off.set()
            await asyncio.Event().wait()  # for ever: what comes after a process has died


def _approval(question: Question, arguments: dict[str, Any] | None) -> dict[str, Any]:
    edited = {"arguments": arguments} if arguments else {}
    held = question.about.model_dump()["calls"]
    return {"decisions": [{"id": call["id"], "decision": "approve", **edited} for call in held]}
