"""``toolkit db``: the tables of an installation, brought to what its code needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.targets import load_application
from toolkit.config import load_settings

if TYPE_CHECKING:
    from toolkit.app import Toolkit
    from toolkit.config import Environment


def upgrade(target: str, *, env: Environment, config: Path | None) -> list[str]:
    """Migrate the database of the application that ``target`` names; says what was done, a line each."""
    return asyncio.run(_configured(target, env=env, config=config).upgrade_tables())


def revise(target: str, *, message: str, env: Environment, config: Path | None) -> Path | None:
    """Write the application's next revision; ``None`` if its tables are what the last one makes."""
    return asyncio.run(_configured(target, env=env, config=config).write_revision(message))


def check(target: str, *, env: Environment, config: Path | None) -> list[str]:
    """How the database differs from what the code declares, a sentence each."""
    return asyncio.run(_configured(target, env=env, config=config).find_table_differences())


def _configured(target: str, *, env: Environment, config: Path | None) -> Toolkit:
    app = load_application(target)
    return app.configure(load_settings(env=env, config=config or app.config, app_folder=app.folder))
