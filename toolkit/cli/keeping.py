"""``toolkit files``: what an operator does with stored files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.targets import load_application
from toolkit.config import load_settings

if TYPE_CHECKING:
    from toolkit.app import Toolkit
    from toolkit.config import Environment


def verify(target: str, *, env: Environment, config: Path | None) -> list[str]:
    """The files that are damaged or missing, a sentence each."""
    app = _configured(target, env=env, config=config)

    async def work() -> list[str]:
        return [
            f"{found.file.id} {found.file.filename!r}: {found.reason}" async for found in app.services.files.verify()
        ]

    return app.run_standalone(work)


def migrate(target: str, *, source: str, target_storage: str, env: Environment, config: Path | None) -> int:
    """Move all files of one storage to another; how many there were."""
    app = _configured(target, env=env, config=config)

    async def work() -> int:
        return await app.services.files.migrate(source=source, target=target_storage)

    return app.run_standalone(work)


def _configured(target: str, *, env: Environment, config: Path | None) -> Toolkit:
    app = load_application(target)
    return app.configure(load_settings(env=env, config=config or app.config, app_folder=app.folder))
