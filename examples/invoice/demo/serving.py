"""The application on a free port of this machine, with its data in a folder of the demo's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from examples.invoice.main import app
from toolkit.config import Settings, load_settings

FOLDER = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Served:
    """Where the application answers; ``stopped`` is done when a signal has ended it."""

    address: str
    stopped: asyncio.Task[None]


def settings_for(data: Path, *, is_live: bool) -> Settings:
    """The example's configuration with database and files under ``data``.

    The model is the offline one whatever keys the environment holds, unless ``is_live``.

    Raises:
        ConfigurationError: live, and the configuration names a variable that is not set.
    """
    settings = load_settings(env="dev", config=FOLDER / ("toolkit.live.yaml" if is_live else "toolkit.yaml"))
    kept = Settings.of(
        {"database": {"url": f"sqlite:///{data / 'demo.db'}"}, "file_storage": {"default": str(data / "files")}},
        folder=data,
    )
    return settings.model_copy(update={"database": kept.database, "file_storage": kept.file_storage})


@asynccontextmanager
async def serving(settings: Settings, *, port: int = 0) -> AsyncIterator[Served]:
    """Serve the application on 127.0.0.1 for the length of the block. Port 0 takes any that is free."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        async with app.running(settings=settings):
            server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
            stopped = asyncio.create_task(server.serve([listener]))
            try:
                yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", stopped)
            finally:
                server.should_exit = True
                await stopped
