"""Promise: whoever follows a run sees what its agents do, each thing once, and nothing of any other run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from toolkit.access import list_audit
from toolkit.agents import Agent, AgentEvent, Approval, Changes, report_progress, tool
from toolkit.app import Toolkit
from toolkit.config import Settings
from toolkit.workflows import workflow

HEADERS = {"x-toolkit-user": "ada"}
PAID: list[str] = []


class Topic(BaseModel):
    name: str


@tool(effect="read")
async def look(name: str) -> str:
    """Look something up."""
    for percent in (50, 100):
        report_progress(f"looking for {name}", percent=percent)
    return name.upper()


@tool(effect="money")
def pay(name: str) -> str:
    """Pay somebody."""
    PAID.append(name)
    return "paid"


reader = Agent(
    "reader",
    model="echo",
    input_type=Topic,
    user_prompt="{{ input.name }}",
    tools=[look],
    stream=True,
)
payer: Agent[str] = Agent("payer", model="payer", tools=[look, pay], approval=Approval(assign_to="ada"))


@workflow()
async def read(topic: Topic) -> str:
    return (await reader(topic)).output


@workflow()
async def settle(text: str) -> str:
    return (await payer(text)).output


def _name(messages: list[ModelMessage]) -> str:
    return str(messages[0].parts[-1].content)  # type: ignore[union-attr]


def _is_first(messages: list[ModelMessage]) -> bool:
    return not any(isinstance(message, ModelResponse) for message in messages)


def _answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Looks, and pays where it can, what the prompt names; then says so, with the system prompt it was given."""
    name = _name(messages)
    if _is_first(messages):
        tools = [one.name for one in info.function_tools]
        return ModelResponse([ToolCallPart(one, {"name": name}, tool_call_id=f"{one}-{name}") for one in tools])
    return ModelResponse([TextPart(f"about {name}: {info.instructions or 'nothing'}")])


async def _stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
    for at, part in enumerate(_answer(messages, info).parts):
        if isinstance(part, ToolCallPart):
            arguments = json.dumps(part.args)
            yield {at: DeltaToolCall(name=part.tool_name, json_args=arguments, tool_call_id=part.tool_call_id)}
        elif isinstance(part, TextPart):
            for word in part.content.split(" "):
                await asyncio.sleep(0)
                yield f"{word} "


class Client:
    """Calls the application over ASGI."""

    def __init__(self, app: Toolkit) -> None:
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost:8000")

    async def events(self, method: str, path: str, *, after: int = 0, **request: Any) -> list[tuple[int, AgentEvent]]:
        """All events of a stream that ends, with their ids in it."""
        headers = HEADERS | ({"last-event-id": str(after)} if after else {})
        answer = await self.http.request(method, f"/toolkit/v1{path}", headers=headers, timeout=60, **request)
        assert answer.status_code == 200, answer.text
        found = []
        for message in answer.text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in message.splitlines() if not line.startswith(":"))
            if "id" in fields:
                found.append((int(fields["id"]), AgentEvent.model_validate_json(fields["data"])))
        return found

    async def simulate(self, name: str, **body: Any) -> list[AgentEvent]:
        return [event for _, event in await self.events("POST", f"/agents/{name}/simulate", json=body)]


@asynccontextmanager
async def _running(url: str, folder: Path) -> AsyncIterator[tuple[Toolkit, Client]]:
    PAID.clear()
    model = FunctionModel(_answer, stream_function=_stream, model_name="echo")
    app = Toolkit().register_workflow(read).register_workflow(settle)
    for key in ("echo", "payer"):
        app.register_model_factory(key, lambda settings: model)
    async with app.running(settings=Settings.of({"database": {"url": url}}, folder=folder)):
        client = Client(app)
        yield app, client
        await client.http.aclose()


@pytest.fixture
async def running(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Toolkit, Client]]:
    async with _running(database_url, tmp_path) as both:
        yield both


def _text(events: list[AgentEvent]) -> str:
    return "".join(event.data["text"] for event in events if event.kind == "text_delta").strip()


async def test_two_runs_and_two_simulations_at_once_do_not_hear_each_other(running: tuple[Toolkit, Client]) -> None:
    app, client = running
    names = ["tea", "rain", "salt", "iron"]
    runs = [await app.start(read, Topic(name=name)) for name in names[:2]]

    streams = await asyncio.gather(
        *(client.events("GET", f"/runs/{run.id}/agent-events") for run in runs),
        *(client.events("POST", "/agents/reader/simulate", json={"input": {"name": name}}) for name in names[2:]),
    )

    for name, stream in zip(names, streams, strict=True):
        events = [event for _, event in stream]
        others = [other for other in names if other != name]
        text = "".join(event.model_dump_json() for event in events).lower()
        assert name in text
        assert not any(other in text for other in others), (name, text)
        kinds = [event.kind for event in events if event.kind != "text_delta"]
        assert [kind for kind in kinds if kind not in ("request_started", "usage")] == [
            *("tool_call", "progress", "progress", "tool_result", "output")
        ]
        assert _text(events) == f"about {name}: nothing"


