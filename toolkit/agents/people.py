"""People: how an agent asks one, in the middle of its work.

The room does not know human tasks. Whoever puts an installation together hands over a :class:`People`, and every
question goes through it. A run may wait only in the task of the step that waits, and pydantic-ai works in tasks of its
own: so the work goes on in a task below, and brings its questions to the :class:`Desk`, which asks them from the step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from toolkit.clock import Clock, SystemClock
from toolkit.errors import WrongContext
from toolkit.workflows import current_engine

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question: ``about`` is shown, the answer is an ``answer_type``."""

    kind: Literal["approve_tool_calls", "raise_agent_limit"]
    message: str
    about: BaseModel
    answer_type: type[BaseModel]
    suggested: dict[str, Any]
    assign_to: str | None = None
    expires: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """How a question ended. Without an ``answer`` its time was up, or somebody (``by``) withdrew it."""

    answer: BaseModel | None
    task_id: str
    by: str | None
    at: datetime
    reason: str = ""


@dataclass(frozen=True)
class People:
    """The way to the people of an installation."""

    ask: Callable[[Question], Awaitable[Reply]]
    """Awaited in the task of a step that may wait; the run is suspended meanwhile."""


class Desk:
    """Takes questions from the work of one agent call, asks them from the task of its step, and keeps the answers.

    ``obstacle`` says why nobody can be asked here, if so.
    """

    _asked: asyncio.Queue[tuple[Question, asyncio.Future[Reply]] | None]
    """Of the work that is looked after; ``None`` when it has ended."""

    def __init__(self, *, agent: str, people: People | None = None, obstacle: str | None = None) -> None:
        self._agent, self._people = agent, people
        self.obstacle = obstacle or (None if people is not None else "this installation has no human tasks")
        self.answers: dict[str, Any] = {}
        """What was made of replies, by checkpoint: work that begins again must not ask again."""
        self.waited = timedelta(0)
        """For people, so far."""
        engine = current_engine()
        self._clock: Clock = engine.runtime.clock if engine is not None else SystemClock()

    def now(self) -> datetime:
        """By the clock of the engine."""
        return self._clock.now()

    async def ask(self, question: Question) -> Reply:
        """The reply, whenever it comes; for the work that :meth:`attend` looks after.

        Raises:
            WrongContext: nobody can be asked here.
        """
        self.require()
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait((question, reply))
        return await reply

    async def ask_here(self, question: Question) -> Reply:
        """As :meth:`ask`, from the task of the step.

        Raises:
            WrongContext: nobody can be asked here.
        """
        return await self.require().ask(question)

    async def attend(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, whose questions are asked meanwhile."""
        self._asked = asyncio.Queue()
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._asked.put_nowait(None))
        try:
            while (asked := await self._asked.get()) is not None:
                question, reply = asked
                reply.set_result(await self.ask_here(question))
        except BaseException:
            # The step is given up, or its run is cancelled while it waits: nothing of the work may outlive it.
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)  # and what it says of its end interests nobody
            raise
        return await task

    def require(self) -> People:
        """The people, if they can be asked here.

        Raises:
            WrongContext: they cannot.
        """
        if self.obstacle is not None or self._people is None:
            raise WrongContext(f"agent {self._agent!r} has to ask a person, and cannot: {self.obstacle}")
        return self._people
