"""With a codec everything ends as without one, and nothing of it can be read in the database or in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.payloads.codecs import EncryptedPayloads
from tests.payloads.dumps import cells_of, checkpoint, files_with, places_of
from tests.payloads.shop import SECRET, Order, Verdict, broken, make_app, sell, ship, within_budget, wrap
from tests.workflows.conftest import until, until_state
from toolkit import Toolkit
from toolkit.access import Principal, acting_as
from toolkit.agents import Case
from toolkit.config import Settings
from toolkit.errors import RunFailed
from toolkit.human import TaskState
from toolkit.storage import MARK, CompressedPayloads, PayloadCodec
from toolkit.workflows import RunState, start_in
from toolkit.workflows.replays import read_run, replay

ADA = Principal(id="ada", kind="person", permissions="*")
CODECS: dict[str, PayloadCodec | None] = {
    "plain": None,
    "encrypted": EncryptedPayloads(Fernet.generate_key()),
    "compressed": CompressedPayloads(above=64),
}
EXPECTED = {
    "copy": f"copy of {SECRET}",
    "told": {"text": SECRET},
    "wrapped": f"wrapped {SECRET}",
    "decided": {"approved": False, "reason": f"{SECRET} for 12"},
    "paid": {"by": SECRET},
    "reserved": f"none of {SECRET}",
    "answer": {"approved": True, "reason": f"{SECRET} is fine"},
}

ENCODED = {
    "toolkit_agent_case.expected",
    "toolkit_agent_case.input",
    "toolkit_agent_event.data",
    "toolkit_audit.details",
    "toolkit_event.payload",
    "toolkit_rule_case.expected",
    "toolkit_rule_case.input",
    "toolkit_run.error",
    "toolkit_run.input",
    "toolkit_run.progress",
    "toolkit_run.result",
    "toolkit_step.arguments",
    "toolkit_step.display_name",
    "toolkit_step.error",
    "toolkit_step.result",
    "toolkit_task.input",
    "toolkit_task.output",
    "toolkit_task.suggested_data",
    "toolkit_task_change.note",
    "toolkit_wait.arguments",
}


@pytest.fixture(autouse=True)
def nothing_broken() -> None:
    broken.clear()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    content: dict[str, Any] = {
        "database": {"url": database_url},
        "file_storage": {"default": {"url": "file://./files", "shared": True}},
    }
    return Settings.of(content, folder=tmp_path)


async def play(app_of: Any, settings: Settings) -> None:
    """The whole case, by two processes one after the other."""
    broken.add("stock")
    app: Toolkit = app_of()
    async with app.running(settings=settings):
        engine = app.services.engine
        async with app.session() as session:
            run = await start_in(session, sell, f"please send {SECRET}", engine=engine)
        await until_state(engine, run.id, RunState.SUSPENDED)
        await until(lambda: _waits_for(engine, run.id, "paid"))
        failed = await app.start(ship, Order(item=SECRET, amount=1))
        with pytest.raises(RunFailed):
            await failed.result()
    broken.clear()
    app = app_of()
    async with app.running(settings=settings):
        engine = app.services.engine
        retried = await engine.control.retry(failed.id)
        assert await engine.wait_for_completion(retried.run_id) == json.dumps(f"copy of {SECRET}, reserved {SECRET}")
        forked = await engine.control.fork(failed.id, input={"order": {"item": f"{SECRET}-2", "amount": 2}})
        assert f"reserved {SECRET}-2" in await engine.wait_for_completion(forked.run_id)
        given = await engine.control.fork(failed.id, from_step="reserve/0", results={"reserve/0": SECRET})
        assert SECRET in await engine.wait_for_completion(given.run_id)
        broken.add("stock")
        await engine.emit_event("paid", {"by": SECRET}, run_id=run.id)
        tasks = app.services.tasks
        await until(lambda: tasks.list(state=TaskState.OPEN))
        (task,) = await tasks.list(state=TaskState.OPEN)
        with acting_as(ADA):
            await tasks.comment(task.id, f"what is {SECRET}?")
            await tasks.save_draft(task.id, json.dumps({"reason": SECRET}))
            detail = await tasks.get(task.id)
            assert detail.input == {"item": SECRET, "amount": 12}
            assert [change.note for change in await tasks.history(task.id)][-1] == f"what is {SECRET}?"
            await tasks.complete(task.id, Verdict(approved=True, reason=f"{SECRET} is fine").model_dump_json())
            await app.services.rules.workbench.put_case(
                within_budget.name,
                "a",
                input=json.dumps({"item": SECRET, "amount": 1}),
                expected=json.dumps({"approved": True, "reason": f"{SECRET} for 1"}),
            )
            (agent,) = app.definitions.agents.values()
            case = Case(name="one", input=f"send {SECRET}", expected=Order(item=SECRET, amount=1))
            await app.services.agents.data_sets.put(agent, "orders", case)
        ended = json.loads(await engine.wait_for_completion(run.id))
        size = ended.pop("size")
        assert (ended, size > 300 * 1024) == (EXPECTED, True)
        assert (await engine.get_run(run.id)).progress == {"done": 1, "total": 2, "note": f"read {SECRET}"}
        (decision,) = await app.services.rules.workbench.decisions(within_budget.name)
        assert decision.run_id == run.id
        assert (await replay(await read_run(engine, run.id), sell, engine=engine)).verdict == "goes on"
        for child in await engine.list_runs():
            if child.workflow == wrap.name:
                assert await engine.wait_for_completion(child.id) == json.dumps(f"wrapped {SECRET}")


async def _waits_for(engine: Any, run_id: str, name: str) -> bool:
    return any(wait.name == name for wait in (await engine.get_run(run_id)).waits)


@pytest.mark.parametrize("kind", CODECS)
async def test_a_whole_case_ends_as_without_a_codec(kind: str, settings: Settings) -> None:
    await play(lambda: make_app(CODECS[kind]), settings)


async def test_nothing_of_a_case_can_be_read_in_the_database_or_in_the_files(
    settings: Settings, database_url: str, tmp_path: Path
) -> None:
    codec = EncryptedPayloads(Fernet.generate_key())

    await play(lambda: make_app(codec), settings)

    assert await places_of(database_url, SECRET) == set()
    if database_url.startswith("sqlite"):
        checkpoint(database_url)
    assert files_with(SECRET, tmp_path) == []


async def test_without_a_codec_all_of_it_can_be_read_which_is_what_the_other_test_looks_for(
    settings: Settings, database_url: str, tmp_path: Path
) -> None:
    await play(make_app, settings)

    plain = await places_of(database_url, SECRET)
    assert plain == ENCODED
    assert files_with(SECRET, tmp_path / "files/values") != []
    assert not any(text.startswith(MARK) for texts in (await cells_of(database_url)).values() for text in texts)
