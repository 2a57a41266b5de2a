"""Errors are anybody's code: whatever they are, the run ends, and the same branch is taken at every replay."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tests.workflows.conftest import StartEngine, until, until_state
from toolkit.errors import RunFailed
from toolkit.testing import run_workflow
from toolkit.workflows import RunState, heartbeat, step, step_context, suspend, workflow
from toolkit.workflows.failures import record_error, revive_error, summary_of


class Weird(Exception):
    def __str__(self) -> str:
        return str(self.response.text)  # type: ignore[attr-defined]


class Answered(Exception):
    def __init__(self, response: object, amount: Decimal) -> None:
        super().__init__(response)
        self.response, self.amount = response, amount

    def __str__(self) -> str:
        return f"status {self.response.status}"  # type: ignore[attr-defined]


class Response:
    status = 404


class Left(BaseException):
    pass


class Total(BaseModel):
    total: Decimal
    lines: list[int] = []


def looped() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


def grouped() -> Exception:
    return ExceptionGroup("two", [ValueError("a"), ExceptionGroup("inner", [OSError(2, "gone", "file")])])


def invalid() -> Exception:
    try:
        Total.model_validate({"total": "{x}", "lines": ["one"]})
    except ValidationError as error:
        return error
    raise AssertionError


RAISES: dict[str, Callable[[], BaseException]] = {
    "nul": lambda: ValueError("cannot read 'Rech\x00nung'"),
    "surrogate": lambda: ValueError("a\ud800b"),
    "no text": Weird,
    "text of an attribute": lambda: Answered(Response(), Decimal("1.5")),
    "huge integer": lambda: ValueError(10**5000),
    "itself": lambda: ValueError(looped()),
    "group": grouped,
    "validation": invalid,
    "not an exception": lambda: Left("left"),
    "exit": lambda: SystemExit(3),
}


@step()
async def fail(how: str) -> None:
    error = RAISES[how]()
    raise error


@step()
def fail_in_a_thread(how: str) -> None:
    if how == "exit":
        sys.exit("usage: convert FILE")
    error = GeneratorExit() if how == "generator" else RAISES[how]()
    raise error


@workflow()
async def let_through(how: str, in_a_thread: bool = False) -> None:
    await (fail_in_a_thread(how) if in_a_thread else fail(how))


@workflow()
async def raise_by_itself(how: str) -> None:
    error = RAISES[how]()
    raise error


@pytest.mark.parametrize("how", RAISES)
async def test_a_run_ends_whatever_is_raised(start_engine: StartEngine, how: str) -> None:
    engine = await start_engine(let_through, raise_by_itself)
    for run in (await engine.start(let_through, how), await engine.start(raise_by_itself, how)):
        with pytest.raises(RunFailed):
            await run.result()
        assert (await engine.get_run(run.id)).summary.state is RunState.FAILED


@pytest.mark.parametrize("how", ["exit", "generator", "not an exception", "itself"])
async def test_a_plain_step_ends_no_event_loop(start_engine: StartEngine, how: str) -> None:
    engine = await start_engine(let_through)
    run = await engine.start(let_through, how, in_a_thread=True)
    with pytest.raises(RunFailed):
        await run.result()


@workflow()
async def take_a_branch(how: str) -> str:
    try:
        await fail(how)
    except* OSError as group:
        found = group.exceptions[0]
        branch = f"{type(found).__name__}"
    except* Answered as group:
        (error,) = group.exceptions
        assert isinstance(error, Answered)
        branch = f"answered {error.amount!r}"
    except* ValidationError as group:
        (refused,) = group.exceptions
        assert isinstance(refused, ValidationError)
        branch = f"{refused.title}: {[(found['loc'], found['type']) for found in refused.errors()]}"
    except* ValueError:
        branch = "value"
    await suspend(interval=timedelta(hours=1))
    return branch


@pytest.mark.parametrize(
    ("how", "branch"),
    [
        ("text of an attribute", "answered '1.5'"),
        ("validation", "Total: [(('total',), 'decimal_parsing'), (('lines', 0), 'int_parsing')]"),
        ("nul", "value"),
    ],
)
async def test_the_same_branch_is_taken_at_every_replay(how: str, branch: str) -> None:
    assert await run_workflow(take_a_branch, how) == branch  # which replays it


def test_an_error_comes_back_as_what_it_was() -> None:
    gone = revive_error(record_error(FileNotFoundError(2, "No such file", "invoice.pdf")))
    assert isinstance(gone, FileNotFoundError)
    assert (gone.errno, gone.filename, str(gone)) == (2, "invoice.pdf", "[Errno 2] No such file: 'invoice.pdf'")

    group = revive_error(record_error(grouped()))
    assert isinstance(group, ExceptionGroup)
    assert [type(member) for member in group.exceptions] == [ValueError, ExceptionGroup]
    assert group.subgroup(FileNotFoundError) is not None

    refused = revive_error(record_error(invalid()))
    assert isinstance(refused, ValidationError)
    assert [found["msg"] for found in refused.errors()] == [found["msg"] for found in invalid().errors()]  # type: ignore[attr-defined]

    again = record_error(revive_error(record_error(Answered(Response(), Decimal(1)))))
    assert summary_of(again).endswith("Answered: status 404")  # although its response is text now


def test_a_summary_is_what_every_database_keeps() -> None:
    assert summary_of(record_error(ValueError("a\x00b"))) == "ValueError: a\ufffdb"


@step(heartbeat_timeout=30)
async def beat(details: str) -> str:
    if details == "heartbeat":
        heartbeat({"at": datetime.now(UTC)})
    context = step_context()
    assert context is not None
    context.details["odd"] = Decimal(1)
    return "done"


@workflow()
async def beat_oddly(details: str) -> str:
    return await beat(details)


@workflow()
async def wait_elsewhere() -> str:
    await suspend(interval=0.05)
    return "told"


@pytest.mark.parametrize("details", ["heartbeat", "details"])
async def test_details_that_are_not_json_fail_their_step_and_nothing_else(
    start_engine: StartEngine, details: str
) -> None:
    engine = await start_engine(beat_oddly)
    other = await start_engine(wait_elsewhere)
    run = await engine.start(beat_oddly, details)
    with pytest.raises(RunFailed, match="has no JSON form"):
        await run.result()
    (kept,) = await engine.list_steps(run.id)
    assert kept.state == "failed"

    told = await other.start(wait_elsewhere)
    async with asyncio.timeout(20):
        assert await engine.wait_for_completion(told.id) == '"told"'  # its process still looks


async def test_a_watch_that_fails_goes_on(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await start_engine(wait_elsewhere)
    failures = 0

    def fail_once() -> None:
        nonlocal failures
        failures += 1
        monkeypatch.undo()
        raise KeyError("odd")

    monkeypatch.setattr(engine._orchestrator, "_record_what_is_under_way", fail_once)
    await until(lambda: failures)
    run = await engine.start(wait_elsewhere)
    await until_state(engine, run.id, RunState.SUCCEEDED)
    assert [record.levelname for record in caplog.records if "put on record" in record.message] == ["ERROR"]
