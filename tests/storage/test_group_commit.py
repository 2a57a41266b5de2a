"""Which operations share a group, and in what order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from toolkit.clock import SystemClock
from toolkit.storage import GroupCommit, commits


class Groups(GroupCommit[str]):
    """Keeps the groups that it commits; capitals go first. What ``goes_on`` names follows its commit at once."""

    def __init__(self, goes_on: dict[str, str] | None = None) -> None:
        super().__init__(self._keep, clock=SystemClock(), spawn=asyncio.create_task)
        self.groups: list[list[str]] = []
        self._goes_on = goes_on or {}

    def goes_first(self, operation: str) -> bool:
        return operation.isupper()

    async def _keep(self, operations: Sequence[str]) -> Sequence[str]:
        self.groups.append(list(operations))
        return operations

    def follow(self, outcome: str) -> None:
        if outcome in self._goes_on:
            asyncio.get_running_loop().call_soon(self.submit, self._goes_on[outcome])


@pytest.fixture(autouse=True)
def groups_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_LARGEST_BATCH", 4)


@pytest.mark.parametrize(
    ("submitted", "groups"),
    [
        ("abcdef", ["abcd", "ef"]),
        ("abAB", ["ABab"]),
        ("abcdefABCDEF", ["ABab", "CDcd", "EFef"]),  # half of a group is for the others
        ("aABCDEFG", ["ABCa", "DEFG"]),
        ("abcdA", ["Aabc", "d"]),
    ],
)
async def test_some_go_first_and_the_others_have_half_of_each_group(submitted: str, groups: list[str]) -> None:
    commit = Groups()

    outcomes = [commit.submit(operation) for operation in submitted]
    await commit.settle()

    assert ["".join(group) for group in commit.groups] == groups
    assert [outcome.result() for outcome in outcomes] == list(submitted)


async def test_what_goes_on_by_a_commit_is_in_the_next_group() -> None:
    commit = Groups(goes_on={"b": "B"})

    for operation in "abcdefgh":
        commit.submit(operation, then=commit.follow)
    await commit.settle()

    assert ["".join(group) for group in commit.groups] == ["abcd", "Befg", "h"]
