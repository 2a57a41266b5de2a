"""Every error the toolkit raises, in one tree, grouped by the reader who can act on it.

A message says what was found, what was expected and what to do. Whatever the message says is also in the
attributes. Waiting, eviction and cancellation are not errors and do not live here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ToolkitError(Exception):
    """The root: catch it to catch everything the toolkit raises on purpose."""


# For the author: the program says something that cannot work. ----------------------------------------------------


class DefinitionError(ToolkitError, TypeError):
    """A workflow, step, rule, agent or task was declared in a way that cannot work."""


class WrongContext(ToolkitError, RuntimeError):
    """A verb was called where it has no meaning, such as a wait outside a run."""


class SerializationError(ToolkitError, ValueError):
    """A value does not fit its declared type and cannot be stored or read back; final for the attempt."""


class SessionError(ToolkitError, RuntimeError):
    """A step's database session was used in a way that would break its one commit."""


class FatalError(ToolkitError):
    """Raised by an author's step: do not try again, whatever the retry policy says."""


class RetryableError(ToolkitError):
    """Raised by an author's step: try again, and not before ``retry_after`` seconds when it is given."""

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StepTimeout(ToolkitError, TimeoutError):
    """One attempt of a step took longer than its ``timeout``; see ``step`` and ``seconds``."""

    def __init__(self, step: str, seconds: float) -> None:
        super().__init__(f"step {step!r} did not finish within {seconds:g} s")
        self.step, self.seconds = step, seconds


class WaitTimeout(ToolkitError, TimeoutError):
    """A wait reached its limit before its event came; see ``key``."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no event {key!r} came within the limit of the wait")
        self.key = key


class TaskExpired(WaitTimeout):
    """Nobody answered a human task before its time was up; see ``task`` (its name) and ``task_id``."""

    def __init__(self, task: str, *, task_id: str) -> None:
        super().__init__(task)
        self.args = (f"nobody answered the task {task!r} ({task_id}) in time",)
        self.task, self.task_id = task, task_id


class TaskCancelled(ToolkitError):
    """A person withdrew a human task without an answer; see ``task``, ``task_id``, ``cancelled_by`` and ``reason``."""

    def __init__(self, task: str, *, task_id: str, cancelled_by: str = "", reason: str = "") -> None:
        why = f": {reason}" if reason else ""
        super().__init__(f"the task {task!r} ({task_id}) was cancelled by {cancelled_by or 'nobody known'}{why}")
        self.task, self.task_id = task, task_id
        self.cancelled_by, self.reason = cancelled_by, reason


class RunFailed(ToolkitError):
    """The awaited run ended without a result; see ``run_id``, ``state``, ``error_type`` and ``error_message``."""

    def __init__(self, run_id: str, *, state: str, error_type: str = "", error_message: str = "") -> None:
        reason = f": {error_type}: {error_message}" if error_type else ""
        super().__init__(f"run {run_id!r} ended as {state!r}{reason}")
        self.run_id, self.state = run_id, state
        self.error_type, self.error_message = error_type, error_message


class RecordedError(ToolkitError):
    """Stands in on replay for a recorded error whose class this process does not know; see ``type``."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(f"{type}: {message}")
        self.type, self.message = type, message


# Agents: what may come of asking a model. -------------------------------------------------------------------------


class ModelUnavailable(RetryableError):
    """The model cannot answer now: rate limit, overload, network or time-out. Asked again, after ``retry_after`` if given."""


class ModelBehaviorError(FatalError):
    """The model answered with nothing that the agent can use; replay would meet the same answer, so this is final."""


class TurnsExceeded(FatalError):
    """An agent asked its model as often as it may and still has no result; see ``agent`` and ``max_turns``."""

    def __init__(self, agent: str, *, max_turns: int) -> None:
        super().__init__(
            f"agent {agent!r} has no result after {max_turns} requests to its model, which is its max_turns; "
            "raise max_turns= or give the model less to do"
        )
        self.agent, self.max_turns = agent, max_turns


class AgentDiverged(FatalError):
    """A resumed agent is about to ask something else than what is on record; see ``key`` and ``differences``."""

    def __init__(self, key: str, differences: Sequence[str]) -> None:
        super().__init__(
            f"checkpoint {key!r} was recorded for another request: {'; '.join(differences)}. The agent's code changed "
            "under a run; resume it with the code it began with, or start a new run"
        )
        self.key, self.differences = key, list(differences)


