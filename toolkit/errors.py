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
    """One attempt of a step took longer than its ``timeout``, or was silent for longer than its
    ``heartbeat_timeout``; see ``step``, ``seconds`` and ``what``.
    """

    def __init__(self, step: str, seconds: float, *, what: str = "end") -> None:
        lacking = "sent no heartbeat for" if what == "heartbeat" else "did not finish within"
        super().__init__(f"step {step!r} {lacking} {seconds:g} s")
        self.step, self.seconds, self.what = step, seconds, what


class WaitTimeout(ToolkitError, TimeoutError):
    """A wait reached its limit before its event came; see ``key``."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no event {key!r} came within the limit of the wait")
        self.key = key


class TimeLimitReached(ToolkitError, TimeoutError):
    """What ``timeout`` or ``poll_until`` stood around did not end within its limit; see ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"this part of the run did not end within {seconds:g} s")
        self.seconds = seconds


class CompensationFailed(ToolkitError):
    """Undoing failed in part; see ``failed``: the names of the steps that could not undo, each with its error."""

    def __init__(self, failed: Sequence[str]) -> None:
        super().__init__(
            f"{len(failed)} step(s) could not undo what was done: {'; '.join(failed)}; what they stand for has to be "
            "set right by hand"
        )
        self.failed = list(failed)


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
        super().__init__(f"run {run_id!r} ended as {str(state)!r}{reason}")
        self.run_id, self.state = run_id, state
        self.error_type, self.error_message = error_type, error_message


class RecordedError(ToolkitError):
    """Stands in on replay for a recorded error whose class this process does not know; see ``type``."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(f"{type}: {message}")
        self.type, self.message = type, message


# Agents: what may come of asking a model. -------------------------------------------------------------------------


class ModelUnavailable(RetryableError):
    """The model cannot answer now: rate limit, overload, network, time-out; not asked again before ``retry_after``."""


class ModelBehaviorError(FatalError):
    """The model answered with nothing that the agent can use; replay would meet the same answer, so this is final."""


class BudgetExceeded(FatalError):
    """An agent reached one of its limits; see ``agent``, ``limit`` (its name), ``allowed`` and ``used``."""

    def __init__(self, agent: str, *, limit: str, allowed: object, used: object) -> None:
        super().__init__(
            f"agent {agent!r} has used {used} of {allowed} ({limit}) and was stopped before it used more; raise "
            f"limits=Limits({limit}=...), let a person decide with on_reached='ask', or give the agent less to do"
        )
        self.agent, self.limit, self.allowed, self.used = agent, limit, allowed, used


class TurnsExceeded(BudgetExceeded):
    """An agent asked its model as often as it may and still has no result; see ``agent`` and ``max_turns``."""

    def __init__(self, agent: str, *, max_turns: int) -> None:
        super().__init__(agent, limit="requests", allowed=max_turns, used=max_turns)
        message = (
            f"agent {agent!r} has no result after {max_turns} requests to its model, which is its max_turns; "
            "raise max_turns= or give the model less to do"
        )
        self.args = (message,)
        self.max_turns = max_turns


class RunBudgetExceeded(BudgetExceeded):
    """All agents of a run together reached a limit; ``agent`` was about to use more, ``at`` is its path."""

    def __init__(self, agent: str, *, limit: str, allowed: object, used: object, at: str = "") -> None:
        super().__init__(agent, limit=limit, allowed=allowed, used=used)
        self.at = at
        message = (
            f"the agents of this run have used {used} of {allowed} ({limit}) together, and agent {agent!r} was stopped "
            f"before it used more; raise run_limits(Limits({limit}=...)) or give them less to do"
        )
        self.args = (message,)


class ApprovalMismatch(FatalError):
    """A tool call that needs a person's approval is about to run as something else than what was approved."""

    def __init__(self, tool: str, *, call_id: str, approved: str | None, found: str) -> None:
        was = f"approved was {approved}" if approved else "nobody has approved it"
        super().__init__(
            f"the call {call_id!r} of tool {tool!r} was stopped: it is {found}, and {was}. The tool's parameters "
            "changed since it was approved, or something went around the approval; start a new run"
        )
        self.tool, self.call_id, self.approved, self.found = tool, call_id, approved, found


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


