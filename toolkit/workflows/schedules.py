"""Schedules: which workflow is started when, by whatever process is up, once for each moment."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from toolkit.errors import DefinitionError, InvalidInput
from toolkit.workflows.definitions import Workflow
from toolkit.workflows.steps import check_name
from toolkit.workflows.timings import Timing, cron_timing, find_zone, interval_timing

if TYPE_CHECKING:
    from collections.abc import Iterator

CatchUp: TypeAlias = Literal["latest", "all", "none"]
Overlap: TypeAlias = Literal["start", "skip"]
Arguments: TypeAlias = Mapping[str, Any] | Callable[[datetime], Mapping[str, Any]]

STARTED_BY = "schedule:"  # this and the schedule's name

_LATEST = timedelta(minutes=1)  # how late a moment may be that is not to be caught up on
_MOST_AT_ONCE = 100  # runs that one transaction starts; those of the next moments come in the next


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done about the moments that have come: those that get a run, and the one to wait for next."""

    moments: list[datetime]
    next_at: datetime


class Schedule:
    """Starts a run of ``workflow`` at each moment of a timing; registered with ``app.register_schedule(...)``.

    ``cron`` is an expression of five fields, ``every`` a length of time: give one of them. ``timezone`` is where a cron
    expression's wall clock hangs. ``arguments`` are the workflow's by name, or a function that makes them of the moment
    that is due (aware, in ``timezone``); it is called on the event loop, so it computes and reads nothing.

    ``catch_up`` says what becomes of moments that have passed while no worker was up: ``latest`` starts one run, for
    the last of them; ``all`` one for each; ``none`` leaves out what is more than a minute late. With
    ``overlap="skip"`` a moment gets no run while the last one that the schedule has started is not over.

    Raises:
        DefinitionError: something of it cannot work; the message says what, and what to write instead.
    """

    def __init__(
        self,
        name: str,
        workflow: Workflow[..., Any],
        *,
        cron: str | None = None,
        every: timedelta | None = None,
        timezone: str = "UTC",
        arguments: Arguments | None = None,
        catch_up: CatchUp = "latest",
        overlap: Overlap = "start",
    ) -> None:
        check_name("schedule", name)
        self.what = f"schedule {name!r}"
        if not isinstance(workflow, Workflow):
            raise DefinitionError(
                f"{self.what} is to start {workflow!r}; expected a workflow: a function under @workflow()"
            )
        if (cron is None) == (every is None):
            found = "neither" if cron is None else "both"
            raise DefinitionError(f"{self.what} has {found} of cron= and every=; expected one of them")
        _check_choice(self.what, "catch_up", catch_up, get_args(CatchUp))
        _check_choice(self.what, "overlap", overlap, get_args(Overlap))
        if catch_up == "all" and overlap == "skip":
            raise DefinitionError(
                f"{self.what} has catch_up='all', a run for every moment, and overlap='skip', which leaves moments "
                "out; leave out one of them"
            )
        if inspect.iscoroutinefunction(arguments):
            raise DefinitionError(
                f"arguments= of {self.what} is an async function; expected a plain one that computes: what reads "
                "anything is the first step of the workflow"
            )
        if not (arguments is None or callable(arguments) or isinstance(arguments, Mapping)):
            raise DefinitionError(
                f"arguments= of {self.what} is {type(arguments).__name__}; expected the workflow's arguments by name, "
                "or a function that makes them of a moment"
            )
        self.name = name
        self.workflow = workflow
        self.zone = find_zone(timezone, what=self.what)
        self.timing: Timing = (
            cron_timing(cron, time_zone=timezone, what=self.what)
            if cron is not None
            else interval_timing(every, what=self.what)  # type: ignore[arg-type]  # one of the two is there
        )
        self.arguments = arguments
        self.catch_up: CatchUp = catch_up
        self.overlap: Overlap = overlap
        frame = sys._getframe(1)  # noqa: SLF001 - the only way to know who made it
        self.source = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    def __repr__(self) -> str:
        return f"<schedule {self.name!r} of {self.workflow.name!r}: {self.timing.text}>"

    def check_arguments(self) -> None:
        """See that fixed arguments fit the workflow; those that a function makes are checked when they are made.

        Raises:
            DefinitionError: they do not.
        """
        if callable(self.arguments):
            return
        try:
            self.workflow.signature.parse(dict(self.arguments or {}))
        except InvalidInput as error:
            faults = "; ".join(f"{fault['loc'] or 'arguments'}: {fault['msg']}" for fault in error.errors)
            raise DefinitionError(
                f"the arguments of {self.what} do not fit workflow {self.workflow.name!r}: {faults}; it takes "
                f"{', '.join(self.workflow.signature.parameters) or 'none'}"
            ) from error

    def arguments_at(self, moment: datetime) -> dict[str, Any]:
        """The workflow's arguments for the run that is due at ``moment``.

        Raises:
            InvalidInput: they do not fit the workflow. Whatever the author's function raises comes through as it is.
        """
        made = self.arguments(moment.astimezone(self.zone)) if callable(self.arguments) else self.arguments
        return self.workflow.signature.parse({} if made is None else made)

    def due(self, due_at: datetime, now: datetime) -> Due:
        """What is to be done at ``now`` about the moments since ``due_at``, which is the first of them."""
        if self.catch_up == "all":
            moments = list(islice(self._moments(due_at, now), _MOST_AT_ONCE))
            return Due(moments, self.timing.next_after(moments[-1]))
        last = max(due_at, self.timing.last_until(now) or due_at)
        is_dropped = self.catch_up == "none" and now - last > _LATEST
        return Due([] if is_dropped else [last], self.timing.next_after(max(last, now)))

    def _moments(self, first: datetime, until: datetime) -> Iterator[datetime]:
        moment = first
        while moment <= until:
            yield moment
            moment = self.timing.next_after(moment)


@dataclass(frozen=True, slots=True)
class ScheduleSummary:
    """How a schedule stands. ``is_registered`` says whether this process has its code; without any it never fires.

    ``last_due_at`` is the moment that got the last run, ``last_run_id`` that run.
    """

    name: str
    workflow: str
    timing: str
    due_at: datetime
    last_due_at: datetime | None
    last_run_id: str | None
    paused_at: datetime | None
    paused_by: str | None
    created_at: datetime
    is_registered: bool


def place_of(error: Exception) -> str:
    """Where arguments could not be made; for those that do not fit, which they are. Nothing of what they hold."""
    if isinstance(error, InvalidInput):
        return ", ".join(str(fault["loc"]) for fault in error.errors if fault.get("loc")) or "arguments"
    last = extract_tb(error.__traceback__)[-1]
    return f"{last.filename}:{last.lineno}"


def _check_choice(what: str, parameter: str, found: object, known: tuple[str, ...]) -> None:
    if found not in known:
        raise DefinitionError(
            f"{parameter}= of {what} is {found!r}; expected one of {', '.join(repr(each) for each in known)}"
        )


__all__ = ["STARTED_BY", "Arguments", "CatchUp", "Due", "Overlap", "Schedule", "ScheduleSummary", "place_of"]
