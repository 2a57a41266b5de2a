"""What every command of an operator needs: who it is, an engine, a line in the audit trail, lines for a terminal."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from toolkit.workflows import Engine

T = TypeVar("T")

# What a terminal would obey: stored texts may come from anybody's document.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def account() -> str:
    """The account that this process runs under, which the environment cannot say otherwise."""
    if sys.platform == "win32":
        return getpass.getuser()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have a number and no name
        return f"uid:{os.getuid()}"


def printable(text: str) -> str:
    """``text`` with control characters as escapes; line breaks and tabulators stay."""
    return text.translate(_CONTROLS)


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

    with acting_as(Principal(id=account(), kind="person")):
        await audit_change(engine.database, action=action, object_kind=object_kind, object_id=object_id, **details)
