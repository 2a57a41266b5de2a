"""Histories: what was said in one call, kept so that a later one can go on from there.

A history is handed around as a small reference. What it stands for is one row, in which files are references too: their
bytes stay where they are stored, and are read (and checked by their SHA-256) when a model is asked again.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from toolkit.errors import NotFound
from toolkit.files import File
from toolkit.workflows import current_engine, step_context

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage

_FILE = "toolkit_file"


class History(BaseModel):
    """A conversation that a later call may go on with; see ``keep_history`` of :class:`~toolkit.agents.Agent`."""

    model_config = ConfigDict(frozen=True)

    id: str
    agent: str
    messages: int
    """How many there are."""


async def keep_history(agent: str, messages: list[ModelMessage], files: Iterable[File]) -> str:
    """Inside a checkpoint: store ``messages`` in its commit, and return the reference as JSON."""
    from toolkit.agents.tables import AgentHistoryRow
    from toolkit.workflows import get_session

    step, engine = step_context(), current_engine()
    assert step is not None  # the body of a checkpoint
    assert engine is not None
    history = History(id=engine.new_id(), agent=agent, messages=len(messages))
    get_session().add(
        AgentHistoryRow(
            id=history.id,
            agent=agent,
            run_id=step.run_id,
            step=step.path,
            messages=without_bytes(messages, files),
            created_at=engine.runtime.clock.now(),
        )
    )
    return history.model_dump_json()


async def recall_history(history: History) -> tuple[list[ModelMessage], list[File]]:
    """The messages of ``history`` with the bytes of its files, and those files.

    Raises:
        NotFound: it is not in this installation's database.
    """
    from toolkit.agents.tables import AgentHistoryRow

    engine = current_engine()
    if engine is None:
        raise NotFound("history", history.id)
    async with engine.database.session() as session:
        row = await session.get(AgentHistoryRow, history.id)
    if row is None:
        raise NotFound("history", history.id)
    return await with_bytes(row.messages)


def without_bytes(messages: list[ModelMessage], files: Iterable[File]) -> str:
    """``messages`` as JSON, with a reference wherever the bytes of one of ``files`` stand."""
    from pydantic_ai.messages import ModelMessagesTypeAdapter

    by_digest = {file.sha256: file for file in files}

    def strip(value: Any) -> Any:
        if isinstance(value, list):
            return [strip(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("kind") == "binary" and isinstance(value.get("data"), str):
            content = base64.b64decode(value["data"].replace("-", "+").replace("_", "/"))
            file = by_digest.get(hashlib.sha256(content).hexdigest())
            if file is not None:
                return {**value, "data": "", _FILE: file.model_dump(mode="json")}
        return {name: strip(item) for name, item in value.items()}

    return json.dumps(strip(ModelMessagesTypeAdapter.dump_python(messages, mode="json")), ensure_ascii=True)


async def with_bytes(text: str) -> tuple[list[ModelMessage], list[File]]:
    """What :func:`without_bytes` made of messages, as they were, and the files in them."""
    from pydantic_ai.messages import ModelMessagesTypeAdapter

    files: list[File] = []

    async def fill(value: Any) -> Any:
        if isinstance(value, list):
            return [await fill(item) for item in value]
        if not isinstance(value, dict):
            return value
        if _FILE in value:
            files.append(File.model_validate(value[_FILE]))
            content = await files[-1].read()
            kept = {name: item for name, item in value.items() if name != _FILE}
            return {**kept, "data": base64.urlsafe_b64encode(content).decode()}
        return {name: await fill(item) for name, item in value.items()}

    return ModelMessagesTypeAdapter.validate_python(await fill(json.loads(text))), files
