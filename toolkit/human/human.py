"""``Human``: a question to a person, awaited like any other step."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal

from pydantic import PydanticUserError
from pydantic_core import PydanticSerializationError, from_json, to_json
from typing_extensions import TypeVar

from toolkit.errors import DefinitionError, SerializationError, TaskCancelled, TaskExpired
from toolkit.human.answers import Answer
from toolkit.human.calendars import Calendar, Duration, WorkingTime, check_durations
from toolkit.human.ladders import Escalate, Group, check_escalation
from toolkit.human.quorums import Quorum
from toolkit.serialization import Codec, codec_for
from toolkit.workflows import tells_of

if TYPE_CHECKING:
    from toolkit.files import File

In = TypeVar("In", default=Any)
Out = TypeVar("Out", default=Any)
E = TypeVar("E", bound=Exception)

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Value(Generic[Out]):
    """An output to go on with when nobody answered in time; see :class:`Timeout`."""

    value: Out


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long a task stays open, and what the run gets when that is over.

    ``"raise"`` raises :class:`~toolkit.errors.TaskExpired`; ``Value(x)`` goes on with ``x`` as the output and
    ``"timed_out"`` as the outcome; ``"escalate"`` takes the next step of the ladder that has no ``after`` of its own,
    and raises when none is left. There is no way to say "approved": an author who wants that must write the value.
    """

    limit: Duration
    on_timeout: Literal["raise", "escalate"] | Value[Any] = "raise"

    def __post_init__(self) -> None:
        if isinstance(self.limit, timedelta) and self.limit <= timedelta(0):
            raise DefinitionError(f"a timeout must be longer than nothing, found {self.limit!r}")
        if self.on_timeout not in ("raise", "escalate") and not isinstance(self.on_timeout, Value):
            raise DefinitionError(f"on_timeout is 'raise', 'escalate' or Value(...), found {self.on_timeout!r}")


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's vote; ``output`` is the answer as parsed JSON."""

    by: str
    at: datetime
    is_rejection: bool
    output: Any


@dataclass(frozen=True, slots=True)
class TaskResult(Generic[Out]):
    """What a task brought: the output, and who gave it when.

    ``completed_by`` is ``None`` where the outcome is ``"timed_out"``; ``completed_at`` is then the moment it expired.
    With a quorum, ``votes`` has everybody's, the output is that of the vote that decided, and the outcome is
    ``"rejected"`` where enough people could no longer accept.
    """

    output: Out
    task_id: str
    completed_by: str | None
    completed_at: datetime
    outcome: Literal["completed", "timed_out", "rejected"] = "completed"
    votes: tuple[Vote, ...] = ()


