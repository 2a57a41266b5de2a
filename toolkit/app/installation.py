"""One running installation: the rooms with what each needs of the others, opened and closed in order."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

from toolkit.app.authentication import authenticator_of
from toolkit.app.entity_tables import create_missing_tables
from toolkit.config import Settings

if TYPE_CHECKING:
    from toolkit.access import Authenticator
    from toolkit.agents import ModelRegistry
    from toolkit.app.definitions import Definitions
    from toolkit.files import FileStore
    from toolkit.human import TaskService
    from toolkit.rules import RuleService
    from toolkit.storage import Database
    from toolkit.workflows import Engine

logger = logging.getLogger(__name__)


class Installation:
    """The services of one application on one database. Made and used on one event loop.

    ``is_worker`` false leaves the runs to other processes.
    """

    settings: Settings
    database: Database
    files: FileStore
    rules: RuleService
    models: ModelRegistry
    engine: Engine
    tasks: TaskService
    authenticator: Authenticator

    def __init__(self, settings: Settings, definitions: Definitions, *, is_worker: bool = True) -> None:
        from toolkit.agents import ModelRegistry
        from toolkit.files import FileLimits, FileStorages, FileStore
        from toolkit.human import TaskService, close_tasks
        from toolkit.rules import RuleService
        from toolkit.storage import Database
        from toolkit.workflows import Engine, EngineOptions

        self.settings = settings
        self._definitions = definitions
        self.authenticator = authenticator_of(settings)
        self.database = Database(
            settings.database.url.get_secret_value(),
            synchronous="FULL" if settings.database.synchronous == "full" else "NORMAL",
        )
        self.files = FileStore(
            self.database,
            FileStorages.from_configuration(
                {
                    name: {"url": storage.url.get_secret_value(), "options": storage.options}
                    for name, storage in settings.file_storage.items()
                },
                base_folder=settings.folder,
            ),
            limits=FileLimits(max_bytes=settings.limits.upload_bytes),
        )
        self.models = ModelRegistry(settings.ai_models)
        for name, factory in definitions.model_factories.items():
            self.models.register_model_factory(name, factory)
        self.rules = RuleService(self.database, definitions.rules.values())
        self.engine = Engine(
            self.database,
            workflows=list(definitions.workflows.values()),
            options=EngineOptions(
                lease_seconds=settings.worker.lease_seconds,
                poll_seconds=settings.worker.poll_seconds,
                concurrency=settings.worker.concurrency,
                warm_bytes=settings.worker.warm_cache_mb * 1_000_000,
                max_losses=settings.worker.max_recoveries,
                drain_seconds=settings.worker.drain_seconds,
                is_worker=is_worker,
            ),
        )
        self.engine.closers["human"] = close_tasks
        self.tasks = TaskService(database=self.database, humans=definitions.humans, engine=self.engine)
        for service in (settings, self.database, self.files, self.models, self.rules, self.tasks):
            self.engine.resources[type(service)] = service
        self._stack = AsyncExitStack()

    async def open(self) -> Self:
        """Connect, make what tables are missing, and begin to advance runs.

        Raises:
            ConfigurationError: an agent's model is not configured.
            StorageError: the database cannot be used.
        """
        for agent in self._definitions.agents.values():
            self.models.check(agent)
        async with AsyncExitStack() as stack:
            await self.database.open()
            stack.push_async_callback(self.database.close)
            await create_missing_tables(self.database, self._definitions.entities.values())
            stack.push_async_callback(self.models.close)
            await self.rules.open()
            stack.push_async_callback(self.rules.close)
            # Tasks inherit their context: what is started from here on knows where files and runs are.
            stack.enter_context(self.current())
            for function in self._definitions.on_start:
                await function(self)
            stack.push_async_callback(self.engine.close)
            await self.engine.open()
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
