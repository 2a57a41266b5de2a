"""Accounts: what is used below an agent call or a tool call, known while it goes on and counted however it ends.

An agent below a tool may not use more than those above it have left, so what it uses is seen at once; and what a failed
one used was paid all the same. In a run the tool's checkpoint keeps the sum, so that a replay counts the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from toolkit.agents.results import Spending

NOTHING: Final = Spending()
"""What most tools use; to see that it is this one takes less time than to add it."""


class Account:
    """The sum of what has ended and of what goes on."""

    def __init__(self, settled: Spending = NOTHING) -> None:
        """Begins with ``settled``."""
        self._settled = settled
        self._open: list[Callable[[], Spending]] = []

    def include(self, spending: Spending) -> None:
        """Count what has ended."""
        self._settled = _sum(self._settled, spending)

    @contextmanager
    def counting(self, total: Callable[[], Spending]) -> Iterator[None]:
        """Count what ``total`` says as long as the block goes on, and for good what it says at its end."""
        self._open.append(total)
        try:
            yield
        finally:
            self._open.remove(total)
            self.include(total())

    def total(self) -> Spending:
        """What was used so far; nobody may change it."""
        found = self._settled
        for part in self._open:
            found = _sum(found, part())
        return found


def _sum(one: Spending, other: Spending) -> Spending:
    if other is NOTHING:
        return one
    found = one.model_copy()
    found.include(other)
    return found


_ACCOUNT: ContextVar[Account | None] = ContextVar("toolkit_agents_account", default=None)


@contextmanager
def reporting_to(account: Account) -> Iterator[None]:
    """Let agents called inside report to ``account`` what they use."""
    token = _ACCOUNT.set(account)
    try:
        yield
    finally:
        _ACCOUNT.reset(token)


def current_account() -> Account | None:
    """Where an agent reports what it uses; None when it is nobody's tool."""
    return _ACCOUNT.get()
