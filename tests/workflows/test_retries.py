"""Retry policies: what they take, what they refuse where they are made, and that no attempt is too late for them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from toolkit.errors import DefinitionError, RetryableError
from toolkit.testing import running_process
from toolkit.workflows import RetryPolicy, RunState, Workflow, step, workflow

attempts: list[str] = []


@step(max_retries=3, retry=RetryPolicy(first_delay=0.01))
async def counts_beside_its_policy() -> None:
    attempts.append("policy")
    raise ConnectionError("not yet")


@step(retry=RetryPolicy(max_retries=3, first_delay=0.01, retry_on=[ConnectionError, TimeoutError]))
async def lists_its_errors() -> None:
    attempts.append("list")
    raise ConnectionError("not yet")


@step(retry=RetryPolicy(max_retries=3, first_delay=0.01, retry_on=[TimeoutError]))
async def lists_another_error() -> None:
    attempts.append("other")
    raise ConnectionError("not yet")


@workflow()
async def counts() -> None:
    await counts_beside_its_policy()


@workflow()
async def lists() -> None:
    await lists_its_errors()


@workflow()
async def lists_another() -> None:
    await lists_another_error()


@pytest.mark.parametrize(("name", "expected"), [("counts", 4), ("lists", 4), ("lists_another", 1)])
async def test_a_step_is_tried_as_often_as_it_says(database_url: str, name: str, expected: int) -> None:
    attempts.clear()
    tried: Workflow[..., Any] = globals()[name]
    async with running_process(database_url, tried) as process:
        detail = await process.finish(await process.start(tried))

    assert detail.summary.state is RunState.FAILED
    assert len(attempts) == expected


def test_two_numbers_of_retries_are_refused() -> None:
    with pytest.raises(DefinitionError, match="contradicts retry="):
        step(max_retries=3, retry=RetryPolicy(max_retries=2))
    assert step(max_retries=2, retry=RetryPolicy(max_retries=2))


def test_one_type_of_error_may_stand_alone() -> None:
    policy = RetryPolicy(max_retries=1, retry_on=ConnectionError)

    assert policy.delay_after(ConnectionResetError(), attempt=1, spread=0) == 1
    assert policy.delay_after(ValueError(), attempt=1, spread=0) is None


@pytest.mark.parametrize(
    "options",
    [
        {"retry_on": ["ConnectionError"]},
        {"retry_on": [ConnectionError("x")]},
        {"retry_on": int},
        {"retry_on": 5},
        {"first_delay": -1},
        {"first_delay": math.nan},
        {"longest_delay": math.inf},
        {"delays": (1, math.nan)},
        {"factor": math.nan},
        {"jitter": -0.5},
        {"backoff": "exponental"},
    ],
)
def test_a_policy_that_means_nothing_is_refused_where_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="of a RetryPolicy"):
        RetryPolicy(**options)


def test_no_attempt_is_too_late_for_a_policy() -> None:
    steep = RetryPolicy(max_retries=-1, factor=1e5, longest_delay=30)
    at_once = RetryPolicy(max_retries=-1, factor=1e5, first_delay=0)

    assert steep.delay_before(10_000) == 30
    assert at_once.delay_before(10_000) == 0


@pytest.mark.parametrize(("asked", "expected"), [(math.nan, 5), (math.inf, 5), (-3, 0), (7, 7)])
def test_an_error_that_asks_for_no_length_of_time_is_not_heard(asked: float, expected: float) -> None:
    policy = RetryPolicy(max_retries=1, first_delay=5)

    assert policy.delay_after(RetryableError(retry_after=asked), attempt=1, spread=0) == expected
