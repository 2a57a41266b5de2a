"""One application: what it takes in, how it starts, and how it meets the web."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from sqlalchemy import MetaData
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, select

from tests.workflows.conftest import until
from toolkit.access import Permission
from toolkit.agents import Agent
from toolkit.api import requires
from toolkit.app import Installation, Toolkit
from toolkit.config import Settings
from toolkit.errors import ConfigurationError, DefinitionError, WrongContext
from toolkit.human import Human
from toolkit.rules import rule
from toolkit.workflows import get_session, step, workflow


class Question(BaseModel):
    text: str
    amount: Decimal = Decimal(0)


class Verdict(BaseModel):
    ok: bool


class Entity(SQLModel, registry=registry(metadata=MetaData())):
    """The parent of this file's tables, apart from those of other tests."""


class Ledger(Entity, table=True):
    __tablename__ = "ledger"
    id: int | None = Field(default=None, primary_key=True)
    note: str


@rule(description="Is the amount small?")
def is_small(input: Question) -> Verdict:
    return Verdict(ok=input.amount < 10)


def look_up(name: str) -> str:
    """A tool."""
    return used_by_tool.name + name


used_by_tool = Human("used_by_tool", title="Used by a tool", input_type=str, output_type=bool)
reader = Agent("reader", model="reading", output_type=Question, tools=[look_up])
reviewer = Human("reviewer", title="Review", input_type=Question, output_type=Verdict)


@step()
async def write(note: str) -> int:
    get_session().add(Ledger(note=note))
    return len(note)


@workflow()
async def child(note: str) -> bool:
    return (await is_small(Question(text=note))).ok


async def through_a_helper(text: str) -> Any:
    return (await reviewer(Question(text=text))).output


@workflow()
async def everything(text: str) -> int:
    read = (await reader(text)).output
    if await child(read.text):
        await through_a_helper(read.text)
    return await write(read.text)


@workflow()
async def note_down(note: str) -> int:
    """Write a note into the ledger."""
    return await write(note)


def settings_in(folder: Path, url: str | None = None, **more: Any) -> Settings:
    content = {**more, **({"database": {"url": url}} if url else {})}
    return Settings.of(content, folder=folder)


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


# What it takes in. ------------------------------------------------------------------------------------------------


def test_a_workflow_brings_along_what_it_refers_to() -> None:
    made = Toolkit().register_workflow(everything).definitions

    assert set(made.workflows) == {"everything", "child"}
    assert set(made.agents) == {"reader"}
    assert set(made.rules) == {"is_small"}
    assert set(made.humans) == {"reviewer", "used_by_tool"}


def test_registering_twice_is_nothing_new_and_two_applications_do_not_meet() -> None:
    one, two = Toolkit("one"), Toolkit("two")

    one.register_workflow(everything).register_workflow(everything).register_rule(is_small)

    assert not two.definitions.workflows


def test_two_definitions_of_one_name_are_refused_with_both_places() -> None:
    other = Human("reviewer", title="Another", input_type=str, output_type=bool)

    @workflow(name="child")
    async def another(note: str) -> bool:
        return bool(note)

    with pytest.raises(DefinitionError, match=r"'reviewer'.*test_application\.py:\d+.*test_application\.py:\d+"):
        Toolkit().register_human(reviewer).register_human(other)
    with pytest.raises(DefinitionError, match=r"'child'.*test_application\.py:\d+.*test_application\.py:\d+"):
        Toolkit().register_workflow(child).register_workflow(another)


def test_what_is_no_definition_is_refused_with_a_hint() -> None:
    async def plain() -> None: ...

    with pytest.raises(DefinitionError, match="did you forget the decorator"):
        Toolkit().register_workflow(plain)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="table=True"):
        Toolkit().register_entity(Question)


# How it starts. ---------------------------------------------------------------------------------------------------


async def test_a_registered_entity_has_its_table_and_keeps_its_rows(database_url: str, tmp_path: Path) -> None:
    app = Toolkit().register_workflow(note_down).register_entity(Ledger)

    for note in ("first", "second"):
        async with app.running(settings=settings_in(tmp_path, database_url)):
            run = await app.start(note_down, note)
            assert await run.result() == len(note)
            async with app.session() as session:
                notes = [row.note for row in (await session.exec(select(Ledger))).all()]

    assert notes == ["first", "second"]


async def test_processes_that_start_together_make_the_tables_once(database_url: str, tmp_path: Path) -> None:
    apps = [Toolkit().register_entity(Ledger) for _ in range(3)]

    async def start(app: Toolkit) -> None:
        async with app.running(settings=settings_in(tmp_path, database_url), with_worker=False):
            pass

    await asyncio.gather(*(start(app) for app in apps))


async def test_on_start_runs_when_the_tables_exist(tmp_path: Path) -> None:
    async def load(services: Installation) -> None:
        async with services.database.session() as session:
            session.add(Ledger(note="loaded"))

    app = Toolkit().register_entity(Ledger).on_start(load)

    async with app.running(settings=settings_in(tmp_path)), app.session() as session:
        assert [row.note for row in (await session.exec(select(Ledger))).all()] == ["loaded"]