# For the caller: the request cannot be met. -----------------------------------------------------------------------


class NotFound(ToolkitError, LookupError):
    """Nothing of this kind has this id or name; see ``kind``, ``key`` and ``known``."""

    def __init__(self, kind: str, key: str, *, known: Sequence[str] = ()) -> None:
        hint = f"; known: {', '.join(sorted(known))}" if known else ""
        super().__init__(f"there is no {kind} {key!r}{hint}")
        self.kind, self.key, self.known = kind, key, list(known)


class InvalidInput(ToolkitError, ValueError):
    """Input that does not fit; ``errors`` lists ``{"loc": "total", "msg": "...", "type": "..."}``, one a field."""

    def __init__(self, message: str, *, errors: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.errors = list(errors)


class Conflict(ToolkitError):
    """The request meets a state that does not allow it; ``details`` says who or what was first."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class RunStateError(Conflict):
    """A run was asked for a move that its state does not allow; see ``run_id``, ``state``, ``wanted``."""

    def __init__(self, run_id: str, *, state: str, wanted: str) -> None:
        super().__init__(
            f"run {run_id!r} is {state!r} and cannot become {wanted!r}", run_id=run_id, state=state, wanted=wanted
        )
        self.run_id, self.state, self.wanted = run_id, state, wanted


class Unauthenticated(ToolkitError):
    """The request carries no credential, or one that is not valid."""


class PermissionDenied(ToolkitError):
    """The caller is known and may not do this; see ``permission``."""

    def __init__(self, message: str, *, permission: str = "") -> None:
        super().__init__(message)
        self.permission = permission


class LimitExceeded(ToolkitError, ValueError):
    """Something is larger than a limit allows; see ``limit`` and ``found``."""

    def __init__(self, message: str, *, limit: int, found: int) -> None:
        super().__init__(message)
        self.limit, self.found = limit, found


# For the operator: the installation cannot work as it is. ---------------------------------------------------------


class ConfigurationError(ToolkitError, ValueError):
    """The configuration names something that is missing, unknown or unsafe; ``key`` is its place in the file."""

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class StorageError(ToolkitError):
    """The database or a file storage does not do what it must."""


# For whoever decides with rules: an author reads the first three, a business user the fourth. ----------------------


class RuleEvaluationError(ToolkitError):
    """An override could not decide; see ``rule``, ``reason`` and, where one node is to blame, ``node`` (its name)."""

    def __init__(self, rule: str, reason: str, *, node: str = "") -> None:
        place = f" in node {node!r}" if node else ""
        super().__init__(f"rule {rule!r} could not decide{place}: {reason}")
        self.rule, self.reason, self.node = rule, reason, node


class RuleNoMatch(RuleEvaluationError):
    """No row of the override's decision table ``node`` fits the input."""


class RuleOutputInvalid(RuleEvaluationError):
    """What came out does not fit the rule's output model; ``errors`` has one entry a field."""

    def __init__(self, rule: str, reason: str, *, node: str = "", errors: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(rule, reason, node=node)
        self.errors = list(errors)


class RuleVersionRefused(RuleEvaluationError, Conflict):
    """An override was made for other input and output models than the rule has today; it is not run."""

    def __init__(self, rule: str, reason: str, *, node: str = "") -> None:
        super().__init__(rule, reason, node=node)
        self.details: dict[str, Any] = {"rule": rule}


class RuleGraphInvalid(InvalidInput):
    """An uploaded graph was refused; ``issues`` lists ``{node, path, code, message, severity}``, everything found."""

    def __init__(self, rule: str, issues: Sequence[dict[str, Any]]) -> None:
        blocking = [issue for issue in issues if issue["severity"] == "error"]
        first = f": {blocking[0]['message']}" if blocking else ""
        super().__init__(
            f"the graph for rule {rule!r} has {len(blocking)} error(s){first}",
            errors=[{"loc": issue["path"], "msg": issue["message"], "type": issue["code"]} for issue in blocking],
        )
        self.rule, self.issues = rule, list(issues)