async def test_a_stream_goes_on_where_it_broke_off_and_tells_nothing_twice(running: tuple[Toolkit, Client]) -> None:
    app, client = running
    run = await app.start(read, Topic(name="tea"))
    await run.result()
    whole = await client.events("GET", f"/runs/{run.id}/agent-events")

    for at, (position, _) in enumerate(whole):
        assert await client.events("GET", f"/runs/{run.id}/agent-events", after=position) == whole[at + 1 :]
    ids = [event.id for _, event in whole]
    assert len(set(ids)) == len(ids)
    refused = await client.http.get(
        f"/toolkit/v1/runs/{run.id}/agent-events", headers=HEADERS | {"last-event-id": "yesterday"}
    )
    assert refused.status_code == 422
    assert (await client.http.get("/toolkit/v1/runs/none/agent-events", headers=HEADERS)).status_code == 404


async def test_a_run_that_is_gone_through_again_tells_nothing_twice(database_url: str, tmp_path: Path) -> None:
    """The run sleeps while a person decides; another process goes through it again and on."""
    async with _running(database_url, tmp_path) as (app, _):
        run = await app.start(settle, "tea")
        await _task(app, run.id)
    async with _running(database_url, tmp_path) as (app, client):
        task = await _task(app, run.id)
        answer = {"decisions": [{"id": "pay-tea", "decision": "approve"}]}
        path = f"/toolkit/v1/human-tasks/{task}/complete"
        done = await client.http.post(path, headers=HEADERS, json={"output": answer})
        assert done.status_code == 200, done.text
        while (await app.services.engine.get_run(run.id)).result is None:
            await asyncio.sleep(0.01)

        events = [event for _, event in await client.events("GET", f"/runs/{run.id}/agent-events")]

    assert PAID == ["tea"]
    told = [(event.kind, event.data.get("tool")) for event in events if event.kind not in ("request_started", "usage")]
    assert sorted(told, key=str) == sorted(
        [
            ("tool_call", "look"),
            *(("progress", None), ("progress", None)),
            ("tool_result", "look"),
            ("approval_asked", None),
            ("tool_call", "pay"),
            ("tool_result", "pay"),
            ("output", None),
        ],
        key=str,
    )
    assert sum(event.kind == "usage" for event in events) == 2


async def test_a_simulation_tries_a_draft_and_nothing_comes_of_it(running: tuple[Toolkit, Client]) -> None:
    app, client = running
    await app.services.agents.add("payer", Changes(system_prompt="Version one."))

    now = await client.simulate("payer", input="tea")
    version = await client.simulate("payer", input="tea", version=1)
    draft = await client.simulate(
        "payer", input="tea", changes={"system_prompt": "A draft."}, tool_results={"pay": "refused"}
    )

    assert not PAID
    assert not await app.services.engine.list_runs(workflow=None, state=None, after=None, limit=10)
    ends = [events[-1] for events in (now, version, draft)]
    assert [end.kind for end in ends] == ["output"] * 3
    assert all(end.data["is_test"] for end in ends)
    assert [str(end.data["output"]).partition(": ")[2].strip() for end in ends] == [
        "nothing",
        "Version one.",
        "A draft.",
    ]
    results = {event.data["tool"]: event.data["result"] for event in draft if event.kind == "tool_result"}
    assert results == {"look": "TEA", "pay": "refused"}
    (asked,) = [event for event in draft if event.kind == "approval_asked"]
    assert asked.data["calls"][0]["tool"] == "pay"
    simulated = next(event for event in now if event.kind == "tool_result" and event.data["tool"] == "pay")
    assert "not carried out" in simulated.data["result"]
    trail = await list_audit(app.services.database, object_kind="agent", object_id="payer")
    assert [entry.details["is_draft"] for entry in trail if entry.action == "agent.simulated"] == [True, False, False]


async def test_a_simulation_is_bounded_and_says_why_it_ended(running: tuple[Toolkit, Client]) -> None:
    _, client = running

    events = await client.simulate("payer", input="tea", limits={"requests": 1})

    assert events[-1].kind == "failed"
    assert events[-1].data["type"] == "TurnsExceeded"
    assert events[-1].data["is_test"] is True


@pytest.mark.parametrize(
    ("agent", "body", "status", "place"),
    [
        ("reader", {"input": {"title": "tea"}}, 422, "input.name"),
        ("payer", {"input": {"name": "tea"}}, 422, "input"),
        ("payer", {"input": "tea", "changes": {"user_prompt": "{{ nothing"}}, 422, "changes.prompts"),
        ("payer", {"input": "tea", "version": 9}, 404, None),
        ("payer", {"input": "tea", "version": 1, "changes": {}}, 422, "changes"),
        ("payer", {"input": "tea", "tool_context": {}}, 422, "tool_context"),
        ("nobody", {"input": "tea"}, 404, None),
    ],
)
async def test_what_cannot_be_simulated_is_refused_before_anything_is_asked(
    tmp_path: Path, agent: str, body: dict[str, Any], status: int, place: str | None
) -> None:
    async with _running("sqlite:///simulations.db", tmp_path) as (_, client):
        answer = await client.http.post(f"/toolkit/v1/agents/{agent}/simulate", headers=HEADERS, json=body)

        assert answer.status_code == status, answer.text
        if place is not None:
            assert place in [error["loc"] for error in answer.json()["errors"]] or not answer.json().get("errors")


async def _task(app: Toolkit, run_id: str) -> str:
    async with asyncio.timeout(30):
        while not (found := await app.services.tasks.list(run_id=run_id)):
            await asyncio.sleep(0.01)
    return found[0].id
