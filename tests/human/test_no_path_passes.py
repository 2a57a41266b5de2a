"""Four eyes and quorum hold on every path: REST, bulk, links, the command line, group membership, substitution."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
import yaml

from tests.cli.test_commands import toolkit
from tests.human.office import until
from toolkit.cli.targets import load_application
from toolkit.config import Settings

V1 = "/toolkit/v1"
YES = {"output": {"approved": True}}
ME = pwd.getpwuid(os.getuid()).pw_name
"""Who the command line says is acting; the tests let the same person act by every other path."""

MAIN = """
from pydantic import BaseModel
from toolkit import Toolkit
from toolkit.human import Group, Human, Quorum
from toolkit.workflows import workflow

class Verdict(BaseModel):
    approved: bool

signers = [Group("signers")]
sign = Human("sign", title="Sign", output_type=Verdict, candidates=signers, four_eyes=True)
agree = Human("agree", title="Agree", output_type=Verdict, candidates=signers, quorum=Quorum(needed=2, of=3))

@workflow()
async def ask_to_sign() -> str:
    return (await sign()).completed_by or ""

@workflow()
async def ask_to_agree() -> str:
    return ",".join(vote.by for vote in (await agree()).votes)

app = Toolkit(title="Signatures").register_workflow(ask_to_sign).register_workflow(ask_to_agree)
"""


class Paths:
    """One person's every way to a task, and what each of them answers: a status, or that of a refused command."""

    def __init__(self, http: httpx2.AsyncClient, folder: Path) -> None:
        self._http, self._folder = http, folder

    async def rest(self, who: str, method: str, path: str, json: Any = None) -> Any:
        return await self._http.request(method, V1 + path, json=json, headers={"x-toolkit-user": who})

    async def started(self, who: str, workflow: str) -> tuple[str, str]:
        """The ids of a new run and of its task."""
        run_id = (await self.rest(who, "POST", f"/workflows/{workflow}/runs", {"input": {}})).json()["id"]

        async def look() -> str | None:
            items = (await self.rest(who, "GET", f"/human-tasks?run_id={run_id}")).json()["items"]
            return str(items[0]["id"]) if items else None

        return run_id, await until(look)

    async def result(self, run_id: str) -> Any:
        async def look() -> Any:
            run = (await self.rest("anybody", "GET", f"/runs/{run_id}")).json()
            return run["result"] if run["state"] == "succeeded" else None

        return await until(look)

    async def command(self, *arguments: str) -> tuple[int, str]:
        finished = await asyncio.to_thread(toolkit, "tasks", *arguments, "--config", "test.yaml", cwd=self._folder)
        return finished.returncode, finished.stderr + finished.stdout

    async def complete(self, who: str, task: str) -> int:
        return int((await self.rest(who, "POST", f"/human-tasks/{task}/complete", YES)).status_code)

    async def complete_in_bulk(self, who: str, task: str) -> int:
        body = {"items": [{"id": task, **YES}]}
        return int((await self.rest(who, "POST", "/human-tasks/bulk/complete", body)).json()["items"][0]["status"])

    async def link_of(self, maker: str, task: str, person: str) -> tuple[int, str]:
        made = await self.rest(maker, "POST", f"/human-tasks/{task}/links", {"person": person})
        return made.status_code, made.json().get("token", "")

    async def complete_by_link(self, token: str) -> int:
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": "http://localhost"}
        form = urlencode({"approved": "true"})
        return int((await self._http.post(f"{V1}/task-links/{token}", content=form, headers=headers)).status_code)


@pytest.fixture
async def paths(database_url: str, tmp_path: Path) -> AsyncIterator[Paths]:
    (tmp_path / "signatures.py").write_text(MAIN)
    (tmp_path / "main.py").write_text("from signatures import app\n")
    signers = {"members": ["bob", "cleo", "dora"]}
    content = {"database": {"url": database_url}, "directory": {"groups": {"signers": signers}}}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(content))
    app = load_application(str(tmp_path / "signatures.py"))
    async with (
        app.running(settings=Settings.of(content, folder=tmp_path)),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost", timeout=30) as http,
    ):
        yield Paths(http, tmp_path)
    import sys

    del sys.modules["signatures"]