async def test_a_model_that_is_not_configured_is_seen_at_start(tmp_path: Path) -> None:
    app = Toolkit().register_agent(reader)

    with pytest.raises(ConfigurationError, match="reading"):
        async with app.running(settings=settings_in(tmp_path)):
            pass
    with pytest.raises(WrongContext):
        _ = app.services


async def test_prod_refuses_before_it_touches_anything(tmp_path: Path) -> None:
    settings = Settings.defaults("prod", folder=tmp_path)

    with pytest.raises(ConfigurationError, match="authentication"):
        async with Toolkit().running(settings=settings):
            pass
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240


async def test_one_object_is_one_installation_at_a_time(tmp_path: Path) -> None:
    app = Toolkit()

    async with app.running(settings=settings_in(tmp_path)):
        with pytest.raises(WrongContext, match="running already"):
            async with app.running(settings=settings_in(tmp_path)):
                pass


def test_settings_that_were_read_cannot_change(tmp_path: Path) -> None:
    app = Toolkit().configure(settings_in(tmp_path))

    app.configure(settings_in(tmp_path))
    with pytest.raises(WrongContext, match="read already"):
        app.configure(settings_in(tmp_path, server={"port": 1}))


# How it meets the web. --------------------------------------------------------------------------------------------


async def test_the_root_leads_to_the_documentation(tmp_path: Path) -> None:
    app = Toolkit("Ledger").register_workflow(note_down)

    async with app.running(settings=settings_in(tmp_path)), client_of(app) as client:
        answer = await client.get("/")
        assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
        assert "Ledger" in (await client.get("/docs")).text


async def test_a_process_is_ready_when_it_has_taken_up_what_was_left(tmp_path: Path) -> None:
    app = Toolkit("Ledger").register_workflow(note_down)

    async with app.running(settings=settings_in(tmp_path)), client_of(app) as client:

        async def is_ready() -> bool:
            return (await client.get("/toolkit/v1/health/ready")).status_code == 200

        await until(is_ready)


async def test_routers_of_the_application_are_served_beside_the_api(tmp_path: Path) -> None:
    router = APIRouter()

    @router.get("/", dependencies=[requires(Permission.HEALTH_READ)])
    async def page() -> str:
        return "mine"

    app = Toolkit().register_router(router)

    async with app.running(settings=settings_in(tmp_path)), client_of(app) as client:
        assert (await client.get("/")).json() == "mine"


async def test_a_request_before_the_start_says_what_to_do() -> None:
    async with client_of(Toolkit("Ledger")) as client:
        with pytest.raises(WrongContext, match=r"app\.mount_in\(parent\)"):
            await client.get("/")


async def test_it_runs_inside_an_existing_application_for_as_long_as_that_does(tmp_path: Path) -> None:
    order: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        order.append("opened")
        yield {"own": "state"}
        order.append("closed")

    parent = FastAPI(lifespan=lifespan)
    app = Toolkit("Ledger").register_workflow(note_down).register_entity(Ledger).configure(settings_in(tmp_path))
    app.mount_in(parent, path="/process")

    async with parent.router.lifespan_context(parent) as state, client_of(parent) as client:
        assert state == {"own": "state"}
        assert order == ["opened"]
        root = await client.get("/process/")
        assert root.headers["location"] == "/process/docs"
        assert "/process/openapi.json" in (await client.get("/process/docs")).text
        started = await client.post("/process/toolkit/v1/workflows/note_down/runs", json={"input": {"note": "abc"}})
        assert started.status_code == 201, started.text
        assert (await client.get(started.headers["location"])).json()["workflow"] == "note_down"
        assert (await client.get("/toolkit/v1/health/ready")).status_code == 404
    assert order == ["opened", "closed"]
    with pytest.raises(WrongContext):
        _ = app.services


async def test_its_own_lifespan_starts_and_stops_it(tmp_path: Path) -> None:
    app = Toolkit().configure(settings_in(tmp_path))
    inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()

    serving = asyncio.create_task(app({"type": "lifespan"}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    assert app.services.engine is not None
    await inbox.put({"type": "lifespan.shutdown"})
    assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
    await serving


async def test_a_refused_start_is_told_to_the_server_in_one_sentence(tmp_path: Path) -> None:
    app = Toolkit().configure(Settings.defaults("prod", folder=tmp_path))
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)

    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "authentication" in sent[0]["message"]


async def test_dev_answers_its_own_machine_only(tmp_path: Path) -> None:
    async with Toolkit().running(settings=settings_in(tmp_path)) as app:
        transport = httpx2.ASGITransport(app=app, client=("192.0.2.7", 4711))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.get("/toolkit/v1/health/ready")

    assert answer.status_code == 403
    assert "security.authenticator" in answer.json()["detail"]