class Human(Generic[In, Out]):
    """A question that a person answers; await it in a workflow with what the person is to look at.

    ``title`` heads the task, ``description`` explains the kind of task, ``message`` (at the call) this very one.
    The answer must fit ``output_type``, any type that Pydantic knows; its JSON Schema makes the form.
    ``input_type`` left out means any JSON value.

    ``assign_to`` names the person whose task it is, ``candidates`` the people and groups (:class:`Group`) who may take
    it. With neither, only who may manage tasks can answer. ``four_eyes`` keeps out whoever started the run or is named
    in ``prepared_by``. A ``quorum`` asks several of the candidates.

    ``reminders`` and ``escalation`` count from the opening; a ``calendar`` gives their :class:`WorkingTime` a meaning.
    Of two tasks due at one time people take the one of higher ``priority`` first.

    Raises:
        DefinitionError: the name cannot stand in a path, the title is empty, a type has no JSON Schema, the value of
            the timeout does not fit, or the ladder cannot be climbed.
    """

    def __init__(
        self,
        name: str,
        *,
        title: str,
        description: str | None = None,
        input_type: type[In] | None = None,
        output_type: type[Out],
        timeout: Timeout | Duration | None = None,
        assign_to: str | None = None,
        candidates: Sequence[str | Group] = (),
        four_eyes: bool = False,
        quorum: Quorum | None = None,
        reminders: Sequence[Duration] = (),
        escalation: Sequence[Escalate] = (),
        priority: int = 0,
        calendar: Calendar | None = None,
    ) -> None:
        if not name or len(name) > _LONGEST_NAME or "/" in name or any(character.isspace() for character in name):
            raise DefinitionError(
                f"a human task has the name {name!r}; expected 1 to {_LONGEST_NAME} characters without '/' and without "
                "white space, because it stands in paths"
            )
        if name.startswith("ask.") and type(self) is Human:
            raise DefinitionError(
                f"a human task has the name {name!r}; names that begin with 'ask.' are those of `ask`"
            )
        if not title.strip():
            raise DefinitionError(
                f"human task {name!r} has no title; expected what the person is to do, in a few words"
            )
        self.name = name
        self.title = title
        self.description = description
        self.input_type: Any = Any if input_type is None else input_type
        self.output_type: Any = output_type
        self.timeout = Timeout(timeout) if isinstance(timeout, timedelta | WorkingTime) else timeout
        self.assign_to = assign_to
        self.candidates = tuple(candidates)
        self.four_eyes = four_eyes
        self.quorum = quorum
        self.reminders = tuple(reminders)
        self.escalation = tuple(escalation)
        self.priority = priority
        self.calendar = calendar
        self.source = _place_of_caller()
        self.input_codec: Codec[In] = _codec(name, "input_type", self.input_type)
        self.output_codec: Codec[Out] = _codec(name, "output_type", self.output_type)
        self._check_timeout_value()
        self._check_ladder()

    def __repr__(self) -> str:
        return f"Human({self.name!r})"

    def output_schema(self) -> dict[str, Any]:
        """The JSON Schema that an answer must fit."""
        return self.output_codec.schema()

    def check_answer(self, input: Any, output: Any) -> None:
        """Refuse an answer that fits its type and not what was asked; both as parsed JSON. For special tasks to say.

        Raises:
            InvalidInput: with an entry for each field that is wrong.
        """

    @cached_property
    def output_schema_digest(self) -> str:
        """SHA-256 of the output's schema, in hexadecimal: changes when the form does."""
        return hashlib.sha256(json.dumps(self.output_schema(), sort_keys=True).encode()).hexdigest()

    async def __call__(
        self,
        input: In | None = None,
        message: str | None = None,
        suggested_data: Any = None,
        files: Sequence[File] = (),
        assign_to: str | None = None,
        *,
        candidates: Sequence[str | Group] | None = None,
        due_in: Duration | None = None,
        prepared_by: Sequence[str] = (),
        confidence: Mapping[str, float] | None = None,
    ) -> TaskResult[Out]:
        """Open a task and wait until a person has answered it; days cost nothing.

        ``suggested_data`` fills the form at first: an output, or any part of one; ``confidence`` says how sure it is,
        from 0 to 1, by the path of a field such as ``invoice.total``. ``files`` are shown with the task.
        ``due_in`` says when the answer is wanted, where that is earlier than the time limit.

        Raises:
            TaskExpired: nobody answered in time, and the timeout says ``"raise"``.
            TaskCancelled: a person withdrew the task.
            WrongContext: called outside a run.
            SerializationError: ``input`` or ``suggested_data`` does not fit its type.
            ValueError: a confidence is not between 0 and 1.
        """
        from toolkit.human import waits

        question = Question(
            human=self,
            input=self.input_codec.encode(input),  # type: ignore[arg-type]  # None is what no input is, if the type allows
            message=message,
            suggested_data=None if suggested_data is None else _as_json(self.name, suggested_data),
            confidence=_confidence(self.name, confidence),
            files=_as_json(self.name, [_reference(file) for file in files]),
            assigned_to=assign_to or self.assign_to,
            candidates=self.candidates if candidates is None else tuple(candidates),
            due_in=due_in,
            prepared_by=tuple(prepared_by),
        )
        check_durations([due_in] if due_in else [], calendar=self.calendar, what=f"due_in of {self.name!r}")
        return self._result(await waits.ask(question))

    def _result(self, reply: Reply) -> TaskResult[Out]:
        if reply.answer.outcome == "expired":
            return self._timed_out(reply)
        if reply.answer.outcome == "cancelled":
            cancelled = TaskCancelled(
                self.name, task_id=reply.task_id, cancelled_by=reply.answer.by, reason=reply.answer.reason
            )
            raise reply.blamed_for(cancelled)
        return TaskResult(
            output=self.output_codec.decode(bytes(reply.answer.output)),
            task_id=reply.task_id,
            completed_by=reply.answer.by,
            completed_at=reply.answer.at,
            outcome="rejected" if reply.answer.outcome == "rejected" else "completed",
            votes=tuple(
                Vote(by=vote.by, at=vote.at, is_rejection=vote.is_rejection, output=from_json(bytes(vote.output)))
                for vote in reply.answer.votes
            ),
        )

    def _timed_out(self, reply: Reply) -> TaskResult[Out]:
        chosen = self.timeout.on_timeout if self.timeout is not None else "raise"
        if isinstance(chosen, Value):
            return TaskResult(
                output=self.output_codec.decode(self.output_codec.encode(chosen.value)),  # a copy of its own
                task_id=reply.task_id,
                completed_by=None,
                completed_at=reply.answer.at,
                outcome="timed_out",
            )
        raise reply.blamed_for(TaskExpired(self.name, task_id=reply.task_id))

    def _check_timeout_value(self) -> None:
        if self.timeout is None or not isinstance(self.timeout.on_timeout, Value):
            return
        try:
            self.output_codec.encode(self.timeout.on_timeout.value)
        except SerializationError as error:
            raise DefinitionError(
                f"the value of the timeout of human task {self.name!r} does not fit its output_type: {error}"
            ) from error

    def _check_ladder(self) -> None:
        what = f"a time of human task {self.name!r}"
        limits = [] if self.timeout is None else [self.timeout.limit]
        steps = [step.after for step in self.escalation if step.after is not None]
        check_durations([*limits, *self.reminders, *steps], calendar=self.calendar, what=what)
        check_escalation(self.escalation, timeout=self.timeout, name=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One call of a :class:`Human`, with its payloads as JSON text."""

    human: Human[Any, Any]
    input: str
    message: str | None
    suggested_data: str | None
    confidence: str | None
    files: str
    assigned_to: str | None
    candidates: tuple[str | Group, ...]
    due_in: Duration | None
    prepared_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How the wait for a task ended."""

    task_id: str
    answer: Answer
    run_id: str
    path: str

    def blamed_for(self, error: E) -> E:
        """``error``; a retry of the run that fails with it asks once more."""
        return tells_of(error, run_id=self.run_id, path=self.path)


def _codec(name: str, parameter: str, type_: Any) -> Codec[Any]:
    try:
        codec = codec_for(type_)
        codec.schema()
    except PydanticUserError as error:
        raise DefinitionError(
            f"the {parameter} of human task {name!r} has no JSON form: {str(error).splitlines()[0]}; "
            "use a type that Pydantic knows"
        ) from error
    return codec


def _as_json(name: str, value: Any) -> str:
    try:
        return to_json(value).decode()
    except PydanticSerializationError as error:
        raise SerializationError(f"suggested data of human task {name!r} cannot be stored as JSON: {error}") from error


def _confidence(name: str, given: Mapping[str, float] | None) -> str | None:
    for path, value in (given or {}).items():
        if not 0 <= value <= 1:
            raise ValueError(f"the confidence of {path!r} in human task {name!r} is {value!r}, expected 0 to 1")
    return json.dumps(dict(given)) if given else None


def _reference(file: File) -> dict[str, Any]:
    """The five fields of a reference, also where a richer kind of file was given."""
    return {key: getattr(file, key) for key in ("id", "filename", "content_type", "size", "sha256")}


def _place_of_caller() -> str:
    frame = sys._getframe(2)  # noqa: SLF001 - the documented way to know who is calling
    while frame.f_globals["__name__"] == "typing" and frame.f_back is not None:  # Human[In, Out](...)
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
