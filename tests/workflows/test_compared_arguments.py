"""Which arguments are the same on replay: what they mean counts, not how they were written."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel
from sqlalchemy import text

from tests.workflows.conftest import StartEngine, until_state
from toolkit.workflows import RunState, step, wait_for_event, workflow
from toolkit.workflows.calls import _same_arguments


class Tagged(BaseModel):
    tags: set[str]
    weight: float = 1.0


@step()
async def store(tags: set[str], more: Tagged | None = None) -> int:
    return len(tags)


@pytest.mark.parametrize(
    ("recorded", "now", "is_same"),
    [
        ('{"tags":["a","b"]}', '{"tags":["b","a"]}', True),
        ('{"tags":["a","b"]}', '{"tags":["b","c"]}', False),
        ('{"tags":[],"more":{"tags":["a","b"]}}', '{"tags":[],"more":{"tags":["b","a"],"weight":1}}', True),
        ('{"tags":[],"more":{"tags":["a"],"weight":2}}', '{"tags":[],"more":{"tags":["a"]}}', False),
        ('{"gone":1}', '{"tags":[]}', False),
    ],
)
def test_a_set_is_the_same_in_any_order(recorded: str, now: str, is_same: bool) -> None:
    assert _same_arguments(recorded, now, store.signature.decode) is is_same


@workflow()
async def keep_tags(tags: set[str]) -> int:
    count = await store(set(tags))
    await wait_for_event("go")
    return count


def test_a_keyed_start_is_the_same_in_a_process_that_orders_sets_otherwise() -> None:
    one, other = '{"tags":["a","b"],"more":{"tags":["c","d"]}}', '{"tags":["b","a"],"more":{"tags":["d","c"]}}'
    assert store.signature.digest(one) == store.signature.digest(other)
    assert store.signature.digest(one) != store.signature.digest(one.replace("d", "e"))


async def test_a_run_whose_step_took_a_set_goes_on_in_a_process_that_orders_it_otherwise(
    start_engine: StartEngine,
) -> None:
    tags = {f"tag-{number * 7919 % 100003}" for number in range(40)}
    first = await start_engine(keep_tags)
    run_id = (await first.start(keep_tags, tags)).id
    await until_state(first, run_id, RunState.SUSPENDED)
    await first.close()
    (stored,) = [step for step in await first.list_steps(run_id) if step.name == "store"]
    otherwise = json.dumps({"tags": json.loads(stored.arguments or "")["tags"][::-1]})
    async with first.database.session() as session:
        changed = text("UPDATE toolkit_step SET arguments = :arguments WHERE run_id = :run_id AND name = 'store'")
        await (await session.connection()).execute(changed, {"arguments": otherwise, "run_id": run_id})

    second = await start_engine(keep_tags)
    await second.emit_event("go", run_id=run_id)

    assert await second.wait_for_completion(run_id) == "40"
