"""What docs/human.md shows does what the page says."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from toolkit.access import Permission, Principal, acting_as
from toolkit.app import Toolkit
from toolkit.config import Settings
from toolkit.errors import PermissionDenied
from toolkit.human import TaskDetail
from toolkit.workflows import RunHandle

PAGE = Path(__file__).parents[2] / "docs" / "human.md"
DIRECTORY = {"directory": {"users": {"ada": {}, "eve": {}}, "groups": {"finance": {"members": ["ada", "eve"]}}}}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("human_page")
    monkeypatch.setitem(sys.modules, "human_page", module)
    exec(compile("\n".join(blocks), str(PAGE), "exec"), vars(module))
    return module


async def _open_task(app: Toolkit, run: RunHandle[Any]) -> TaskDetail:
    while True:
        for task in await app.services.tasks.list(run_id=run.id):
            if task.state == "open":
                return await app.services.tasks.get(task.id)
        await asyncio.sleep(0.005)


async def test_the_expense_is_decided_by_whoever_may_and_by_nobody_who_prepared_it(page: Any, tmp_path: Path) -> None:
    app = Toolkit().register_workflow(page.reimburse)
    yes = '{"approved": true}'

    async with app.running(settings=Settings.of(DIRECTORY, folder=tmp_path)):
        receipt = await app.services.files.upload(b"Taxi, 40.00", filename="taxi.txt")
        run = await app.start(page.reimburse, page.Expense(purpose="Taxi", total="40.00"), receipt)
        task = await _open_task(app, run)
        assert (task.message, [file.filename for file in task.files]) == ("Above the limit", ["taxi.txt"])
        with acting_as(_person("eve")), pytest.raises(PermissionDenied):
            await app.services.tasks.complete(task.id, yes)
        with acting_as(_person("ada")):
            await app.services.tasks.complete(task.id, yes)

        assert await asyncio.wait_for(run.result(), 10) == "completed by ada"


async def test_questions_without_a_definition_are_answered_one_after_another(page: Any, tmp_path: Path) -> None:
    app = Toolkit().register_workflow(page.claim_mileage)

    async with app.running(settings=Settings.of({}, folder=tmp_path)):
        with acting_as(_person("ada")):
            run = await app.start(page.claim_mileage, started_by="ada")
            for answer in (120, "own", {"city": "Bonn"}):
                task = await _open_task(app, run)
                await app.services.tasks.complete(task.id, json.dumps(answer))

            assert str(await asyncio.wait_for(run.result(), 10)) == "36.00"


def _person(id: str) -> Principal:
    return Principal(id=id, kind="person", permissions=frozenset({Permission.TASKS_COMPLETE}))
