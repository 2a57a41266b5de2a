"""Ladders: what happens to a task that nobody answers, rung by rung.

A ladder is made of absolute moments when its task opens and is stored with it: whichever process is up climbs it,
whatever code it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from toolkit.errors import DefinitionError
from toolkit.human.calendars import Calendar, Duration, moment_after

if TYPE_CHECKING:
    from toolkit.human.human import Timeout


@dataclass(frozen=True, slots=True)
class Group:
    """A group of the directory, wherever a person could stand."""

    id: str


@dataclass(frozen=True, slots=True)
class Escalate:
    """The task goes to somebody else: to a person, or to a :class:`Group`, who then is its only candidate.

    ``after`` counts from the opening of the task. Without it, this is what a ``Timeout(..., "escalate")`` does when the
    time is up; the limit then begins anew.
    """

    to: str | Group
    after: Duration | None = None


class Rung(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to happen at one moment. ``to`` is an actor such as ``user:ada``."""

    at: datetime
    do: Literal["remind", "escalate", "expire"]
    to: str = ""


def build_ladder(
    opened_at: datetime,
    *,
    reminders: Sequence[Duration],
    escalation: Sequence[Escalate],
    timeout: Timeout | None,
    calendar: Calendar | None,
) -> list[Rung]:
    """The rungs of a task that opens at ``opened_at``, in the order of their moments."""

    def after(moment: datetime, duration: Duration) -> datetime:
        return moment_after(moment, duration, calendar=calendar)

    rungs = [Rung(at=after(opened_at, reminder), do="remind") for reminder in reminders]
    rungs += [
        Rung(at=after(opened_at, step.after), do="escalate", to=actor_of(step.to))
        for step in escalation
        if step.after is not None
    ]
    if timeout is not None:
        ends_at = after(opened_at, timeout.limit)
        for step in (step for step in escalation if step.after is None):
            rungs.append(Rung(at=ends_at, do="escalate", to=actor_of(step.to)))
            ends_at = after(ends_at, timeout.limit)
        rungs.append(Rung(at=ends_at, do="expire"))
    # At one moment: first the word, then the move, last the end.
    order = {"remind": 0, "escalate": 1, "expire": 2}
    return sorted(rungs, key=lambda rung: (rung.at, order[rung.do]))


def ended_at(rungs: Sequence[Rung], now: datetime) -> datetime | None:
    """When the time was up, if it is by ``now``, whether anybody has climbed there or not."""
    return next((rung.at for rung in rungs if rung.do == "expire" and rung.at <= now), None)


def moved(rungs: Sequence[Rung], by: timedelta) -> list[Rung]:
    """The rungs that are left, each later (or earlier) by as much as the due date was moved."""
    return [msgspec.structs.replace(rung, at=rung.at + by) for rung in rungs]


def encode_ladder(rungs: Sequence[Rung]) -> str:
    return msgspec.json.encode(rungs).decode()


def decode_ladder(text: str) -> list[Rung]:
    return _decoder.decode(text)


_decoder = msgspec.json.Decoder(list[Rung])


def actor_of(who: str | Group) -> str:
    """``user:ada`` or ``group:finance``: how the tables name who a task may go to."""
    return f"group:{who.id}" if isinstance(who, Group) else f"user:{who}"


def check_escalation(steps: Sequence[Escalate], *, timeout: Timeout | None, name: str) -> None:
    """Refuse a ladder that cannot be climbed.

    Raises:
        DefinitionError: a step waits for a time limit that there is not, or a limit escalates to nobody.
    """
    waiting = [step for step in steps if step.after is None]
    is_escalating = timeout is not None and timeout.on_timeout == "escalate"
    if waiting and not is_escalating:
        raise DefinitionError(
            f"human task {name!r} escalates to {waiting[0].to!r} when its time is up, but has no "
            "timeout=Timeout(..., on_timeout='escalate'); give the step an after= or the task that timeout"
        )
    if is_escalating and not waiting:
        raise DefinitionError(
            f"the timeout of human task {name!r} escalates, but no step of escalation= is left for it; "
            "add Escalate(to=...) without after="
        )
