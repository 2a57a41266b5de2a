"""What a retry and a fork keep of a journal: the choice by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from toolkit.workflows import StepState, tells_of
from toolkit.workflows.failures import record_error, revive_error
from toolkit.workflows.forks import Entry, find_failed_step, kept_by_fork, kept_by_retry


def entry(path: str, began: int, ended: int | None, *, error: str | None = None, kind: str = "compute") -> Entry:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    state = StepState.RUNNING if ended is None else StepState.FAILED if error else StepState.SUCCEEDED
    text = f'{{"type": "Error", "module": "m", "message": "{error}"}}' if error else None
    end = None if ended is None else start + timedelta(seconds=ended)
    return Entry(path, kind, state, start + timedelta(seconds=began), end, text)


def recorded(message: str) -> str:
    return f'{{"type": "Error", "module": "m", "message": "{message}"}}'


def test_the_innermost_step_with_the_error_of_the_run_is_the_one_that_failed() -> None:
    inner, outer = entry("gather.0/1/pay/0", 2, 3, error="no"), entry("gather.0", 1, 4, error="no")

    found = find_failed_step([entry("read/0", 0, 1), inner, outer], recorded("no"), run_id="run")

    assert found is inner
    kept = kept_by_retry([entry("read/0", 0, 1), entry("gather.0/0/do/0", 3, 5), inner, outer], found)
    assert kept == ["read/0", "gather.0/0/do/0"]


def test_without_a_step_that_failed_nothing_is_done_again() -> None:
    journal = [entry("read/0", 0, 1, error="caught"), entry("book/0", 2, 3)]

    assert find_failed_step(journal, recorded("a bug"), run_id="run") is None
    assert kept_by_retry(journal, None) == ["read/0", "book/0"]


def test_an_error_may_name_a_step_that_has_not_failed_of_its_own_run_only() -> None:
    journal = [entry("read/0", 0, 1), entry("ask/0", 2, 3), entry("tell/0", 4, 5)]
    expired = tells_of(TimeoutError("nobody answered"), run_id="run", path="ask/0")

    assert find_failed_step(journal, record_error(expired), run_id="run") is journal[1]
    assert kept_by_retry(journal, journal[1]) == ["read/0"]
    assert find_failed_step(journal, record_error(revive_error(record_error(expired))), run_id="run") is journal[1]
    assert find_failed_step(journal, record_error(expired), run_id="another") is None


def test_what_an_agent_has_paid_for_inside_the_failed_step_is_kept_and_its_pauses_are_not() -> None:
    step = entry("review/0", 1, 9, error="no")
    journal = [step, entry("review/0/model_call/0", 2, 3), entry("review/0/retry/1", 4, 5, kind="timer")]

    assert kept_by_retry(journal, step) == ["review/0/model_call/0"]


def test_a_fork_from_inside_a_step_runs_the_step_around_it_again() -> None:
    journal = [entry("review/0", 1, 9), entry("review/0/model_call/0", 2, 3), entry("review/0/model_call/1", 4, 5)]

    assert kept_by_fork(journal, journal[2], is_given=False) == ["review/0/model_call/0"]


def test_a_fork_drops_what_began_after_its_step_in_the_same_branch_and_keeps_the_other_branches() -> None:
    journal = [
        entry("gather.0/0/a/0", 1, 2),
        entry("gather.0/0/b/0", 3, 4),
        entry("gather.0/1/a/0", 3, 5),
        entry("after/0", 6, 7),
    ]

    assert kept_by_fork(journal, journal[0], is_given=False) == ["gather.0/1/a/0"]
