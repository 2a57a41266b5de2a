"""Large results of steps go to the storage that is shared, and are there for whichever process goes on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.workflows.conftest import until_state
from toolkit import Toolkit
from toolkit.app.file_references import stubs_in
from toolkit.config import Settings
from toolkit.workflows import RunState, step, wait_for_event, workflow


@step()
async def read_all() -> list[str]:
    return ["page"] * 1000


@workflow()
async def count_pages() -> int:
    pages = await read_all()
    await wait_for_event("counted")
    return len(pages)


async def test_a_large_result_is_shared_and_outlives_its_process(database_url: str, tmp_path: Path) -> None:
    settings = Settings.of(
        {
            "database": {"url": database_url},
            "file_storage": {"default": {"url": "file://./files", "shared": True}},
            "files": {"inline_bytes": 1024},
        },
        folder=tmp_path,
    )
    app = Toolkit("Pages").register_workflow(count_pages)

    async with app.running(settings=settings):
        run = await app.start(count_pages)
        await until_state(app.services.engine, run.id, RunState.SUSPENDED)
        (recorded,) = [found for found in await app.services.engine.list_steps(run.id) if found.name == "read_all"]
    async with app.running(settings=settings):
        await app.services.engine.emit_event("counted")
        counted = await app.services.engine.wait_for_completion(run.id)
        later = app.services.database.clock.now() + timedelta(hours=1)
        swept = await app.services.values.sweep(stubs_in(app.services.database), before=later)

    (kept,) = [path for path in (tmp_path / "files/values").rglob("*") if path.is_file()]
    assert recorded.result is not None
    assert recorded.result.startswith("@values:default:values/")
    assert kept.name.startswith(run.id)
    assert kept.stat().st_size > 1024
    assert (counted, swept) == ("1000", 0)
