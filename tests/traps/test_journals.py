"""What makes a step a step, what its record holds, and what a look at runs reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import RunFailed
from toolkit.storage import Query, Row, Script
from toolkit.testing import VirtualClock, running_process
from toolkit.workflows import gather, step, wait_for_event, workflow

TOOLKIT = Path(__file__).parents[2] / "toolkit"
performed: list[str] = []


@pytest.fixture(autouse=True)
def nothing_performed() -> None:
    performed.clear()


@step()
async def roll(sides: int) -> int:
    performed.append(f"roll {sides}")
    return len(performed)


@step()
async def forget() -> None:
    performed.append("forget")


@workflow(name="play")
async def play() -> list[int]:
    first = await roll(6)
    await forget()
    await wait_for_event("go")
    return [first, await roll(6)]


@workflow(name="play")
async def play_rewritten() -> list[int]:
    """The same steps, said in other words; a docstring, other names, and a loop."""
    thrown: list[int] = []
    for at in range(2):
        thrown += [await roll(sides=6)]
        if at == 0:
            await forget()
            await wait_for_event("go")
    return thrown


async def test_version_as_a_hash_of_source(database_url: str) -> None:
    """A run goes on with code that was rewritten, as long as it asks for the same steps."""
    clock = VirtualClock()
    async with running_process(database_url, play, clock=clock) as old:
        run = await old.start(play)
        await old.settle()
    async with running_process(database_url, play_rewritten, clock=clock) as new:
        await new.engine.emit_event("go")
        assert (await new.finish(run.id)).result == "[1,3]"


@workflow()
async def roll_the_same() -> list[int]:
    return [await roll(6), await roll(6), *await gather(roll(6), roll(6))]


async def test_step_key_from_arguments(database_url: str) -> None:
    """Equal calls are different steps: each is performed, and each has a record of its own."""
    async with running_process(database_url, roll_the_same) as process:
        run = await process.start(roll_the_same)
        rolled = await process.result(run)
        assert sorted(rolled) == [1, 2, 3, 4]
        paths = {step.path for step in await process.engine.list_steps(run.id)}
        assert paths == {"roll/0", "roll/1", "gather.0/0/roll/0", "gather.0/1/roll/0"}


async def test_null_read_as_not_done(database_url: str) -> None:
    """A step that returns nothing has been performed."""
    clock = VirtualClock()
    async with running_process(database_url, play, clock=clock) as first:
        run = await first.start(play)
        await first.settle()
    async with running_process(database_url, play, clock=clock) as second:
        await second.engine.emit_event("go")
        await second.finish(run.id)
    assert performed == ["roll 6", "forget", "roll 6"]


class Opaque:
    """Has no JSON form."""


@step()
async def return_an_object() -> Any:
    return Opaque()


@workflow()
async def keep_an_object() -> None:
    await return_an_object()


async def test_pickle(database_url: str) -> None:
    """What has no JSON form is refused at once; nothing in the toolkit could load anything else."""
    async with running_process(database_url, keep_an_object) as process:
        with pytest.raises(RunFailed, match="cannot be stored"):
            await process.result(await process.start(keep_an_object))

    importing = re.compile(
        r"^\s*(import|from)\s+(pickle|cPickle|marshal|dill|cloudpickle|shelve|joblib|jsonpickle)\b", re.MULTILINE
    )
    assert [path for path in TOOLKIT.rglob("*.py") if importing.search(path.read_text(encoding="utf-8"))] == []


class _Notebook:
    """Stands in for a reader and notes what is asked."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.asked: list[str] = []

    async def run(self, script: Script[Any], *, in_own_task: bool = True) -> Any:
        return await self.inner.run(script)

    async def read(self, query: Query) -> Sequence[Row]:
        if query.statement.name == "list runs":
            self.asked.append(query.statement.postgresql)
        return await self.inner.read(query)  # type: ignore[no-any-return]

    async def close(self) -> None:
        await self.inner.close()


async def test_lists_that_read_payloads(database_url: str) -> None:
    """A list of runs names its columns, and no payload is among them."""
    async with running_process(database_url, play) as process:
        await process.start(play)
        await process.settle()
        notebook = _Notebook(process.database.reader)
        process.database._reader = notebook
        (summary,) = await process.engine.list_runs()

    (asked,) = notebook.asked
    columns = {column.strip() for column in asked.split("FROM")[0].removeprefix("SELECT ").split(",")}
    assert columns.isdisjoint({"*", "input", "result", "error", "arguments", "progress"})
    assert not hasattr(summary, "input")
