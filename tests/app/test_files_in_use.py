"""A file is kept while a live run, an open task or an entity needs it, and can go when they have ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel
from sqlmodel import Field

from toolkit import Toolkit
from toolkit.agents import Agent, History
from toolkit.config import Settings
from toolkit.entities import Entity, JsonOf
from toolkit.files import File
from toolkit.human import Human, Quorum
from toolkit.storage import CompressedPayloads, PayloadCodec
from toolkit.testing import ScriptedModel
from toolkit.workflows import RunState, step, wait_for_event, workflow


class Answer(BaseModel):
    approved: bool


class Paper(Entity, table=True):
    __tablename__ = "kept_paper"

    file: File | None = Field(default=None, sa_type=JsonOf(File))


look = Human("look_at_paper", title="Look", output_type=Answer)


@step()
async def derive() -> File:
    return await File.upload(content=b"derived", filename="derived.txt")


@workflow()
async def read_papers(given: File, shown: File) -> str:
    await derive()
    await wait_for_event("paper.read")
    return (await look(message="Please look", files=[shown])).output.model_dump_json()


class Caller:
    def __init__(self, app: Toolkit) -> None:
        self.transport = httpx2.ASGITransport(app=app)

    async def __call__(self, method: str, path: str, **more: Any) -> httpx2.Response:
        async with httpx2.AsyncClient(transport=self.transport, base_url="http://localhost") as client:
            return await client.request(method, f"/toolkit/v1{path}", **more)


async def until(look: Any) -> Any:
    """What ``look`` finds as soon as it finds something."""
    async with asyncio.timeout(20):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.01)


async def test_a_file_in_use_is_not_deleted(database_url: str, tmp_path: Path) -> None:
    app = Toolkit("Papers").register_workflow(read_papers).register_entity(Paper)
    settings = Settings.of({"database": {"url": database_url}}, folder=tmp_path)
    async with app.running(settings=settings):
        call = Caller(app)
        given, shown, filed, free = [
            await File.upload(content=name.encode(), filename=name) for name in ("given", "shown", "filed", "free")
        ]

        async def delete(file: File) -> tuple[int, list[str]]:
            response = await call("DELETE", f"/files/{file.id}")
            references = [] if response.status_code == 204 else response.json()["details"]["references"]
            return response.status_code, references

        async def open_tasks() -> list[dict[str, Any]]:
            return list((await call("GET", "/human-tasks?state=open")).json()["items"])

        run = await app.start(read_papers, given, shown)
        paper = (await call("POST", "/entities/paper", json={"file": {"id": filed.id}})).json()
        derived = (await until(lambda: app.services.files.list_files(filename="derived")))[0].reference()
        await until(lambda: app.services.engine.list_runs(state=RunState.SUSPENDED))

        assert await delete(free) == (204, [])
        assert await delete(given) == (409, [f"run {run.id}"])
        assert await delete(derived) == (409, [f"run {run.id}"])
        assert await delete(filed) == (409, [f"Paper {paper['id']}"])

        await app.services.engine.emit_event("paper.read")
        (task,) = await until(open_tasks)
        assert (await delete(shown))[1] == [f"run {run.id}", f"task {task['id']}"]

        await call("POST", f"/human-tasks/{task['id']}/complete", json={"output": {"approved": True}})
        await run.result()
        await call("DELETE", f"/entities/paper/{paper['id']}", headers={"if-match": "*"})
        assert [await delete(file) for file in (given, derived, shown, filed)] == [(204, [])] * 4


class Chosen(BaseModel):
    paper: File | None = None


choose = Human("choose_paper", title="Choose", output_type=Chosen, quorum=Quorum(needed=2, of=3))


@workflow()
async def choose_papers() -> str:
    await wait_for_event("papers.begin")
    event = await wait_for_event("papers.more")
    await choose(message="Please choose")
    return str(event)


@pytest.mark.parametrize("codec", [None, CompressedPayloads(above=1)])
async def test_what_is_on_its_way_to_a_run_or_filled_in_for_a_task_is_kept(
    database_url: str, tmp_path: Path, codec: PayloadCodec | None
) -> None:
    app = Toolkit("Choices", payload_codec=codec).register_workflow(choose_papers)
    settings = Settings.of({"database": {"url": database_url}}, folder=tmp_path)
    async with app.running(settings=settings):
        call, engine = Caller(app), app.services.engine
        sent, drafted, voted, for_any = [
            await File.upload(content=name.encode(), filename=name) for name in ("sent", "drafted", "voted", "any")
        ]

        async def references(file: File) -> list[str]:
            response = await call("DELETE", f"/files/{file.id}")
            return [] if response.status_code == 204 else list(response.json()["details"]["references"])

        async def open_tasks() -> list[dict[str, Any]]:
            return list((await call("GET", "/human-tasks?state=open")).json()["items"])

        run = await app.start(choose_papers)
        await until(lambda: engine.list_runs(state=RunState.SUSPENDED))
        await engine.emit_event("papers.more", {"paper": sent.id}, run_id=run.id)
        await engine.emit_event("papers.most", {"paper": for_any.id})
        assert await references(sent) == [f"run {run.id}"]
        assert await references(for_any) == []

        await engine.emit_event("papers.begin")
        (task,) = await until(open_tasks)
        draft, vote = [{"paper": file.model_dump(mode="json")} for file in (drafted, voted)]
        assert (await call("PUT", f"/human-tasks/{task['id']}/draft", json={"output": draft})).status_code == 204
        assert await references(drafted) == [f"task {task['id']}"]
        assert (await call("POST", f"/human-tasks/{task['id']}/complete", json={"output": vote})).status_code == 200
        assert await references(voted) == [f"task {task['id']}"]

        await engine.cancel(run.id)
        await until(lambda: engine.list_runs(state=RunState.CANCELLED))
        assert [await references(file) for file in (sent, drafted, voted)] == [[]] * 3


class Talk(Entity, table=True):
    __tablename__ = "kept_talk"

    history: History | None = Field(default=None, sa_type=JsonOf(History))


reader: Agent[str] = Agent("reader", model="reading", keep_history=True)


@workflow()
async def begin_talk(about: File) -> History:
    history = (await reader(about)).history
    assert history is not None
    return history


@workflow()
async def go_on_talking(history: History) -> str:
    await wait_for_event("asked.more")
    return (await reader("And now?", history=history)).output


@pytest.mark.parametrize("codec", [None, CompressedPayloads(above=1)])
async def test_a_file_in_a_history_is_kept_while_somebody_has_the_history(
    database_url: str, tmp_path: Path, codec: PayloadCodec | None
) -> None:
    app = Toolkit("Talks", payload_codec=codec).register_workflow(begin_talk).register_workflow(go_on_talking)
    app.register_entity(Talk).register_model_factory("reading", lambda settings: ScriptedModel("one", "two").model)
    settings = Settings.of({"database": {"url": database_url}}, folder=tmp_path)
    async with app.running(settings=settings):
        call = Caller(app)
        file = await File.upload(content=b"%PDF-1.4 a paper", filename="paper.pdf")

        async def references() -> list[str]:
            response = await call("DELETE", f"/files/{file.id}")
            return [] if response.status_code == 204 else list(response.json()["details"]["references"])

        history = await (await app.start(begin_talk, file)).result()
        run = await app.start(go_on_talking, history)
        talk = (await call("POST", "/entities/talk", json={"history": history.model_dump(mode="json")})).json()
        await until(lambda: app.services.engine.list_runs(state=RunState.SUSPENDED))

        assert await references() == [f"run {run.id}", f"Talk {talk['id']}"]
        await app.services.engine.emit_event("asked.more")
        assert await run.result() == "two"
        assert await references() == [f"Talk {talk['id']}"]
        await call("DELETE", f"/entities/talk/{talk['id']}", headers={"if-match": "*"})
        assert await references() == []