class FileInUse(Conflict):
    """A file cannot be deleted because something alive refers to it; see ``file_id`` and ``references``."""

    def __init__(self, file_id: str, references: Sequence[str]) -> None:
        shown = ", ".join(references[:5]) + (f" and {len(references) - 5} more" if len(references) > 5 else "")
        super().__init__(
            f"file {file_id!r} is needed by {shown}; it can be deleted when they have ended",
            file_id=file_id,
            references=list(references),
        )
        self.file_id, self.references = file_id, list(references)


class FileQuarantined(Conflict):
    """A file that nobody may read: it waits for its scan, or the scan found something; see ``reason``."""

    def __init__(self, file_id: str, *, filename: str, reason: str | None) -> None:
        why = f"was refused by the scan: {reason}" if reason else "waits for its scan"
        super().__init__(f"the file {filename!r} ({file_id}) {why}", file_id=file_id, reason=reason)
        self.file_id, self.filename, self.reason = file_id, filename, reason


class RunStateError(Conflict):
    """A run was asked for a move that its state does not allow; see ``run_id``, ``state``, ``wanted``."""

    def __init__(self, run_id: str, *, state: str, wanted: str) -> None:
        super().__init__(
            f"run {run_id!r} is {str(state)!r} and cannot become {str(wanted)!r}",
            run_id=run_id,
            state=state,
            wanted=wanted,
        )
        self.run_id, self.state, self.wanted = run_id, state, wanted


class VersionMismatch(Conflict):
    """Somebody else changed it first; ``details`` has the ``version`` that it has now."""

    def __init__(self, kind: str, key: str, *, version: str, expected: str) -> None:
        super().__init__(
            f"{kind} {key!r} is in version {version}, the change is for {expected}; read it again, and decide anew",
            version=version,
            expected=expected,
        )
        self.kind, self.key, self.version, self.expected = kind, key, version, expected


class TransitionRefused(Conflict):
    """An entity was asked for a move that its life cycle does not allow; see ``source``, ``target``, ``allowed``.

    ``unmet`` names the conditions of the move that do not hold.
    """

    def __init__(
        self,
        entity: str,
        entity_id: str,
        *,
        source: str | None,
        target: str,
        allowed: Sequence[str],
        unmet: Sequence[str] = (),
    ) -> None:
        place = f"is {source!r} and cannot become" if source is not None else "is new and cannot begin as"
        why = f", because it is not so that {' and '.join(unmet)}" if unmet else ""
        may = f"; allowed: {', '.join(map(repr, allowed))}" if allowed else "; nothing is allowed from there"
        super().__init__(
            f"{entity} {entity_id!r} {place} {target!r}{why}{may}",
            entity=entity,
            entity_id=entity_id,
            source=source,
            target=target,
            allowed=list(allowed),
            unmet=list(unmet),
        )
        self.entity, self.entity_id = entity, entity_id
        self.source, self.target, self.allowed, self.unmet = source, target, list(allowed), list(unmet)


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


class FileNotStored(StorageError):
    """A storage did not take a file; see ``filename``. The cause says why."""

    def __init__(self, filename: str) -> None:
        super().__init__(f"the file {filename!r} could not be stored, and nothing of it is kept; send it again later")
        self.filename, self.details = filename, {"filename": filename}


class SchemaOutdated(StorageError):
    """The tables are of another revision than the code; see ``found``, ``needed`` and ``whose`` (tables)."""

    def __init__(self, *, found: str, needed: str, whose: str = "the toolkit's") -> None:
        super().__init__(
            f"the database holds {whose} tables in revision {found}, this code needs {needed}; "
            "run `toolkit db upgrade`, or use the code that made them"
        )
        self.found, self.needed, self.whose = found, needed, whose


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
    """An override is not run: it was made for other models than the rule has today, or has what is not allowed here."""

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
