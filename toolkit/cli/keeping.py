"""``toolkit files``: what an operator does with stored files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.operators import account
from toolkit.cli.targets import load_application
from toolkit.config import load_settings

if TYPE_CHECKING:
    from toolkit.app import Toolkit
    from toolkit.config import Environment


def verify(target: str, *, env: Environment, config: Path | None) -> list[str]:
    """The files that are damaged or missing, a sentence each."""
    from toolkit.files import verify_files

    app = _configured(target, env=env, config=config)

    async def work() -> list[str]:
        damages = verify_files(app.services.files)
        return [f"{damage.file.id} {damage.file.filename!r}: {damage.reason}" async for damage in damages]

    return app.run_standalone(work)


def migrate(target: str, *, source: str, target_storage: str, env: Environment, config: Path | None) -> int:
    """Move all files of one storage to another; how many there were."""
    from toolkit.files import migrate_files

    app = _configured(target, env=env, config=config)

    async def work() -> int:
        return await migrate_files(app.services.files, source=source, target=target_storage)

    return app.run_standalone(work)


def release(target: str, *, file_id: str, reason: str, env: Environment, config: Path | None) -> str:
    """Let a file out of quarantine; its name."""
    from toolkit.access import Principal, acting_as
    from toolkit.files import release as release_file

    app = _configured(target, env=env, config=config)

    async def work() -> str:
        with acting_as(Principal(id=f"operator:{account()}", kind="service")):
            return (await release_file(app.services.files, file_id, reason=reason)).filename

    return app.run_standalone(work)


def _configured(target: str, *, env: Environment, config: Path | None) -> Toolkit:
    app = load_application(target)
    return app.configure(load_settings(env=env, config=config or app.config, app_folder=app.folder))
