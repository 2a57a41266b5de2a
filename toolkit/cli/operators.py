"""What every command of an operator needs: the engine of an application, and a line in the audit trail."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from toolkit.workflows import Engine

T = TypeVar("T")


def with_engine(work: Callable[[Engine], Awaitable[T]], *, app: str, config: Path | None, env: Any) -> T:
    """What ``work`` gives with the engine of an application that advances no run here."""
    from toolkit.cli.targets import load_application
    from toolkit.config import load_settings

    application = load_application(app)
    application.configure(load_settings(env=env, config=config or application.config, app_folder=application.folder))
    return application.run_standalone(lambda: work(application.services.engine))


async def record(engine: Engine, action: str, *, object_kind: str, object_id: str, **details: Any) -> None:
    """Note in the audit trail what whoever is logged in here has done; ``details`` that are ``None`` are left out."""
    from toolkit.access import Principal, acting_as, audit_change

    with acting_as(Principal(id=getpass.getuser(), kind="person")):
        await audit_change(engine.database, action=action, object_kind=object_kind, object_id=object_id, **details)
