"""Quorums: when several people must agree before a task has an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.errors import DefinitionError

Standing = Literal["open", "accepted", "rejected"]


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many must accept: ``needed`` people (of ``of``), or one of each group in ``one_of_each``.

    An answer for which ``rejects`` is true counts against it; left out, an answer whose field ``approved`` is false.
    The task ends as soon as enough accept, or as soon as enough can no longer accept: with ``of`` left out, and with
    groups, at the first rejection. Nobody counts twice, not even for two groups.
    """

    needed: int = 0
    of: int | None = None
    one_of_each: tuple[str, ...] = ()
    rejects: Callable[[Any], bool] | None = None

    def __post_init__(self) -> None:
        if (self.needed > 0) == bool(self.one_of_each):
            raise DefinitionError(f"a quorum is needed=n or one_of_each=(groups), found {self!r}")
        if self.of is not None and (self.one_of_each or self.of < self.needed):
            raise DefinitionError(f"a quorum of {self.needed} cannot come from of={self.of}")

    def is_rejection(self, output: Any) -> bool:
        """Whether the answer ``output`` counts against."""
        if self.rejects is not None:
            return bool(self.rejects(output))
        return getattr(output, "approved", output) is False

    @property
    def rejections_allowed(self) -> int:
        return 0 if self.of is None else self.of - self.needed


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one vote says, and which groups its voter could speak for."""

    is_rejection: bool
    groups: frozenset[str] = frozenset()


def standing(
    ballots: Sequence[Ballot], *, needed: int, one_of_each: Sequence[str], rejections_allowed: int
) -> Standing:
    """Where a vote stands. Each ballot serves one group at most, whichever way most groups are served."""
    if sum(ballot.is_rejection for ballot in ballots) > rejections_allowed:
        return "rejected"
    accepting = [ballot for ballot in ballots if not ballot.is_rejection]
    if one_of_each:
        return "accepted" if _served(one_of_each, accepting) == len(one_of_each) else "open"
    return "accepted" if len(accepting) >= needed else "open"


def _served(groups: Sequence[str], ballots: Sequence[Ballot]) -> int:
    """The size of a largest matching of groups to ballots. Source: H. W. Kuhn, augmenting paths, 1955."""
    group_of: dict[int, str] = {}

    def serve(group: str, tried: set[int]) -> bool:
        for at, ballot in enumerate(ballots):
            if group in ballot.groups and at not in tried:
                tried.add(at)
                if at not in group_of or serve(group_of[at], tried):
                    group_of[at] = group
                    return True
        return False

    return sum(serve(group, set()) for group in groups)
