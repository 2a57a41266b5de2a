"""What the routes need of one installation; whoever builds the application hands it over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Header
from pydantic import AfterValidator
from starlette.requests import Request

from toolkit.workflows import check_idempotency_key

if TYPE_CHECKING:
    from toolkit.access import Authenticator
    from toolkit.agents import AgentService
    from toolkit.entities import EntityService
    from toolkit.files import FileStore
    from toolkit.human import TaskService
    from toolkit.rules import RuleService
    from toolkit.storage import Database
    from toolkit.workflows import Engine

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Services:
    """The rooms of one installation, and how its API behaves. Sizes are bytes."""

    engine: Engine
    files: FileStore
    rules: RuleService
    agents: AgentService
    tasks: TaskService
    database: Database
    authenticator: Authenticator
    entities: EntityService | None = None
    allowed_hosts: Sequence[str] = ("localhost", "127.0.0.1", "::1")
    allowed_origins: Sequence[str] = ()
    title: str = "Process Toolkit"
    description: str = ""
    version: str = "0.1.0"
    request_bytes: int = MEBIBYTE
    graph_bytes: int = 2 * MEBIBYTE
    upload_bytes: int = 25 * MEBIBYTE


def _services_of(request: Request) -> Services:
    return cast("Services", request.app.state.services)


Installation = Annotated[Services, Depends(_services_of)]

IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="The same key does it once, however often it is sent."),
]
"""The header of requests that begin something; a client that has not heard the answer sends it again."""

RunKey = Annotated[IdempotencyKey, AfterValidator(check_idempotency_key)]
"""The same for a run, whose keys stand beside the toolkit's own."""
