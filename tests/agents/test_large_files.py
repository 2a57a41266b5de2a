"""Promise: a large file costs no large row: it is a reference in the journal and in the history, and bytes to the model."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import respx

from tests.agents.openai_http import RESPONSES_URL, responses_answer, responses_call, sent
from tests.agents.runs import Cut, Runs
from toolkit.agents import Agent, History, ModelRegistry
from toolkit.agents.tables import AgentHistoryRow
from toolkit.errors import NotFound
from toolkit.files import File, FileStorages, FileStore, using
from toolkit.storage import Database

MEGABYTE = 1_000_000
LARGEST_ROW = 16 * 1024


def note(text: str) -> str:
    """Note something down."""
    return text


READER: Agent[str] = Agent(
    "reader", model="responses", system_prompt="You read invoices.", tools=[note], keep_history=True
)
ASKER: Agent[str] = Agent("asker", model="responses", keep_history=True)


@pytest.fixture
async def runs(
    database: Database, registry: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Runs]:
    storages = FileStorages.from_configuration({"default": "file://./files"}, base_folder=tmp_path)
    with using(FileStore(database, storages)):
        async with Runs(database, registry).open(monkeypatch) as runs:
            yield runs


async def test_ten_megabytes_through_three_requests_leave_small_rows(openai: respx.MockRouter, runs: Runs) -> None:
    calls = [responses_answer(calls=[responses_call("note", {"text": text}, id=text)]) for text in ("a", "b")]
    route = openai.post(RESPONSES_URL).mock(
        side_effect=[*calls, responses_answer("It says 12."), responses_answer("Twelve.")]
    )
    content = b"%PDF-1.7 " + os.urandom(10 * MEGABYTE)
    file = await File.upload(content=content, filename="scan.pdf")
    encoded = base64.b64encode(content).decode()

    await runs.cut_off(Cut("after", "model:1"), READER, file)
    result = await runs.go_on()

    assert result.output == "It says 12."
    assert route.call_count == 3
    assert all(encoded in str(sent(route, number)["input"]) for number in range(3))
    for step in (await runs.steps()).values():
        size = sum(len(text or "") for text in (step.arguments, step.result, step.details))
        assert size < LARGEST_ROW, (step.path, size)
    assert isinstance(result.history, History)
    async with runs.database.session() as session:
        row = await session.get(AgentHistoryRow, result.history.id)
    assert row is not None
    assert len(row.messages) < LARGEST_ROW
    assert file.sha256 in row.messages

    further = await runs.call(ASKER, "In words?", history=result.history)

    assert further.output == "Twelve."
    assert route.call_count == 4
    heard = str(sent(route, 3)["input"])
    assert encoded in heard  # the model sees the document again
    assert "It says 12." in heard
    assert heard.index("It says 12.") < heard.index("In words?")
    assert further.usage.requests == 1  # what was paid before is not counted again
    assert further.history.messages == result.history.messages + 2
    async with runs.database.session() as session:
        row = await session.get(AgentHistoryRow, further.history.id)
    assert row is not None
    assert len(row.messages) < LARGEST_ROW


async def test_a_history_that_is_not_there_is_an_error(runs: Runs) -> None:
    with pytest.raises(NotFound, match="history"):
        await runs.call(ASKER, "?", history=History(id="none", agent="asker", messages=2))
