"""One sample on its way: what is known of it so far, and whether that is what should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from examples.invoice.demo.expectations import Expectation
from examples.invoice.demo.rest import Json, Standing


@dataclass(frozen=True, slots=True)
class Case:
    """A sample, and where it stands."""

    expected: Expectation
    standing: Standing

    @property
    def outcome(self) -> Json:
        """The result of the process; empty while it goes on, and when it failed."""
        return self.standing.run.get("result") or {}

    @property
    def asked(self) -> Json:
        """What the person is told who is asked; empty when nobody is."""
        return (self.standing.task or {}).get("input") or {}

    @property
    def total(self) -> str:
        read = self.asked.get("invoice") or {}
        return _money(self.outcome, "gross") or _money(read, "gross")

    @property
    def paid(self) -> str:
        return _money(self.outcome, "paid")

    @property
    def action(self) -> str:
        return str(self.outcome.get("action") or ("review" if self.asked else ""))

    @property
    def reason_code(self) -> str:
        return str(self.outcome.get("reason_code") or self.asked.get("reason_code", ""))

    @property
    def reason(self) -> str:
        return str(self.outcome.get("reason") or self.asked.get("reason", ""))

    @property
    def state(self) -> str:
        """How the invoice ended; ``in review`` while a person is asked, else the state of its run."""
        return str(self.outcome.get("state") or ("in review" if self.asked else self.standing.run["state"]))

    def differences(self) -> Iterator[str]:
        """How it ended otherwise than it should."""
        expected = self.expected
        pairs = {
            "action": (self.action, expected.action.value),
            "reason": (self.reason_code, expected.reason_code),
            "state": (self.state, expected.state.value),
            "paid": (self.paid, expected.paid),
        }
        if expected.total:  # without one nothing was read, and what a person typed in is no total that was read
            pairs["total"] = (self.total, expected.total)
        for name, (found, wanted) in pairs.items():
            if found != wanted:
                yield f"{expected.file}: {name} is {found or 'nothing'!r}, expected {wanted or 'nothing'!r}"


def _money(data: Json, field: str) -> str:
    amount: Any = data.get(field)
    return "" if amount is None else f"{Decimal(str(amount)):.2f} {data.get('currency', '')}"
