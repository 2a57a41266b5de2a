"""Whole applications in memory: database, files and time of their own, people who answer from a list."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.access import Principal, acting_as
from toolkit.app import Toolkit
from toolkit.config import Settings
from toolkit.human import TaskDetail, TaskState
from toolkit.ids import new_id
from toolkit.storage import Query, both
from toolkit.testing.clocks import VirtualClock
from toolkit.testing.crashes import CrashingDatabase
from toolkit.testing.databases import temporary_url
from toolkit.testing.processes import Process, World
from toolkit.workflows import Workflow

if TYPE_CHECKING:
    from pydantic_ai.models import Model

    from toolkit.testing.models import ScriptedModel

R = TypeVar("R")

_HAS_DUE_TASKS = both("has due tasks", "SELECT 1 FROM toolkit_task WHERE next_at <= $1 AND ended_at IS NULL LIMIT 1")

Answer = Any | Callable[[TaskDetail], Any]
"""An output of a human task, or a function that gives one for the task at hand."""


class AppProcess(Process):
    """An application that runs in a test, with its engine as in :class:`Process`; opened by :func:`running_app`."""

    def __init__(self, app: Toolkit, database: CrashingDatabase, world: World) -> None:
        super().__init__(app.services.engine, database, world)
        self.app = app
        self.answers: dict[str, Answer] = {}
        """Outputs by the name of the human task; whoever waits for a result has such tasks answered."""

    async def open_tasks(self, name: str | None = None) -> list[TaskDetail]:
        """The tasks that are open, with this name or with any, oldest first."""
        await self.settle()
        tasks = self.app.services.tasks
        found = await tasks.list(state=TaskState.OPEN, name=name, limit=1000)
        return [await tasks.get(task.id) for task in reversed(found)]

    async def answer(self, name: str, output: Answer, *, by: str = "tester") -> None:
        """Answer the oldest open task with this name, as a person who may answer any.

        Raises:
            AssertionError: no such task is open.
            InvalidInput: the output does not fit.
            PermissionDenied: the task's own rules (four eyes, for instance) keep ``by`` out.
        """
        tasks = await self.open_tasks(name)
        if not tasks:
            names = sorted({task.name for task in await self.open_tasks()})
            raise AssertionError(f"no task {name!r} is open; open are {', '.join(names) or 'none'}")
        await self._answer(tasks[0], output, by=by)
        await self.settle()

    async def _answer(self, task: TaskDetail, output: Answer, *, by: str) -> None:
        value = output(task) if callable(output) else output
        text = self.app.definitions.humans[task.name].output_codec.encode(value)
        with acting_as(Principal(id=by, kind="person", permissions="*")):
            await self.app.services.tasks.complete(task.id, text)

    async def has_work(self) -> bool:
        """As for any process; the watch of human tasks looks from time to time as well."""
        return await super().has_work() or bool(await self.engine.read(Query(_HAS_DUE_TASKS, [self.clock.now()])))

    async def act(self) -> bool:
        waiting = [task for task in await self.open_tasks() if task.name in self.answers] if self.answers else []
        for task in waiting:
            await self._answer(task, self.answers[task.name], by="tester")
        return bool(waiting) or await super().act()


@asynccontextmanager
async def running_app(
    app: Toolkit,
    *,
    settings: Mapping[str, Any] | None = None,
    models: Mapping[str, ScriptedModel | Model] | None = None,
    clock: VirtualClock | None = None,
    server: str | None = None,
) -> AsyncIterator[AppProcess]:
    """Run ``app`` on a database, files and a clock of its own for the length of the block.

    ``settings`` is configuration as in a file, without ``database`` and ``file_storage``; the application's own file
    is not read. ``models`` answer in place of those that agents name. With ``server`` (see :func:`temporary_url`) the
    database is PostgreSQL.

    Raises:
        ConfigurationError: an agent's model is neither in ``models`` nor configured.
    """
    world = World(clock or VirtualClock())
    with tempfile.TemporaryDirectory(prefix="toolkit-test-") as folder, _using(app, models or {}):
        async with temporary_url(server) as url:
            content = {
                **(settings or {}),
                "database": {"url": url},
                "file_storage": {"default": f"memory://{new_id()}"},
            }
            database = CrashingDatabase(url, clock=world.clock)
            configured = Settings.of(content, folder=Path(folder))
            ticking: asyncio.Task[None] | None = None
            process: AppProcess | None = None
            try:
                async with app.running(settings=configured, database=database, runtime=world.runtime):
                    process = AppProcess(app, database, world)
                    try:
                        yield process
                    finally:
                        ticking = asyncio.ensure_future(_tick(world.clock))  # what closes waits a moment, by the clock
            finally:
                if ticking is not None:
                    ticking.cancel()
                if process is not None:
                    await world.end(process.engine)


async def run_workflow(
    workflow: Workflow[..., R],
    *args: Any,
    answers: Mapping[str, Answer] | None = None,
    events: Mapping[str, Any] | None = None,
    models: Mapping[str, ScriptedModel | Model] | None = None,
    settings: Mapping[str, Any] | None = None,
    clock: VirtualClock | None = None,
    **kwargs: Any,
) -> R:
    """The result of one run of ``workflow``, alone in an application of its own, with all that it refers to.

    Nothing waits in real time: the clock skips to the next due moment. ``answers`` are outputs by the name of a human
    task, ``events`` payloads by key, sent to the run at its start. When the run has ended it is replayed, so that what
    differs from call to call is found. ``models`` and ``settings`` are those of :func:`running_app`.

    Raises:
        RunFailed: the run failed.
        AssertionError: it waits for something that does not happen, is parked, or does not replay.
    """
    app = Toolkit("test").register_workflow(workflow)
    async with running_app(app, settings=settings, models=models, clock=clock) as process:
        process.answers.update(answers or {})
        run = await process.start(workflow, *args, **kwargs)
        for key, payload in (events or {}).items():
            await process.engine.emit_event(key, payload, run_id=run.id)
        result = await process.result(run)
        await process.check_replay(run)
        return result


class _using:  # noqa: N801 - reads as a verb
    """Make an application's agents ask these models for the length of the block."""

    def __init__(self, app: Toolkit, models: Mapping[str, ScriptedModel | Model]) -> None:
        self._factories = app.definitions.model_factories
        self._models = models

    def __enter__(self) -> None:
        self._before = dict(self._factories)
        for key, model in self._models.items():
            self._factories[key] = _factory(model)

    def __exit__(self, *_: object) -> None:
        self._factories.clear()
        self._factories.update(self._before)


def _factory(model: ScriptedModel | Model) -> Callable[..., Any]:
    made = getattr(model, "model", model) if type(model).__name__ == "ScriptedModel" else model
    return lambda settings: made


async def _tick(clock: VirtualClock) -> None:
    while True:
        await asyncio.sleep(0.001)
        clock.turn(0.05)