@pytest.mark.timeout(180)
async def test_who_started_it_approves_by_no_path(paths: Paths) -> None:
    """The starter is an administrator, joins the group of the candidates and stands in for one of them."""
    run_id, task = await paths.started(ME, "ask_to_sign")
    await paths.rest(ME, "PUT", "/groups/signers", {"members": ["bob", "cleo", ME]})
    absent = {"user": "bob", "substitute": ME, "first_day": "2020-01-01", "last_day": "2099-12-31"}
    await paths.rest(ME, "POST", "/substitutions", absent)

    async def tried(action: str, body: Any = None) -> int:
        return int((await paths.rest(ME, "POST", f"/human-tasks/{task}/{action}", body)).status_code)

    refused = {
        "complete": await paths.complete(ME, task),
        "bulk": await paths.complete_in_bulk(ME, task),
        "claim": await tried("claim"),
        "delegate": await tried("delegate", {"to": "mallory"}),
        "assign": await tried("assign", {"user": ME}),
        "send back": await tried("send-back", {"reason": "let me", "to": ME}),
        "own link": (await paths.link_of(ME, task, ME))[0],
        "another's link": (await paths.link_of(ME, task, "bob"))[0],
        "link by a friend": (await paths.link_of("cleo", task, ME))[0],
        "assigned by a friend": (
            await paths.rest("cleo", "POST", f"/human-tasks/{task}/assign", {"user": ME})
        ).status_code,
        "delegated by a friend": (
            await paths.rest("cleo", "POST", f"/human-tasks/{task}/delegate", {"to": ME})
        ).status_code,
    }
    in_bulk = await paths.rest(ME, "POST", "/human-tasks/bulk/assign", {"ids": [task], "user": "mallory"})
    answered = await paths.command("complete", task, "--output", '{"approved": true}', "--reason", "in a hurry")
    assigned = await paths.command("assign", task, "--user", "mallory")

    assert refused == dict.fromkeys(refused, 403)
    assert in_bulk.json()["items"][0]["status"] == 403
    for code, said in (answered, assigned):
        assert code == 2, said
        assert "four eyes" in said
    assert await paths.complete("cleo", task) == 200
    assert await paths.result(run_id) == "cleo"


@pytest.mark.timeout(180)
async def test_nobody_has_two_votes_by_any_path(paths: Paths) -> None:
    run_id, task = await paths.started("ada", "ask_to_agree")
    await paths.rest("ada", "PUT", "/groups/signers", {"members": ["bob", "cleo", ME]})
    absent = {"user": "bob", "substitute": ME, "first_day": "2020-01-01", "last_day": "2099-12-31"}
    await paths.rest("ada", "POST", "/substitutions", absent)
    not_asked = await paths.complete("ada", task)  # an administrator, and no candidate
    first = await paths.command("complete", task, "--output", '{"approved": true}')
    made, own = await paths.link_of(ME, task, ME)

    again = {
        "complete": await paths.complete(ME, task),
        "bulk": await paths.complete_in_bulk(ME, task),
        "own link": await paths.complete_by_link(own),
        "claim": (await paths.rest(ME, "POST", f"/human-tasks/{task}/claim")).status_code,
        "delegate": (await paths.rest(ME, "POST", f"/human-tasks/{task}/delegate", {"to": "bob"})).status_code,
    }
    for_bob, _ = await paths.link_of(ME, task, "bob")
    await paths.rest("ada", "PUT", "/groups/others", {"members": [ME]})
    await paths.rest("ada", "POST", f"/human-tasks/{task}/assign", {"user": ME})
    once_assigned = await paths.complete(ME, task)
    code, said = await paths.command("complete", task, "--output", '{"approved": true}')

    assert (not_asked, first[0], made) == (403, 0, 201)
    assert "your vote counts" in first[1]
    assert again == dict.fromkeys(again, 409)
    assert (for_bob, once_assigned) == (403, 409)
    assert code == 2
    assert f"has the vote of '{ME}' already" in said
    assert (await paths.rest("ada", "GET", f"/human-tasks/{task}")).json()["quorum"]["accepted"] == 1
    assert await paths.complete("bob", task) == 200
    assert await paths.result(run_id) == f"{ME},bob"
