"""What an earlier release has begun, this one finishes; what it has finished, this one replays."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.crashes.references import WORKFLOWS, count_entries, do_what_people_do, employ_people
from tests.golden.journals import FOLDER, KEY, kept, load, reference_of
from toolkit.testing import VirtualClock, running_process
from toolkit.workflows import RunState, read_run, replay


@pytest.mark.parametrize("path", kept(), ids=lambda path: str(path.relative_to(FOLDER)))
async def test_a_journal_of_an_earlier_release_is_replayed_and_gone_on_with(database_url: str, path: Path) -> None:
    run_id, moment = await load(database_url, path)
    reference = reference_of(path)
    clock = VirtualClock(moment + timedelta(hours=1))

    async with running_process(database_url, *WORKFLOWS, clock=clock, prepare=employ_people) as process:
        process.people = do_what_people_do
        found = await replay(await read_run(process.engine, run_id), reference.workflow, engine=process.engine)
        assert found.verdict == "goes on", found.fault or found.unread

        detail = await process.finish(run_id)

        assert detail.summary.state is RunState.SUCCEEDED, detail.error
        assert reference.workflow.signature.result.decode(str(detail.result)) == reference.result(KEY)
        assert await count_entries(process) == reference.booked


def test_there_are_journals_of_a_release() -> None:
    assert len(kept()) >= 8
