"""``Toolkit``: an application made of an author's definitions, served or mounted, tested or worked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from toolkit.app.definitions import Definitions
from toolkit.config import Settings, load_settings
from toolkit.errors import StorageError, WrongContext

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI
    from sqlmodel.ext.asyncio.session import AsyncSession
    from starlette.types import ASGIApp, Receive, Scope, Send

    from toolkit.agents import Agent
    from toolkit.app.installation import Installation
    from toolkit.config import Environment
    from toolkit.files import Scan
    from toolkit.human import Human
    from toolkit.rules import Rule
    from toolkit.storage import Database, PayloadCodec
    from toolkit.workflows import Replay, RunHandle, Runtime, Schedule, Workflow

R = TypeVar("R")
T = TypeVar("T")


class Toolkit:
    """One application: what it is made of, and how it is started.

    It is an ASGI application with a lifespan of its own. Registering holds for this object alone; nothing is
    process-wide, and nothing connects or reads before the start.

    ``config`` is a configuration file in place of the one that would be found, ``env`` is ``dev`` or ``prod`` in place
    of ``TOOLKIT_ENV``; the command line has the last word on both. ``payload_codec`` encrypts or compresses what runs,
    tasks and agents keep in the database; every process of the installation needs it.
    """

    def __init__(
        self,
        title: str = "Process Toolkit",
        *,
        description: str = "",
        version: str = "0.1.0",
        config: str | Path | None = None,
        env: Environment | None = None,
        payload_codec: PayloadCodec | None = None,
    ) -> None:
        self.title = title
        self.description = description
        self.version = version
        self.env = env
        self.folder = _folder_of_caller()
        self.config = self.folder / config if config else None
        self.definitions = Definitions(folder=self.folder, payload_codec=payload_codec)
        self._settings: Settings | None = None
        self._installation: Installation | None = None
        self._web: ASGIApp | None = None

    def __repr__(self) -> str:
        return f"Toolkit({self.title!r})"

    # What it is made of. ------------------------------------------------------------------------------------------

    def register_workflow(self, workflow: Workflow[..., Any]) -> Self:
        """Add a workflow with the steps, agents, rules, human tasks and workflows that its function refers to.

        Raises:
            DefinitionError: something else has the same name; the message gives both places.
        """
        self.definitions.add_workflow(workflow)
        return self

    def register_schedule(self, schedule: Schedule) -> Self:
        """Have workers start runs of a workflow by ``schedule``; the workflow is registered with it.

        Raises:
            DefinitionError: something else has the same name, or the schedule's arguments do not fit the workflow.
        """
        self.definitions.add_schedule(schedule)
        return self

    def register_agent(self, agent: Agent[Any, Any]) -> Self:
        """Add an agent that no registered workflow refers to by name."""
        self.definitions.add_agent(agent)
        return self

    def register_rule(self, rule: Rule[Any, Any]) -> Self:
        """Add a rule that no registered workflow refers to by name."""
        self.definitions.add_rule(rule)
        return self

    def register_human(self, human: Human[Any, Any]) -> Self:
        """Add a human task that no registered workflow refers to by name."""
        self.definitions.add_human(human)
        return self

    def register_entity(
        self,
        entity: type[Any],
        *,
        name: str | None = None,
        is_read_only: bool = False,
        read_only: Collection[str] = (),
        hidden: Collection[str] = (),
    ) -> Self:
        """Add a SQLModel table of the application, and serve it under ``/toolkit/v1/entities/{name}``.

        Its table is made at start where it is missing, or by migrations where the application has some. ``name`` is
        the class's in snake_case unless given. With ``is_read_only`` nothing can be written over REST; ``read_only``
        names fields that cannot, ``hidden`` fields that nobody is shown.
        """
        self.definitions.add_entity(entity, name=name, is_read_only=is_read_only, read_only=read_only, hidden=hidden)
        return self

    def register_router(self, router: APIRouter) -> Self:
        """Add routes of the application's own; each declares ``dependencies=[requires(Permission...)]``."""
        self.definitions.routers.append(router)
        return self

    def register_model_factory(self, name: str, factory: Callable[..., Any]) -> Self:
        """Make models by ``factory(settings)``: for the key ``name``, or for each that names it as its provider."""
        self.definitions.add_model_factory(name, factory)
        return self

    def register_scan(self, scan: Scan) -> Self:
        """Have ``await scan(file, chunks)`` look at each new file: ``None`` if it is clean, else what it found.

        Until it has, the file is in quarantine, where nobody reads it; what it refuses stays there.
        """
        self.definitions.scan = scan
        return self

    def on_start(self, function: Callable[[Installation], Awaitable[None]]) -> Self:
        """Await ``function(services)`` at each start, when all tables exist and before any run is advanced.

        Every process that starts awaits it, so it must not mind being done twice.
        """
        self.definitions.on_start.append(function)
        return self

    # How it is configured. ----------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The configuration, read at first use."""
        if self._settings is None:
            self._settings = load_settings(env=self.env, config=self.config, app_folder=self.folder)
        return self._settings

    def configure(self, settings: Settings) -> Self:
        """Use ``settings`` in place of a file; for whoever starts the process.

        Raises:
            WrongContext: other settings have been read already.
        """
        if self._settings not in (None, settings):
            raise WrongContext("the configuration of this application has been read already and cannot change any more")
        self._settings = settings
        return self

    # Its tables. --------------------------------------------------------------------------------------------------

    async def upgrade_tables(self) -> list[str]:
        """Migrate the toolkit's tables and the application's, or make the latter where there are no migrations.

        Returns what was done, a sentence each.
        """
        from toolkit.app.entity_tables import upgrade_tables

        return await upgrade_tables(self.settings, self.definitions)

    async def find_table_differences(self) -> list[str]:
        """How the database differs from what the code declares, a sentence each."""
        from toolkit.app.entity_tables import find_table_differences

        return await find_table_differences(self.settings, self.definitions)

    async def write_revision(self, message: str) -> Path | None:
        """Write the migration from the last revision to the entities of today; ``None`` if nothing changed.

        Raises:
            StorageError: the database is behind the last revision.
        """
        from toolkit.app.entity_tables import line_of
        from toolkit.storage import migrations

        line = line_of(self.folder, self.definitions.entities.values())
        url = self.settings.database.url.get_secret_value()
        return await migrations.write_revision(url, line, message=message)

    # Its live runs. -------------------------------------------------------------------------------------------------

    async def check_live_runs(self) -> list[Replay]:
        """Replay every run that has not ended against this code, touching none; oldest first.

        Raises:
            StorageError: the database cannot be used as it is.
        """
        from toolkit.app.installation import Installation
        from toolkit.workflows import check_live_runs

        if (path := self.settings.sqlite_path) is not None and not path.exists():
            raise StorageError(f"there is no database {str(path)!r}, so there are no runs to check")
        async with Installation(self.settings, self.definitions, is_worker=False).looking() as installation:
            return [replay async for replay in check_live_runs(installation.engine)]

    # How it runs. -------------------------------------------------------------------------------------------------

    @property
    def services(self) -> Installation:
        """The rooms of the running installation.

        Raises:
            WrongContext: the application is not running.
        """
        if self._installation is None:
            raise WrongContext(
                f"{self.title!r} is not running; use it inside `async with app.running():`, or let a server run its "
                "lifespan (in an existing FastAPI application: app.mount_in(parent))"
            )
        return self._installation

    @asynccontextmanager
    async def running(
        self,
        *,
        settings: Settings | None = None,
        with_worker: bool = True,
        database: Database | None = None,
        runtime: Runtime | None = None,
    ) -> AsyncIterator[Self]:
        """Run the installation for the length of the block; ``settings`` hold for this time only, as in a test.

        ``with_worker=False`` leaves the runs to other processes. ``database`` and ``runtime`` stand in for what is
        configured and for the machine's time: ``toolkit.testing.running_app`` hands them in.

        Raises:
            ConfigurationError: the configuration is wrong, or unsafe for ``prod``.
            StorageError: the database cannot be used.
        """
        world: dict[str, Any] = {"database": database, "runtime": runtime}
        async with self._opened(
            settings or self.settings, serves=True, with_worker=with_worker, **world
        ) as installation:
            from toolkit.app.web import web_application

            self._web = web_application(self, installation)
            try:
                yield self
            finally:
                self._web = None

    @asynccontextmanager
    async def working(self, *, settings: Settings | None = None) -> AsyncIterator[Self]:
        """Like :meth:`running`, for a process that advances runs and answers no request."""
        async with self._opened(settings or self.settings, serves=False, with_worker=True):
            yield self

    @asynccontextmanager
    async def _opened(
        self, settings: Settings, *, serves: bool, with_worker: bool, **world: Any
    ) -> AsyncIterator[Installation]:
        from toolkit.app.installation import Installation
        from toolkit.app.safety import refuse_unsafe

        if self._installation is not None:
            raise WrongContext(f"{self.title!r} is running already; one object is one installation at a time")
        refuse_unsafe(settings, serves=serves)
        installation = Installation(settings, self.definitions, is_worker=with_worker, **world)
        await installation.open()
        self._installation = installation
        try:
            yield installation
        finally:
            self._installation = None
            await installation.close()

    async def start(self, workflow: Workflow[..., R], /, *args: Any, **kwargs: Any) -> RunHandle[R]:
        """Start a run of ``workflow`` in this installation, from anywhere in the process.

        With an ``idempotency_key`` the same run comes back however often it is started. It, ``started_by`` and
        ``priority`` are as for :meth:`Engine.start`: a parameter of the workflow with such a name comes first.

        Raises:
            WrongContext: the application is not running.
            NotFound: the workflow is not registered here.
            Conflict: the key started a run with other arguments.
        """
        return await self.services.engine.start(workflow, *args, **kwargs)

    def run_standalone(self, work: Callable[[], Awaitable[T]], *, settings: Settings | None = None) -> T:
        """Open the installation, await ``work()`` and close it again: for a script, outside of any event loop.

        Runs that it starts are advanced by other processes, or at the next start.
        """

        async def run() -> T:
            async with self._opened(settings or self.settings, serves=False, with_worker=False):
                return await work()

        return asyncio.run(run())

    def session(self, *, is_read_only: bool = False) -> AbstractAsyncContextManager[AsyncSession]:
        """A database session outside of steps: it commits when the block ends, and rolls back on an error.

        Await nothing slow inside: on SQLite everybody else's writes wait for it. One that ``is_read_only`` holds nobody
        up, and refuses to write.
        """
        if is_read_only:
            from toolkit.entities import read_session

            return read_session(self.services.database)
        return self.services.database.session()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or one lifespan, as ASGI has it."""
        from toolkit.app.web import serve_lifespan

        if scope["type"] == "lifespan":
            await serve_lifespan(self, receive, send)
            return
        self.services  # noqa: B018 - says what to do when nothing runs
        assert self._web is not None, "a worker answers no requests"
        await self._web(scope, receive, send)

    def mount_in(self, parent: FastAPI, *, path: str = "/process") -> Self:
        """Serve under ``path`` of an existing FastAPI application, and run for as long as that one does."""
        from toolkit.app.web import join_lifespan

        parent.mount(path, self)
        join_lifespan(parent, self)
        return self


def _folder_of_caller() -> Path:
    """The folder of the module that makes a Toolkit; the current one where there is no file, as in a shell."""
    file = sys._getframe(2).f_globals.get("__file__")  # noqa: SLF001 - the only way to know
    return Path(file).resolve().parent if file else Path.cwd()
