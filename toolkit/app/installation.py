"""One running installation: the rooms with what each needs of the others, opened and closed in order."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from toolkit.app.authentication import authenticator_of
from toolkit.app.correspondence import courier_of, load_directory
from toolkit.app.entity_tables import open_database, prepare_tables
from toolkit.app.file_references import references_in, stubs_in
from toolkit.config import Settings

if TYPE_CHECKING:
    from toolkit.access import Authenticator
    from toolkit.agents import AgentService, ModelRegistry
    from toolkit.app.definitions import Definitions
    from toolkit.entities import EntityService
    from toolkit.files import FileStore, LargeValues
    from toolkit.human import Courier, TaskService, TaskWatch
    from toolkit.rules import RuleService
    from toolkit.storage import Database
    from toolkit.workflows import Engine, Runtime

logger = logging.getLogger(__name__)


class Installation:
    """The services of one application on one database. Made and used on one event loop.

    ``is_worker`` false leaves the runs to other processes.
    """

    settings: Settings
    database: Database
    files: FileStore
    values: LargeValues
    rules: RuleService
    models: ModelRegistry
    agents: AgentService
    engine: Engine
    tasks: TaskService
    watch: TaskWatch
    courier: Courier | None
    entities: EntityService | None
    """``None`` where the application has none."""
    authenticator: Authenticator

    def __init__(
        self,
        settings: Settings,
        definitions: Definitions,
        *,
        is_worker: bool = True,
        database: Database | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        """``database`` and ``runtime`` stand in for the configured database and for the machine's time, in a test."""
        from toolkit.agents import AGENT_WORKFLOWS, AgentService, ModelRegistry, People
        from toolkit.app.people import ask_person, with_tasks_of_agents
        from toolkit.files import (
            FileLimits,
            FileStorages,
            FileStore,
            FileSweeper,
            LargeValues,
            RetentionRule,
            Route,
        )
        from toolkit.human import TaskService, TaskWatch, close_tasks
        from toolkit.rules import RULE_WORKFLOWS, RuleService
        from toolkit.storage import Database
        from toolkit.workflows import Engine, EngineOptions

        self.settings = settings
        self._definitions = definitions
        self.authenticator = authenticator_of(settings)
        self.database = database or Database(
            settings.database.url.get_secret_value(),
            synchronous="FULL" if settings.database.synchronous == "full" else "NORMAL",
        )
        if definitions.payload_codec is not None:
            self.database.use_codec(definitions.payload_codec)
        self.files = FileStore(
            self.database,
            FileStorages.from_configuration(
                {
                    name: {
                        "url": storage.url.get_secret_value(),
                        "options": storage.options,
                        "redirect": storage.redirect,
                        "shared": storage.shared,
                    }
                    for name, storage in settings.file_storage.items()
                },
                base_folder=settings.folder,
                routes=[Route(**route.model_dump()) for route in settings.files.routes],
            ),
            limits=FileLimits(
                max_bytes=settings.limits.upload_bytes,
                max_files=settings.limits.upload_files,
                content_types=settings.files.content_types,
            ),
            references=references_in(definitions.entities.values()),
            scan=definitions.scan,
            stores_once=settings.files.store_once,
        )
        self.values = LargeValues(
            self.files.storages,
            clock=self.database.clock,
            inline_bytes=settings.files.inline_bytes,
            payloads=self.database.payloads,
        )
        self.sweeper = FileSweeper(
            self.database,
            self.files,
            every=timedelta(seconds=settings.files.sweep_seconds),
            orphans_after=timedelta(seconds=settings.files.orphan_seconds),
            values=self.values,
            stubs_of=stubs_in(self.database),
            retention=[
                RetentionRule(
                    keep=None if rule.days is None else timedelta(days=rule.days),
                    **rule.model_dump(exclude={"days"}),
                )
                for rule in settings.files.retention
            ],
        )
        self._is_worker = is_worker
        self.models = ModelRegistry(settings.ai_models)
        for name, factory in definitions.model_factories.items():
            self.models.register_model_factory(name, factory)
        self.agents = AgentService(self.database, definitions.agents.values(), models=self.models)
        self.rules = RuleService(
            self.database,
            definitions.rules.values(),
            evaluation_seconds=settings.rules.evaluation_seconds,
            allows_functions=settings.rules.function_nodes,
        )
        self.engine = Engine(
            self.database,
            runtime=runtime,
            workflows=[
                *definitions.workflows.values(),
                *(AGENT_WORKFLOWS if definitions.agents else ()),
                *(RULE_WORKFLOWS if definitions.rules else ()),
            ],
            options=EngineOptions(
                lease_seconds=settings.worker.lease_seconds,
                poll_seconds=settings.worker.poll_seconds,
                concurrency=settings.worker.concurrency,
                warm_bytes=settings.worker.warm_cache_mb * 1_000_000,
                max_losses=settings.worker.max_recoveries,
                drain_seconds=settings.worker.drain_seconds,
                is_worker=is_worker,
                replays_finished=settings.env == "dev",
            ),
        )
        for schedule in definitions.schedules.values():
            self.engine.register_schedule(schedule)
        self.engine.closers["human"] = close_tasks
        self.engine.large_values = self.values
        humans = with_tasks_of_agents(definitions.humans, definitions.agents)
        self.tasks = TaskService(
            database=self.database,
            humans=humans,
            engine=self.engine,
            is_telling=bool(settings.notifications.channels),
            managers_explain=settings.authenticator != "dev",
        )
        self.watch = TaskWatch(self.tasks, self.database, poll_seconds=settings.worker.poll_seconds)
        self.courier = courier_of(settings, self.tasks, self.database)
        rooms = (self.files, self.values, self.models, self.agents, self.rules, self.tasks)
        for service in (settings, self.database, *rooms):
            self.engine.resources[type(service)] = service
        self.entities = None
        if definitions.registrations:
            from toolkit.entities import EntityService, Triggers

            self.entities = EntityService(self.database, definitions.registrations.values())
            self.engine.resources[EntityService] = self.entities
            self.engine.resources[Triggers] = Triggers(definitions.workflows.values())
        self.engine.resources[People] = People(ask_person)
        self._is_worker = is_worker
        self._stack = AsyncExitStack()

    async def open(self) -> Self:
        """Connect, make what tables are missing, and begin to advance runs.

        Raises:
            ConfigurationError: an agent's model is not configured.
            StorageError: the database cannot be used.
        """
        for agent in self._definitions.agents.values():
            self.models.check(agent)
        if self._is_worker:
            # A model's libraries take seconds to load: a process that is ready has them, and no run waits first.
            for agent in self._definitions.agents.values():
                await self.models.load(agent.model)
        async with AsyncExitStack() as stack:
            upgrades = self.settings.env == "dev"
            await open_database(self.database, upgrades=upgrades)
            stack.push_async_callback(self.database.close)
            await prepare_tables(
                self.database,
                self._definitions.entities.values(),
                folder=self._definitions.folder,
                upgrades=upgrades,
            )
            stack.push_async_callback(self.models.close)
            stack.push_async_callback(self.agents.close)
            await self.rules.open()
            stack.push_async_callback(self.rules.close)
            # Tasks inherit their context: what is started from here on knows where files and runs are.
            stack.enter_context(self.current())
            for function in self._definitions.on_start:
                await function(self)
            stack.push_async_callback(self.engine.close)
            await self.engine.open()
            if self._is_worker:
                stack.push_async_callback(self.sweeper.close)
                await self.sweeper.open()
            await load_directory(self.settings, self.tasks.directory)
            for service in (self.watch, self.courier):
                if service is not None:
                    stack.push_async_callback(service.close)
                    await service.open()
            self._stack = stack.pop_all()
        logger.info("The installation is open", extra={"event": "installation.opened", **self._summary()})
        return self

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this the installation that files, resources and ``workflow.start`` belong to within the block."""
        from toolkit.files import using
        from toolkit.workflows import using_engine

        with using(self.files), using_engine(self.engine):
            yield

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[Self]:
        """Only look, for the length of the block: nothing is made, advanced, swept or sent."""
        await open_database(self.database, upgrades=False)
        try:
            await self.rules.open()
            try:
                with self.current():
                    yield self
            finally:
                await self.rules.close()
                await self.models.close()
        finally:
            await self.database.close()

    async def close(self) -> None:
        """Stop advancing runs and let go of everything, in reverse order."""
        await self._stack.aclose()
        logger.info("The installation is closed", extra={"event": "installation.closed"})

    def _summary(self) -> dict[str, Any]:
        made = self._definitions
        return {
            "env": self.settings.env,
            "database": self.database.dialect,
            "workflows": len(made.workflows),
            "agents": len(made.agents),
            "rules": len(made.rules),
            "human_tasks": len(made.humans),
        }
